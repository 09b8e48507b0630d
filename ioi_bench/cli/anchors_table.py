"""Anchors on the terminal: a line for each, means over the ranked cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ioi_bench.cli.console import number

if TYPE_CHECKING:
    from rich.table import Table

    from ioi_bench.evaluation.anchor_records import Anchor, AnchorEdits, TrackAnchors
    from ioi_bench.evaluation.card_records import Figure

__all__ = ["anchors_table"]

_METHODS = ("exchange", "aware", "universal")
_BUDGET = 2


def anchors_table(track: TrackAnchors | None, suite: Sequence[Anchor]) -> Table:
    """Scores by edit method, and accuracy/weight of exchange at k = 2 or of the anchor's own edit.

    The suite's own anchors come first, then the track's.
    """
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("anchor", no_wrap=True)
    for heading in (*_METHODS, f"k = {_BUDGET}"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in suite:
        table.add_row(row.name, *_cells(row, [cell.name for cell in row.cells]))
    if track is not None:
        ranked = [cell.name for cell in track.cells if cell.ranked]
        for row in track.rows:
            table.add_row(row.name, *_cells(row, ranked), style="dim")
        skyline = _mean([(cell.skyline.value, cell.skyline_weight.value) for cell in track.cells if cell.ranked])
        table.add_row("skyline", "1", "", "", skyline, style="dim")
    return table


def _cells(row: Anchor, ranked: Sequence[str]) -> tuple[str, ...]:
    scores = [_score(row.headline.get(method)) for method in _METHODS]
    shown = [_pair(cell.edits) for cell in row.cells if cell.name in ranked]
    return (*scores, _mean(shown))


def _score(figure: Figure | None) -> str:
    return "–" if figure is None else number(figure.value)


def _pair(edits: dict[str, AnchorEdits]) -> tuple[float | None, float | None]:
    """Accuracy and weight of ``exchange`` at the shown budget, or of the only edit there is."""
    found = edits.get(_METHODS[0]) or next(iter(edits.values()))
    i = found.budgets.index(_BUDGET) if _BUDGET in found.budgets else 0
    return found.accuracy[i], found.weight_removed[i]


def _mean(pairs: Sequence[tuple[float | None, float | None]]) -> str:
    known = [(accuracy, weight) for accuracy, weight in pairs if accuracy is not None and weight is not None]
    if not known:
        return "–"
    accuracy, weight = (sum(column) / len(known) for column in zip(*known, strict=True))
    return f"{number(accuracy)}/{number(weight)}"
