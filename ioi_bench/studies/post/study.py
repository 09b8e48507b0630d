"""The study itself: select, judge, compare, decide, write."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ioi_bench.atomic import write_file
from ioi_bench.errors import InputError
from ioi_bench.evaluation.data import Progress, silent
from ioi_bench.evaluation.selection import candidates_table, headline_attributes, select
from ioi_bench.studies.post import tables
from ioi_bench.studies.post.chosen import AGNOSTIC, chosen_suites
from ioi_bench.studies.post.correlations import mean_correlations, served_rows, site_correlations
from ioi_bench.studies.post.findings import find
from ioi_bench.studies.post.judging import Bench, Judged, chosen_to_suites, judge_suites
from ioi_bench.studies.post.training_tables import choice_table, curve_table, steady_span
from ioi_bench.studies.post.verdicts import Finding
from ioi_bench.training.programs import program

if TYPE_CHECKING:
    import pandas as pd

    from ioi_bench.lm.circuit import Circuit
    from ioi_bench.lm.model import LanguageModel
    from ioi_bench.training.runs import Run

__all__ = ["PostStudy", "study_post", "write_study"]


@dataclass(frozen=True)
class PostStudy:
    """Everything that was found.

    Attributes:
        made: what made it: hashes, versions, numbers of prompts.
        judged: the suites with their cards.
        seed: whose suites are compared; the others are for the spread of the score.
        candidates: of selection, under ``exchange``, of the attribute that each site serves.
        choices: where selection landed, by variant, over sites and seeds.
        curves: of training.
        steady: two epochs at the learning rate's height: a quarter of all, before it falls.
        resampled_after: the epochs after which dead features start again.
        not_resampled: variants of the run whose dead features never start again.
        failed: suites that could not be made, and why.
    """

    made: Mapping[str, Any]
    judged: tuple[Judged, ...]
    seed: int
    candidates: pd.DataFrame
    choices: pd.DataFrame
    curves: pd.DataFrame
    steady: tuple[int, int]
    resampled_after: tuple[int, ...]
    not_resampled: tuple[str, ...]
    failed: Mapping[str, str]

    @cached_property
    def main(self) -> tuple[Judged, ...]:
        """The suites of the seed that is compared."""
        return tuple(one for one in self.judged if one.chosen.seed == self.seed)

    @cached_property
    def tables(self) -> dict[str, pd.DataFrame]:
        """All tables by name."""
        agnostic = [one for one in self.main if one.chosen.method == AGNOSTIC]
        correlations = site_correlations(self.candidates)
        return {
            "scores": tables.score_table(self.judged),
            "edits": tables.edit_table(self.main),
            "differences": tables.difference_table(self.judged),
            "correlations": correlations,
            "mean_correlations": mean_correlations(correlations),
            "cosines": tables.cosine_table(one for one in self.judged if one.chosen.method == AGNOSTIC),
            "meaning": tables.meaning_table(agnostic),
            "faithful": tables.faithful_table(agnostic),
            "choices": self.choices,
            "curves": curve_table(self.curves, self.steady),
        }

    def of_main(self, name: str) -> pd.DataFrame:
        """The rows of a table that are of the seed that is compared."""
        found = self.tables[name]
        return found[found["seed"] == self.seed]

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """What became of the post's findings."""
        return find(*(self.tables[name] for name in ("differences", "correlations", "cosines")))

    @property
    def name_mover_site(self) -> str:
        """The site of the scatter: the first that serves ``io``, else the first."""
        io = self.candidates[self.candidates["attribute"] == "io"]
        return str((io if len(io) else self.candidates)["site"].iloc[0])

    def to_json(self) -> dict[str, Any]:
        """All tables and findings as JSON values; NaN is None."""
        found = {name: _plain(table.to_dict("records")) for name, table in self.tables.items()}
        return {"made": dict(self.made), **found, "findings": _plain([asdict(one) for one in self.findings])}


def study_post(
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
    announce: Callable[[str], None] | None = None,
    progress: Progress = silent,
) -> PostStudy:
    """Redo the post on a training run.

    Args:
        run: a finished one.
        model, circuit: what it was trained on.
        prompts: only the first so many of test.
        train_prompts: only the first so many of train, for rankings, means and the skyline.
        selection_prompts, selection_train_prompts: only the first so many of validation, and of train, for selection.
        keep: where candidates and cards are kept; by default the run's folders ``selection`` and ``post``.
        cache_dir: where captures are kept.
        announce: told what there is to do.
        progress: called as ``progress(what, done, total)``.

    Raises:
        InputError: nothing of the run can be judged; and as `candidates_table`.
    """
    keep = run.folder if keep is None else keep
    table = candidates_table(
        run,
        model,
        circuit,
        prompts=selection_prompts,
        train_prompts=selection_train_prompts,
        cache_dir=cache_dir,
        keep=keep / "selection",
        progress=progress,
    )
    seed = min(run.recipe.seeds)
    bench = Bench(model, circuit, keep / "post", prompts, train_prompts, cache_dir, progress)
    suites, failed = chosen_to_suites(run, table, chosen_suites(table, seed=seed), bench)
    judged = judge_suites(suites, bench, announce or _quiet)
    if not any(one.chosen.seed == seed and one.chosen.method == AGNOSTIC for one in judged):
        raise InputError(f"none of the run's suites of seed {seed} could be made: {'; '.join(failed.values())}")
    made = judged[0].card.made
    about = {
        "model": made.model,
        "model_sha256": made.model_sha256,
        "spec": made.spec,
        "spec_sha256": made.spec_sha256,
        "circuit": made.circuit,
        "circuit_sha256": made.circuit_sha256,
        "recipe_sha256": run.recipe.sha256,
        "epochs": run.recipe.epochs,
        "learning_rate": run.recipe.learning_rate,
        "run": run.identity,
        "prompts": made.n_prompts,
        "train_prompts": made.n_train_prompts,
        "validation_prompts": int(table["prompts"].iloc[0]),
        "draws": made.n_draws,
        "versions": made.versions,
    }
    served = headline_attributes(circuit)
    choices = served_rows(select(table), served)
    return PostStudy(
        about,
        judged,
        seed,
        served_rows(table, served),
        choice_table(choices, table),
        run.curves,
        steady_span(run.recipe.epochs, decay=run.recipe.tactics.decay),
        run.recipe.resample_after,
        tuple(name for name in run.recipe.variants if program(name).frozen),
        failed,
    )


def write_study(study: PostStudy, folder: Path, commands: Sequence[str]) -> None:
    """Write RESULTS.md, ``figures/`` and results.json.

    Args:
        study: what was found.
        folder: where to.
        commands: what makes it again, for the page.

    Raises:
        StorageError: a file cannot be written.
    """
    from ioi_bench.studies.post import figures, panels
    from ioi_bench.studies.post.pages import results_page

    found = study.tables
    differences = study.of_main("differences")
    charts = {
        "accuracy": panels.accuracy_chart(found["edits"]),
        "weight": panels.weight_chart(found["edits"]),
        "price": panels.price_chart(differences),
        "correlations": figures.correlation_chart(found["correlations"], study.seed),
        "scatter": figures.scatter_chart(
            study.candidates[study.candidates["seed"] == study.seed], study.name_mover_site
        ),
        "cosine": figures.cosine_chart(found["cosines"]),
        "explained": figures.meaning_chart(found["meaning"]),
        "curves": figures.curve_chart(found["curves"]),
    }
    if "topk k=3, last epoch" in set(differences["left"]):
        charts["topk"] = panels.topk_chart(differences)
    figures.write_charts(charts, folder / "figures")
    record = json.dumps(study.to_json(), indent=1, ensure_ascii=False, allow_nan=False)
    write_file(folder / "results.json", (record + "\n").encode())
    write_file(
        folder / "RESULTS.md",
        results_page(study, list(charts), commands, readme=(folder / "README.md").is_file()).encode(),
    )


def _quiet(message: str) -> None:
    del message


def _plain(value: Any) -> Any:
    """JSON has no NaN and no numpy."""
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value
