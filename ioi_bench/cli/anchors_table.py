"""Anchors on the terminal: a line for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ioi_bench.cli.console import number

if TYPE_CHECKING:
    from rich.table import Table

    from ioi_bench.evaluation.anchor_records import CardAnchors

__all__ = ["anchors_table"]


def anchors_table(anchors: CardAnchors) -> Table:
    """Scores by edit method, and accuracy/weight; the suite's own first, the track's dimmed."""
    from rich import box
    from rich.table import Table

    from ioi_bench.evaluation.anchor_lines import SHOWN_BUDGET, anchor_lines
    from ioi_bench.evaluation.score import SCORED_METHODS

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("anchor", no_wrap=True)
    for heading in (*SCORED_METHODS, f"k = {SHOWN_BUDGET}"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for line in anchor_lines(anchors):
        scores = (number(line.scores[m].value) if m in line.scores else "–" for m in SCORED_METHODS)
        pair = "–" if line.accuracy is None else f"{number(line.accuracy)}/{number(line.weight)}"
        table.add_row(line.name, *scores, pair, line.note, style="" if line.of_suite else "dim")
    return table
