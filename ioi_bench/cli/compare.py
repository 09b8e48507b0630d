"""`ioi-bench compare`: differences of suites, and whether they can be told apart."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ioi_bench.cli import options
from ioi_bench.cli.console import figure, number, out, print_json, say

if TYPE_CHECKING:
    from rich.table import Table

    from ioi_bench.uncertainty.compare import Comparison

__all__ = ["compare"]

_DIGITS = 3
_LEGEND = (
    "group: suites whose scores these prompts cannot tell from the group's first",
    "in brackets: 95 % intervals; tied: the interval holds 0",
    "detectable: the least true difference that so many prompts find 4 times of 5",
    "other names too: the interval for other names, not only for other prompts",
)
"""No line folds at 80 columns."""


def compare(
    cards: Annotated[
        list[Path], typer.Argument(metavar="CARD CARD…", help="card.json with prompts.parquet beside it, or a folder.")
    ],
    folder: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write comparison.png, .svg, .html and .json to this folder."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Compare suites prompt by prompt: in which cells they differ, and which cannot be told apart.

    Prints tie groups, then for every pair the difference of the IOI score and of each cell's score with its 95 %
    interval, the least difference that so many prompts find four times out of five, and the interval where names are
    drawn too. What they mean: docs/uncertainty.md.

    \b
    Examples:
      ioi-bench compare runs/topk runs/gated
      ioi-bench compare runs/a runs/b runs/c --out runs/comparison
      ioi-bench compare runs/a/card.json runs/b/card.json --json
    """
    from ioi_bench.uncertainty.compare import compare as run

    found = run(cards)
    if json:
        print_json(found.to_json())
    else:
        _print(found)
    for note in found.notes:
        say(f"note: {note}", style="yellow")
    if folder is not None:
        from ioi_bench.uncertainty.figure import write_comparison

        names = ", ".join(path.name for path in write_comparison(found, folder))
        say(f"wrote {folder}/: {names}")


def _print(found: Comparison) -> None:
    console = out()
    groups = _table("group", "suite", "IOI score", "prompts")
    for place in found.places:
        made = place.row.card.made
        groups.add_row(
            str(place.group + 1), place.row.name, figure(place.row.score, _DIGITS), f"{made.n_prompts:,} {made.split}"
        )
    console.print(groups)
    pairs = dict.fromkeys((one.a, one.b) for one in found.contrasts)
    for a, b in pairs:
        own = [one for one in found.contrasts if (one.a, one.b) == (a, b)]
        how = "paired" if own[0].difference.paired else "unpaired"
        console.print(f"\n{a} − {b} ({how})")
        table = _table("", "difference", "", "detectable", "other names too")
        for one in own:
            ours = one.difference
            said = f"{number(ours.value, _DIGITS)} [{number(ours.low, _DIGITS)} {number(ours.high, _DIGITS)}]"
            wider = f"[{number(one.other_low, _DIGITS)} {number(one.other_high, _DIGITS)}]"
            table.add_row(one.what, said, "tied" if ours.tied else "", number(one.detectable, _DIGITS), wider)
        console.print(table)
    console.print()
    for line in _LEGEND:
        console.print(line, style="dim")


def _table(*headings: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for heading in headings:
        table.add_column(heading, no_wrap=True)
    return table
