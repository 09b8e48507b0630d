"""The built-in reporters, and writing what any reporter makes of a card."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ioi_bench.atomic import write_file
from ioi_bench.errors import PluginError

if TYPE_CHECKING:
    from ioi_bench.plugins.records import Reporter

__all__ = ["write_json", "write_markdown", "write_report"]

_HEADLINE_METHOD = "exchange"


def write_report(reporter: Reporter, card: Any, folder: Path) -> Path:
    """Write ``report-NAME`` with the reporter's suffix into a folder; the file is returned.

    Raises:
        PluginError: the reporter wrote no such file, or failed.
        StorageError: the folder cannot be written.
    """
    path = folder / f"report-{reporter.name}{reporter.suffix}"
    reporter.write(card, path)
    if not path.is_file():
        raise PluginError(f"the reporter {reporter.name!r} did not write {str(path)!r}: it must write to this path")
    return path


def write_json(card: Any, path: Path) -> None:
    """The card as it stands in ``card.json``.

    Raises:
        StorageError: the file cannot be written.
    """
    card.write(path)


def write_markdown(card: Any, path: Path) -> None:
    """Two tables: IOI scores by method (suite and baselines), and headline cells.

    Raises:
        StorageError: the file cannot be written.
    """
    made, methods = card.made, list(card.headline)
    lines = [f"# {made.suite} on {made.model}", ""]
    lines += [f"{made.spec} {made.split}, {made.n_prompts:,} prompts; track {card.track}.", ""]
    rows = [(made.suite, card.headline), *((row.name, row.headline) for row in card.baselines)]
    lines += _table(
        ["IOI score", *methods],
        [[name, *(_figure(scores[method].score) for method in methods)] for name, scores in rows],
    )
    method = _HEADLINE_METHOD if _HEADLINE_METHOD in made.methods else made.methods[0]
    budget = min(made.budgets, key=lambda budget: (abs(budget - 2), budget))
    lines += ["", f"Edits by `{method}`, k = {budget}:", ""]
    headings = ["cell", "no edit", "skyline", "accuracy", "weight", "score"]
    lines += _table(headings, [_cell(cell, method, budget) for cell in card.cells if cell.headline])
    write_file(path, ("\n".join(lines) + "\n").encode())


def _cell(cell: Any, method: str, budget: int) -> list[str]:
    edit, score = cell.edit(method, budget), cell.scores.get(method)
    shown = _figure(score.score) if score is not None and cell.ranked else f"unranked: {cell.reason}"
    figures = (cell.no_edit, cell.skyline["mean"].accuracy, edit.accuracy, edit.weight)
    return [cell.name, *map(_figure, figures), shown]


def _figure(figure: Any) -> str:
    if figure.value is None or math.isnan(figure.value):
        return "–"
    interval = "" if figure.low is None or figure.high is None else f" [{figure.low:.2f}, {figure.high:.2f}]"
    return f"{figure.value:.2f}{interval}"


def _table(headings: list[str], rows: list[list[str]]) -> list[str]:
    def line(cells: list[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return [line(headings), "|" + "---|" * len(headings), *map(line, rows)]
