"""A suite's figures as lines of a table that can stand beside another suite's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ioi_bench.evaluation.card import Direction, Figure
from ioi_bench.evaluation.score import HEADLINE_METHOD
from ioi_bench.pages.marks import number
from ioi_bench.pages.shown import Shown, edit_of, shown_budget
from ioi_bench.uncertainty.draws import ScoreDraws

__all__ = ["Line", "beside", "compared_record", "lines_of"]

_DRAW_SCALE = 10_000


@dataclass(frozen=True)
class Line:
    """One line.

    Attributes:
        section: its heading, such as a cell's name.
        label: what it is.
        text: as people read it.
        value: for telling which is better; None for words.
        interval: as people read it; empty where there is none.
        low, high: the same as numbers.
    """

    section: str
    label: str
    text: str
    value: float | None = None
    interval: str = ""
    direction: Direction = "none"
    low: float | None = None
    high: float | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Equal for lines that belong beside each other."""
        return self.section, self.label


def lines_of(shown: Shown) -> tuple[Line, ...]:
    """All lines of a suite."""
    return tuple(_lines(shown))


def _lines(shown: Shown) -> Iterator[Line]:
    yield Line("About", "architecture", shown.architecture)
    yield Line("About", "badge", shown.badge or "own card")
    yield Line("About", "L0", number(shown.l0, 1), shown.l0)
    yield Line("About", "prompts", f"{shown.card.made.n_prompts:,}")
    for method in shown.methods:
        yield _line("IOI score", method, shown.score_of(method), "higher")
    budget = shown_budget(shown)
    for cell in shown.card.cells:
        if not cell.headline:
            continue
        section = cell.name if cell.ranked else f"{cell.name} (not ranked)"
        score = cell.scores.get(HEADLINE_METHOD)
        yield _line(section, "score", None if score is None or not cell.ranked else score.score, "higher")
        if (edit := edit_of(cell, HEADLINE_METHOD, budget)) is not None:
            yield _line(section, f"accuracy, budget {budget}", edit.accuracy)
            yield _line(section, f"weight of the edit, budget {budget}", edit.weight)
        faithful = cell.faithfulness
        yield _line(section, "L0", faithful.l0, digits=1)
        yield _line(section, "variance unexplained", faithful.fvu)
        yield _line(section, "logit difference recovered", faithful.ld_recovered)


def _line(section: str, label: str, figure: Figure | None, direction: Direction = "none", digits: int = 3) -> Line:
    if figure is None or figure.value is None:
        return Line(section, label, "–")
    interval = ""
    if figure.low is not None and figure.high is not None:
        interval = f"[{number(figure.low, digits)}, {number(figure.high, digits)}]"
    way = figure.direction if figure.direction != "none" else direction
    return Line(section, label, number(figure.value, digits), figure.value, interval, way, figure.low, figure.high)


def beside(suites: Sequence[Shown]) -> list[tuple[str, list[tuple[str, list[Line | None]]]]]:
    """Sections of labels, each with a line per suite, or None where a suite has no such figure."""
    found = [{line.key: line for line in lines_of(shown)} for shown in suites]
    keys = list(dict.fromkeys(key for lines in found for key in lines))
    sections: dict[str, list[tuple[str, list[Line | None]]]] = {}
    for section, label in keys:
        sections.setdefault(section, []).append((label, [lines.get((section, label)) for lines in found]))
    return list(sections.items())


def compared_record(shown: Shown, draws: ScoreDraws | None) -> dict[str, Any]:
    """What the page that compares two suites needs of one, as plain JSON values."""
    score = shown.score
    return {
        "slug": shown.slug,
        "name": shown.name,
        "track": list(shown.comparable),
        "lines": [asdict(line) for line in lines_of(shown)],
        "score": None if score is None else [score.value, score.low, score.high],
        "paired": None if draws is None else draws.paired_with,
        "draws": None if draws is None else [round(_DRAW_SCALE * float(value)) for value in draws.scores],
    }
