"""Whether weights in half precision move a card: every selected suite, judged in full and in half precision."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ioi_bench.errors import InputError
from ioi_bench.evaluation.card import Card
from ioi_bench.evaluation.data import Progress, silent
from ioi_bench.evaluation.selection import candidates_table
from ioi_bench.studies.post.chosen import AGNOSTIC, Chosen, chosen_suites
from ioi_bench.studies.post.judging import Bench, chosen_to_suites, judge_suites

if TYPE_CHECKING:
    from ioi_bench.dictionaries.suite import Suite
    from ioi_bench.lm.circuit import Circuit
    from ioi_bench.lm.model import LanguageModel
    from ioi_bench.training.runs import Run

__all__ = ["BOUND", "HalfStudy", "Moved", "moved", "study_half"]

BOUND = 0.005
"""No IOI score may move by this, or more."""


@dataclass(frozen=True)
class Moved:
    """How one suite's card moved: full precision less half.

    Attributes:
        suite: its name.
        sha256: of the suite in half precision.
        scores: differences of the IOI score, by edit method.
        cell: the largest difference, in size, of any ranked cell's S under any method.
        accuracy: the largest of any edit accuracy.
    """

    suite: str
    sha256: str
    scores: Mapping[str, float]
    cell: float
    accuracy: float

    @property
    def score(self) -> float:
        """The largest difference of an IOI score, in size."""
        return max(map(abs, self.scores.values()))


@dataclass(frozen=True)
class HalfStudy:
    """All suites, and the prompts on which they were judged."""

    model: str
    spec_sha256: str
    prompts: int
    suites: tuple[Moved, ...]

    @property
    def holds(self) -> bool:
        """Whether no score moved by `BOUND`, or more."""
        return all(one.score < BOUND for one in self.suites)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        suites = {
            one.suite: {
                "sha256": one.sha256,
                "scores": {method: _finite(value) for method, value in one.scores.items()},
                "largest_score": _finite(one.score),
                "largest_cell": _finite(one.cell),
                "largest_accuracy": _finite(one.accuracy),
            }
            for one in self.suites
        }
        about = {"model": self.model, "spec_sha256": self.spec_sha256, "prompts": self.prompts}
        return {**about, "bound": BOUND, "holds": self.holds, "suites": suites}


def study_half(
    run: Run,
    model: LanguageModel,
    circuit: Circuit,
    *,
    seeds: Sequence[int] | None = None,
    prompts: int | None = None,
    train_prompts: int | None = None,
    selection_prompts: int | None = None,
    selection_train_prompts: int | None = None,
    cache_dir: Path | None = None,
    announce: Callable[[str], None],
    progress: Progress = silent,
) -> HalfStudy:
    """Judge what `ioi-bench select` writes twice; cards that `study_post` has made of it are taken from there.

    Args:
        run: a finished one.
        model, circuit: what it was trained on.
        seeds: whose suites; by default all.
        prompts, train_prompts: only the first so many of test, and of train.
        selection_prompts, selection_train_prompts: of selection: only the first so many of validation, and of train.
        cache_dir: where captures are kept.
        announce: told what there is to do.
        progress: called as ``progress(what, done, total)``.

    Raises:
        InputError: no such seed, or no suite of it can be made.
    """
    known = tuple(run.recipe.seeds)
    if missing := set(seeds or ()) - set(known):
        raise InputError(f"the run has no seed {', '.join(map(str, sorted(missing)))}: it has {list(known)}")
    table = candidates_table(
        run,
        model,
        circuit,
        prompts=selection_prompts,
        train_prompts=selection_train_prompts,
        cache_dir=cache_dir,
        keep=run.folder / "selection",
        progress=progress,
    )
    every = chosen_suites(table, seed=min(known))
    chosen = [one for one in every if one.method == AGNOSTIC and not one.last_epoch and one.seed in (seeds or known)]
    bench = Bench(model, circuit, run.folder / "post", prompts, train_prompts, cache_dir, progress)
    half, failed = chosen_to_suites(run, table, chosen, bench)
    if not half:
        raise InputError(f"no suite can be made: {'; '.join(failed.values())}")
    full, _ = chosen_to_suites(run, table, list(half), bench, half=False)
    halved = _cards(half, bench, announce)
    whole = _cards(full, replace(bench, keep=run.folder / "half"), announce)  # they bear the same names
    made = next(iter(halved.values())).made
    found = tuple(moved(one.name, whole[one], halved[one]) for one in half)
    return HalfStudy(made.model, made.spec_sha256, made.n_prompts, found)


def _cards(suites: Mapping[Chosen, Suite], bench: Bench, announce: Callable[[str], None]) -> dict[Chosen, Card]:
    return {one.chosen: one.card for one in judge_suites(suites, bench, announce)}


def moved(name: str, full: Card, half: Card) -> Moved:
    """Compare two cards of the same prompts and methods."""
    pairs = [(one, half.cell(one.name)) for one in full.cells]
    cells = [
        _distance(found.s.value, other.scores[method].s.value)
        for one, other in pairs
        if one.ranked
        for method, found in one.scores.items()
    ]
    accuracies = [
        _distance(edit.accuracy.value, other.edit(edit.method, edit.budget).accuracy.value)
        for one, other in pairs
        for edit in one.edits
    ]
    scores = {
        method: _less(found.score.value, half.headline[method].score.value) for method, found in full.headline.items()
    }
    return Moved(name, half.made.suite_sha256, scores, max(cells, default=0.0), max(accuracies, default=0.0))


def _less(one: float | None, other: float | None) -> float:
    """A figure that is there in one card only has moved without bound."""
    if one is None or other is None:
        return 0.0 if one is other else float("inf")
    return one - other


def _finite(value: float) -> float | None:
    """JSON has no infinity."""
    return value if math.isfinite(value) else None


def _distance(one: float | None, other: float | None) -> float:
    return abs(_less(one, other))
