"""`ioi-bench report`: one's own cards in one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ioi_bench.cli.console import cache_folder, progress, say

__all__ = ["report"]


def report(
    cards: Annotated[list[Path], typer.Argument(metavar="CARD…", help="card.json, or a folder that holds one.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="An .html file.")] = Path("report.html"),
) -> None:
    """Show score cards beside each other in one self-contained HTML file.

    \b
    Examples:
      ioi-bench report runs/mine --out report.html
      ioi-bench report runs/mine runs/theirs/card.json
    """
    from ioi_bench.pages import write_report

    with progress() as told:
        write_report(cards, out, cache_dir=cache_folder(), progress=told)
    say(f"wrote {out}")
