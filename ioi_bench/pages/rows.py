"""A suite as a line of the table and a point of the figure: all that the overview keeps of a card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ioi_bench.evaluation.card import CardCell, Figure
from ioi_bench.evaluation.score import HEADLINE_METHOD
from ioi_bench.leaderboard.records import Badge
from ioi_bench.pages.shown import Shown, edit_of
from ioi_bench.uncertainty.draws import ScoreDraws

__all__ = ["CellMark", "Point", "Row", "row_of"]

_UNFIT = {
    "suspicious-scale": "reconstructions are worse than the mean, or of another norm",
    "not-sparse": "at a site or more, as many features are active as there are dimensions",
}
"""Warnings of cards whose suite is no sparse dictionary of the activation: what its edits are worth does not rank."""


@dataclass(frozen=True)
class CellMark:
    """One headline cell of a row.

    Attributes:
        score: under the headline method; None where the cell is not ranked.
        reason: why it is not.
    """

    name: str
    ranked: bool
    reason: str
    score: float | None


@dataclass(frozen=True)
class Point:
    """Edit accuracy and weight of the edit at a budget, means over the ranked headline cells."""

    budget: int
    accuracy: float
    weight: float


@dataclass(frozen=True)
class Row:
    """One suite.

    Attributes:
        comparable: equal for rows that may stand in one table.
        scores: by edit method, those that there are; the headline method's ranks.
        points: of the headline method.
        skyline, no_edit: of the same cells; the skyline's budget is 1, no edit's is 0.
        nulls: random dictionaries matched to this suite, under the headline method.
        draws: of the score; None where there are no results per prompt to take it from.
        contradicted: why a submission's files do not agree with each other, though nobody has verified it; else empty.
        unfit: why it is no sparse dictionary; such a suite is shown and has no rank.
    """

    slug: str
    name: str
    authors: tuple[str, ...]
    badge: Badge | None
    architecture: str
    l0: float | None
    comparable: tuple[str, ...]
    model: str
    n_prompts: int
    scores: Mapping[str, Figure]
    cells: tuple[CellMark, ...]
    points: tuple[Point, ...]
    skyline: Point | None
    no_edit: Point | None
    nulls: tuple[Point, ...]
    draws: ScoreDraws | None = None
    contradicted: str = ""
    unfit: tuple[str, ...] = ()

    @property
    def apart(self) -> bool:
        """Whether it is listed apart, and never ranked."""
        return self.badge == "refuted" or bool(self.contradicted)

    @property
    def track(self) -> str:
        """The track's name."""
        return self.comparable[0]

    @property
    def score(self) -> Figure | None:
        """The IOI score."""
        return self.scores.get(HEADLINE_METHOD)


def row_of(shown: Shown, draws: ScoreDraws | None, contradicted: str = "") -> Row:
    """The row of a suite."""
    card, scored = shown.card, shown.scored
    scores = {method: figure for method in shown.methods if (figure := shown.score_of(method)) is not None}
    return Row(
        slug=shown.slug,
        name=shown.name,
        authors=shown.submission.authors if shown.submission is not None else (),
        badge=shown.badge,
        architecture=shown.architecture,
        l0=shown.l0,
        comparable=shown.comparable,
        model=card.made.model,
        n_prompts=card.made.n_prompts,
        scores=scores,
        cells=tuple(_mark(cell) for cell in card.cells if cell.headline),
        points=tuple(point for budget in card.made.budgets if (point := _edits(scored, budget)) is not None),
        skyline=_mean(1, [(e.accuracy, e.weight) for e in (cell.skyline.get("mean") for cell in scored) if e]),
        no_edit=_mean(0, [(cell.no_edit, Figure(value=0.0)) for cell in scored]),
        nulls=tuple(_nulls(scored)),
        draws=draws,
        contradicted=contradicted,
        unfit=tuple(_UNFIT[warning.code] for warning in card.warnings if warning.code in _UNFIT),
    )


def _mark(cell: CardCell) -> CellMark:
    found = cell.scores.get(HEADLINE_METHOD) if cell.ranked else None
    return CellMark(cell.name, cell.ranked, cell.reason, None if found is None else found.score.value)


def _edits(cells: Sequence[CardCell], budget: int) -> Point | None:
    found = [edit_of(cell, HEADLINE_METHOD, budget) for cell in cells]
    return _mean(budget, [(edit.accuracy, edit.weight) for edit in found if edit is not None])


def _mean(budget: int, figures: Sequence[tuple[Figure, Figure]]) -> Point | None:
    pairs = [(a.value, w.value) for a, w in figures if a.value is not None and w.value is not None]
    return _point(budget, pairs)


def _point(budget: int, pairs: Sequence[tuple[float, float]]) -> Point | None:
    if not pairs:
        return None
    accuracies, weights = zip(*pairs, strict=True)
    return Point(budget, sum(accuracies) / len(pairs), sum(weights) / len(pairs))


def _nulls(cells: Sequence[CardCell]) -> list[Point]:
    by_budget: dict[int, list[tuple[float, float]]] = {}
    for cell in cells:
        if (score := cell.scores.get(HEADLINE_METHOD)) is None:
            continue
        null = score.null
        for budget, accuracy, weight in zip(null.budgets, null.accuracy, null.weight, strict=False):
            if accuracy is not None and weight is not None:
                by_budget.setdefault(budget, []).append((accuracy, weight))
    found = [_point(budget, pairs) for budget, pairs in sorted(by_budget.items())]
    return [point for point in found if point is not None]
