"""Anchors as lines of a table: what the terminal and the pages show of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ioi_bench.evaluation.anchor_records import Anchor, AnchorEdits, CardAnchors, TrackCell
from ioi_bench.evaluation.card_records import Figure
from ioi_bench.evaluation.score import HEADLINE_METHOD, SCORED_METHODS

__all__ = ["SHOWN_BUDGET", "AnchorLine", "anchor_lines"]

SHOWN_BUDGET = 2


@dataclass(frozen=True)
class AnchorLine:
    """One line: means over the ranked cells.

    Attributes:
        of_suite: whether it was made from the suite; else it is the track's.
        scores: by scored method; without those that it has not.
        accuracy, weight: of ``exchange`` at k = 2, or of the anchor's own edit; None where no cell has them.
        note: what else belongs to it.
    """

    name: str
    summary: str
    of_suite: bool
    scores: Mapping[str, Figure]
    accuracy: float | None
    weight: float | None
    note: str = ""


def anchor_lines(anchors: CardAnchors) -> tuple[AnchorLine, ...]:
    """The suite's own, then the track's, then the skyline."""
    return tuple(_lines(anchors))


def _lines(anchors: CardAnchors) -> Iterator[AnchorLine]:
    for row in anchors.suite:
        yield _line(row, [cell.name for cell in row.cells], of_suite=True)
    track = anchors.track
    if track is None:
        return
    ranked = [cell for cell in track.cells if cell.ranked]
    for row in track.rows:
        yield _line(row, [cell.name for cell in ranked], of_suite=False)
    accuracy, weight = _mean([(cell.skyline.value, cell.skyline_weight.value) for cell in ranked])
    one = Figure(value=1.0, direction="higher")
    yield AnchorLine(
        "skyline", "supervised codes, told the attributes", False, {HEADLINE_METHOD: one}, accuracy, weight
    )


def _line(row: Anchor, ranked: Sequence[str], *, of_suite: bool) -> AnchorLine:
    scores = {method: row.headline[method] for method in SCORED_METHODS if method in row.headline}
    accuracy, weight = _mean([_shown(cell.edits) for cell in row.cells if cell.name in ranked])
    note = _note([cell for cell in row.track if cell.name in ranked])
    return AnchorLine(row.name, row.summary, of_suite, scores, accuracy, weight, note)


def _note(cells: Sequence[TrackCell]) -> str:
    """Of a row on another model: what there is to gain there."""
    no_edit, skyline = _mean([(cell.no_edit.value, cell.skyline.value) for cell in cells])
    return "" if no_edit is None or skyline is None else f"no edit {no_edit:.2f}, skyline {skyline:.2f} there"


def _shown(edits: Mapping[str, AnchorEdits]) -> tuple[float | None, float | None]:
    found = edits.get(HEADLINE_METHOD) or next(iter(edits.values()))
    i = found.budgets.index(SHOWN_BUDGET) if SHOWN_BUDGET in found.budgets else 0
    return found.accuracy[i], found.weight[i]


def _mean(pairs: Sequence[tuple[float | None, float | None]]) -> tuple[float | None, float | None]:
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    if not known:
        return None, None
    first, second = zip(*known, strict=True)
    return sum(first) / len(known), sum(second) / len(known)
