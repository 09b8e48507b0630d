"""One file about a person's own cards: the leaderboard's parts, with every script and style inside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ioi_bench.atomic import write_file
from ioi_bench.errors import InputError
from ioi_bench.evaluation.data import Progress, silent
from ioi_bench.pages.chart import vega_script
from ioi_bench.pages.lines import beside
from ioi_bench.pages.render import inside, licences, render, static
from ioi_bench.pages.rows import row_of
from ioi_bench.pages.shown import Shown, of_card
from ioi_bench.pages.tables import tables_of
from ioi_bench.uncertainty.draws import read_draws

__all__ = ["write_report"]


@dataclass(frozen=True)
class _Sides:
    """Suites of one track, their figures beside each other."""

    suites: tuple[Shown, ...]
    sections: list[Any]


def write_report(
    cards: Sequence[Path], out: Path, *, cache_dir: Path | None = None, progress: Progress | None = None
) -> None:
    """Write a report on cards; intervals of differences are paired where the results per prompt lie beside them.

    Args:
        cards: files, or folders with a ``card.json``.
        out: an ``.html`` file.
        cache_dir: where the script of the figure is kept between runs.

    Raises:
        InputError: no cards, a card that cannot be read, or another ending.
        StorageError: ``out`` cannot be written.
    """
    if not cards:
        raise InputError("a report needs at least one card: give card.json files, or folders that hold one")
    if out.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"a report is an .html file, not {out.name!r}")
    tell = progress or silent
    suites = [of_card(path, i) for i, path in enumerate(cards, start=1)]
    rows = []
    for done, shown in enumerate(suites, start=1):
        try:
            draws = read_draws(shown.card, shown.folder)
        except InputError:  # one's own card may lie alone, or beside the results of a skyline or a plugin's method
            draws = None
        rows.append(row_of(shown, draws))
        tell("cards", done, len(suites))
    scripts = {
        "boot.js": static("boot.js"),
        "datatables.js": static("vendor/datatables.min.js"),
        "vega.js": vega_script(cache_dir),
        "page.js": static("page.js"),
    }
    page = render(
        "report",
        inside(scripts),
        home="#main",
        suites=suites,
        tables=tables_of(rows, "#{slug}", compare=False, badges=False),
        besides=_besides(suites),
        licences=licences(),
    )
    write_file(out, page)


def _besides(suites: Sequence[Shown]) -> list[_Sides]:
    groups: dict[tuple[str, ...], list[Shown]] = {}
    for shown in suites:
        groups.setdefault(shown.comparable, []).append(shown)
    return [_Sides(tuple(group), beside(group)) for group in groups.values() if len(group) > 1]
