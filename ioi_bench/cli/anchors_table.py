"""Anchors on the terminal: a line for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ioi_bench.cli.console import number

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from ioi_bench.evaluation.anchor_lines import AnchorLine
    from ioi_bench.evaluation.anchor_records import CardAnchors

__all__ = ["print_anchors"]

_UNSCORED = "–: no score: the 0 or the 1 itself, an edit without a budget, or nothing to gain"


def print_anchors(anchors: CardAnchors, console: Console) -> None:
    """Scores by edit method, and accuracy/weight; the suite's own first, the track's dimmed; notes below."""
    from ioi_bench.evaluation.anchor_lines import anchor_lines
    from ioi_bench.evaluation.score import SCORED_METHODS

    lines = anchor_lines(anchors)
    console.print(_table(lines))
    if any(method not in line.scores for line in lines for method in SCORED_METHODS):
        console.print(_UNSCORED, style="dim")
    for line in lines:
        if line.note:
            console.print(f"{line.name}: {line.note}", style="dim")


def _table(lines: tuple[AnchorLine, ...]) -> Table:
    from rich import box
    from rich.table import Table

    from ioi_bench.evaluation.anchor_lines import SHOWN_BUDGET
    from ioi_bench.evaluation.score import SCORED_METHODS

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("anchor", no_wrap=True)
    for heading in (*SCORED_METHODS, f"k = {SHOWN_BUDGET}"):
        table.add_column(heading, justify="right", no_wrap=True)
    for line in lines:
        scores = (number(line.scores[m].value) if m in line.scores else "–" for m in SCORED_METHODS)
        pair = "–" if line.accuracy is None else f"{number(line.accuracy)}/{number(line.weight)}"
        table.add_row(line.name, *scores, pair, style="" if line.of_suite else "dim")
    return table
