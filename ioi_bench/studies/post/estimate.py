"""How long the study will take, from some dictionaries and some suites that are really judged."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ioi_bench.dictionaries.suite import Suite
from ioi_bench.evaluation.candidate_estimate import CandidatesEstimate, estimate_candidates
from ioi_bench.evaluation.data import Progress, silent
from ioi_bench.evaluation.finished_run import edits_at
from ioi_bench.evaluation.selection import candidates_table
from ioi_bench.studies.post.chosen import Chosen, chosen_suites
from ioi_bench.studies.post.judging import Bench, chosen_to_suites
from ioi_bench.training import Run, UntrainedRun

if TYPE_CHECKING:
    import pandas as pd

    from ioi_bench.lm.circuit import Circuit
    from ioi_bench.lm.model import LanguageModel

__all__ = ["PostEstimate", "estimate_post"]


@dataclass(frozen=True)
class PostEstimate:
    """Work, and the seconds that it takes.

    Attributes:
        candidates: of selection.
        suites: that are judged.
        left: those of them that have no card yet; all, where selection is not finished.
        judging: seconds for what is left.
    """

    candidates: CandidatesEstimate
    suites: int
    left: int
    judging: float

    @property
    def seconds(self) -> float:
        """Of all."""
        return self.candidates.seconds + self.judging


def estimate_post(
    run: Run,
    model: LanguageModel,
    circuit: Circuit,
    *,
    prompts: int | None = None,
    train_prompts: int | None = None,
    selection_prompts: int | None = None,
    selection_train_prompts: int | None = None,
    keep: Path | None = None,
    cache_dir: Path | None = None,
    progress: Progress = silent,
) -> PostEstimate:
    """Measure what `study_post` with the same arguments has still to do; nothing is written into the run's folder.

    Suites of what stands in for the chosen dictionaries are judged on prompts of validation: nothing of test is read
    before selection. A run that is only planned is measured on SAEs before their first step.

    Raises:
        IoiBenchError: as `study_post`.
    """
    keep = run.folder if keep is None else keep
    trained = UntrainedRun(run) if run.unfinished else run
    options: dict[str, Any] = {"prompts": selection_prompts, "train_prompts": selection_train_prompts}
    options |= {"cache_dir": cache_dir, "progress": progress}
    kept = None if run.unfinished else keep / "selection"
    candidates = estimate_candidates(trained, model, circuit, keep=kept, **options)
    chosen = chosen_suites(_members(run), seed=min(run.recipe.seeds))
    bench = Bench(model, circuit, keep / "post", prompts, train_prompts, cache_dir, progress)
    left: Sequence[Chosen] = chosen
    if not candidates.left:
        table = candidates_table(run, model, circuit, keep=kept, **options)
        suites, _ = chosen_to_suites(run, table, chosen, bench)
        left = [one for one, suite in suites.items() if not bench.is_judged(suite, one.judged_by)]
    return PostEstimate(candidates, len(chosen), len(left), _judging_seconds(trained, left, bench))


def _members(run: Run) -> pd.DataFrame:
    import pandas as pd

    columns = ["variant", "sparsity", "seed"]
    rows = [(member.variant, float(member.sparsity), member.seed) for member in run.members]
    return pd.DataFrame(rows, columns=columns).drop_duplicates()


def _judging_seconds(run: Run | UntrainedRun, left: Sequence[Chosen], bench: Bench) -> float:
    """Of the suites that are left: of each set of edit methods on a card one suite is timed, from the middle."""
    by_methods: dict[tuple[str, ...], list[Chosen]] = {}
    for one in left:
        by_methods.setdefault(one.judged_by, []).append(one)
    seconds = 0.0
    with TemporaryDirectory() as folder:
        trial = replace(bench, keep=Path(folder), split="validation")
        for methods, some in by_methods.items():
            suite = _stand_in(run, some[len(some) // 2], bench)
            reading = _timed(lambda: trial.inputs)  # the first time only
            seconds += reading + len(some) * _timed(partial(trial.judge, suite, methods))
    return seconds


def _timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _stand_in(run: Run | UntrainedRun, one: Chosen, bench: Bench) -> Suite:
    """A suite of the same variant and seed: each site's last checkpoint, of the middle λ where that is selected."""
    own = [m for m in run.members if (m.variant, m.seed) == (one.variant, one.seed)]
    values = sorted({member.sparsity for member in own})
    sparsity = values[len(values) // 2] if one.sparsity is None else one.sparsity
    every, epoch = edits_at(bench.circuit), run.checkpoints[-1]
    here = [member for member in own if member.sparsity == sparsity and member.site in every]
    dictionaries = {member.site: run.dictionary(member, epoch) for member in here}
    return Suite(one.name, bench.model.name, dictionaries, bench.model.sha256)
