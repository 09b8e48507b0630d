"""Whether a suite on the disk is the reference suite: its files, what they hold, and the scores that it gets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ioi_bench.atomic import storage_errors
from ioi_bench.dictionaries.suite import load_suite
from ioi_bench.errors import IoiBenchError
from ioi_bench.evaluation.card_records import Figure
from ioi_bench.evaluation.data import Progress
from ioi_bench.evaluation.evaluate import evaluate
from ioi_bench.evaluation.score import SCORED_BUDGETS
from ioi_bench.reference.files import differing
from ioi_bench.reference.manifest import ReferenceSuite

__all__ = ["TOLERANCE", "Rescored", "evaluate_again", "problems_of"]

TOLERANCE = 1e-6
"""How far a score may be from the manifest's.

The same versions on the same processor give the same bytes. Another one may round otherwise, and where two features are
nearly equally good an edit may then take the other one.
"""


@dataclass(frozen=True)
class Rescored:
    """A suite's scores, found again.

    Attributes:
        worst: the largest difference of a score or an end of its interval, by edit method.
    """

    worst: dict[str, float]

    @property
    def same(self) -> bool:
        """Whether all are the manifest's, within `TOLERANCE`."""
        return all(value <= TOLERANCE for value in self.worst.values())


def problems_of(folder: Path, name: str, suite: ReferenceSuite) -> list[str]:
    """All that is wrong with a suite's files and their content; empty for a sound one.

    Raises:
        StorageError: no permission to read.
    """
    found = list(differing(folder, suite).values())
    with storage_errors("read", folder):
        extra = (
            sorted(path.name for path in folder.iterdir() if path.name not in suite.files) if folder.is_dir() else []
        )
    found += [f"{other} is not in the manifest" for other in extra]
    return found or _content_problems(folder, name, suite)


def _content_problems(folder: Path, name: str, suite: ReferenceSuite) -> list[str]:
    """The files are the manifest's; is the manifest right about them?"""
    try:
        loaded = load_suite(folder)
    except IoiBenchError as error:
        return [str(error)]
    pairs = (
        ("suite_sha256", loaded.sha256, suite.suite_sha256),
        ("model", loaded.model, suite.model),
        ("model_sha256", loaded.model_sha256, suite.model_sha256),
        ("name", loaded.name, name),
    )
    return [f"its {what} is {found}, but the manifest says {said}" for what, found, said in pairs if found != said]


def evaluate_again(
    folder: Path, suite: ReferenceSuite, cache_dir: Path | None = None, progress: Progress | None = None
) -> Rescored:
    """Score a suite as the manifest's scores were made, and compare.

    Args:
        folder: the suite.
        suite: its record; its prompts, train prompts and edit methods are used.
        cache_dir: where captures are kept.
        progress: called as ``progress(what, done, total)``.

    Raises:
        IoiBenchError: as `ioi_bench.evaluate`.
    """
    card = evaluate(
        folder,
        prompts=suite.prompts,
        train_prompts=suite.train_prompts,
        budgets=SCORED_BUDGETS,
        methods=tuple(suite.scores),
        cache_dir=cache_dir,
        progress=progress,
    )
    return Rescored({method: _apart(card.headline[method].score, said) for method, said in suite.scores.items()})


def _apart(found: Figure, said: Figure) -> float:
    """The largest difference; infinite where one has a figure that the other lacks.

    >>> _apart(Figure(value=0.5, low=0.4, high=0.6), Figure(value=0.5, low=0.25, high=0.6)) == 0.4 - 0.25
    True
    """
    worst = 0.0
    for mine, theirs in ((found.value, said.value), (found.low, said.low), (found.high, said.high)):
        if mine is None or theirs is None:
            worst = worst if mine is theirs else float("inf")
        else:
            worst = max(worst, abs(mine - theirs))
    return worst
