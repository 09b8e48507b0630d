"""Cards of all chosen suites, kept in the run's folder so that work which was cut off goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ioi_bench.errors import DictionaryError, InputError
from ioi_bench.evaluation.card import SCHEMA_VERSION, Card
from ioi_bench.evaluation.data import Capture, Progress, silent, split_of
from ioi_bench.evaluation.evaluate import evaluate
from ioi_bench.evaluation.finished_run import FinishedRun, MemberT
from ioi_bench.evaluation.inputs import Inputs, gather
from ioi_bench.evaluation.prompts_file import FORMAT, SUITE
from ioi_bench.evaluation.provenance import versions
from ioi_bench.evaluation.score import SCORING
from ioi_bench.evaluation.selection import select, selected_suite
from ioi_bench.studies.post.chosen import Chosen

if TYPE_CHECKING:
    import pandas as pd

    from ioi_bench.dictionaries.suite import Suite
    from ioi_bench.lm.circuit import Circuit
    from ioi_bench.lm.model import LanguageModel

__all__ = ["BUDGETS", "Bench", "Judged", "chosen_to_suites", "judge_suites"]

BUDGETS = (1, 2, 4)
"""The scored budgets; the post's figures are of 2."""

_COLUMNS = ["cell", "prompt", "method", "budget", "accuracy", "weight", "moved", "io", "s"]


@dataclass(frozen=True)
class Judged:
    """A suite's card, and its table of prompts beside it."""

    chosen: Chosen
    card: Card
    folder: Path

    @cached_property
    def prompts(self) -> pd.DataFrame:
        """What happened in each prompt: cell, prompt, method, budget, accuracy, weight, how far it moves, names."""
        import pandas as pd

        suites = [("dictionary", "==", SUITE)]  # beside rows of random dictionaries and of reconstructions
        return pd.read_parquet(self.folder / "prompts.parquet", columns=_COLUMNS, filters=suites).dropna(subset="cell")


@dataclass(frozen=True)
class Bench:
    """What suites are judged on: the headline cells of a circuit, on the first prompts of test.

    Attributes:
        keep: where cards are kept.
        prompts, train_prompts: only the first so many.
        split: whose prompts are edited: test, but for an estimate of time.
    """

    model: LanguageModel
    circuit: Circuit
    keep: Path
    prompts: int | None = None
    train_prompts: int | None = None
    cache_dir: Path | None = None
    progress: Progress = silent
    split: str = "test"

    @cached_property
    def inputs(self) -> Inputs:
        """Activations and skyline, read once for all suites; no prompt of test is read before this."""
        judged, train = (
            split_of(self.circuit, self.split, self.prompts),
            split_of(self.circuit, "train", self.train_prompts),
        )
        capture = Capture(self.model, 512, self.cache_dir, self.progress)
        return gather(capture, self.circuit, judged, train, mse=False, cells=self.circuit.headline)

    def folder(self, suite: Suite, methods: Sequence[str]) -> Path:
        """Where a suite's card lies: named by everything that decides it."""
        parts: dict[str, Any] = {
            "suite": suite.sha256,
            "model": self.model.sha256,
            "circuit": self.circuit.sha256,
            "prompts": [self.prompts, self.train_prompts],
            "budgets": BUDGETS,
            "methods": list(methods),
            "schema": SCHEMA_VERSION,
            "scoring": SCORING,
            "prompts.parquet": FORMAT,
            "version": versions()["ioi-bench"],
        }
        key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
        return self.keep / f"{suite.name}-{key[:12]}"

    def is_judged(self, suite: Suite, methods: Sequence[str]) -> bool:
        """Whether its card is there."""
        return (self.folder(suite, methods) / "card.json").is_file()

    def judge(self, suite: Suite, methods: Sequence[str]) -> None:
        """Write a suite's card and table of prompts into its folder."""
        evaluate(
            suite,
            model=self.model,
            circuit=self.circuit,
            split=self.split,
            prompts=self.prompts,
            train_prompts=self.train_prompts,
            budgets=BUDGETS,
            methods=methods,
            inputs=self.inputs,
            preflight=False,  # they were trained on this model's activations: selection has checked it
            out=self.folder(suite, methods),
        )


def chosen_to_suites(
    run: FinishedRun[MemberT], table: pd.DataFrame, chosen: Sequence[Chosen], bench: Bench, *, half: bool = True
) -> tuple[dict[Chosen, Suite], dict[str, str]]:
    """The suites, as `ioi-bench select` writes them (``half``: with --half); and of those that cannot be made, why."""
    choices = {last: select(table, last_epoch=last) for last in {one.last_epoch for one in chosen}}
    suites: dict[Chosen, Suite] = {}
    failed: dict[str, str] = {}
    for one in chosen:
        try:
            suites[one] = selected_suite(
                run,
                choices[one.last_epoch],
                one.variant,
                one.seed,
                one.method,
                model=bench.model,
                circuit=bench.circuit,
                sparsity=one.sparsity,
                half=half,
                name=one.name,
            )
        except (InputError, DictionaryError) as error:
            failed[one.name] = str(error)
    return suites, failed


def judge_suites(suites: Mapping[Chosen, Suite], bench: Bench, announce: Callable[[str], None]) -> tuple[Judged, ...]:
    """Read the cards that are there already, and make the others.

    Args:
        suites: of `chosen_to_suites`.
        bench: what they are judged on.
        announce: told how much there is to do.

    Raises:
        InputError: a card is damaged; `StorageError`: one cannot be written.
    """
    folders = {one: bench.folder(suite, one.judged_by) for one, suite in suites.items()}
    left = [one for one, suite in suites.items() if not bench.is_judged(suite, one.judged_by)]
    announce(f"{len(suites)} suites: {len(suites) - len(left)} have a card, {len(left)} are to be judged")
    if left:
        _ = bench.inputs
    for i, one in enumerate(left, 1):
        bench.judge(suites[one], one.judged_by)
        bench.progress("suites", i, len(left))
    return tuple(Judged(one, Card.read(folder), folder) for one, folder in folders.items())
