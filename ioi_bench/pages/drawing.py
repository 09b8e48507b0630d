"""Small static drawings as inline SVG: they need no script, and take their colours from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from ioi_bench.evaluation.card import CardCell, EditFigures
from ioi_bench.evaluation.score import HEADLINE_METHOD
from ioi_bench.pages.marks import number
from ioi_bench.pages.rows import Point, Row

__all__ = ["METHODS", "curves", "method_class", "overview", "series_mark", "weight_ticks"]

METHODS = ("exchange", "split", "aware", "universal")
"""Those that have a colour and a mark of their own; plugins' share the rest."""

_SPARE = 3
_MOST_WEIGHT = 2.0
_STAR = "M0-6 1.4-1.9 5.7-1.9 2.2.7 3.5 4.9 0 2.3-3.5 4.9-2.2.7-5.7-1.9-1.4-1.9Z"
_MARKS = {
    "exchange": '<circle r="3.4"/>',
    "split": '<rect x="-3" y="-3" width="6" height="6"/>',
    "aware": '<path d="M0-4 3.8 3H-3.8Z"/>',
    "universal": '<path d="M0-4.4 4.4 0 0 4.4-4.4 0Z"/>',
    "skyline": f'<path d="{_STAR}"/>',
    "null": '<path d="M-3-3 3 3M3-3-3 3"/>',
    "no-edit": '<circle r="3"/>',
    "suite": '<circle r="4"/>',
}
_OTHER = '<circle class="open" r="3.2"/>'


def series_mark(series: str) -> Markup:
    """The mark of an edit method or a reference."""
    return Markup(_MARKS.get(series, _OTHER))


def weight_ticks(weights: Iterable[float]) -> tuple[float, ...]:
    """Of an axis of weights: from 0 to 1, or on to what edits weigh; beyond 2 a mark lies at the edge, and says it.

    >>> weight_ticks([0.3, 1.4])
    (0.0, 0.5, 1.0, 1.5)
    """
    most = min(max([1.0, *weights]), _MOST_WEIGHT)
    step = 0.25 if most == 1 else 0.5
    return tuple(step * i for i in range(math.ceil(most / step) + 1))


def method_class(method: str, methods: Sequence[str]) -> str:
    """The style-sheet class of an edit method; a plugin's method gets one of the spare ones."""
    if method in METHODS:
        return f"m-{method}"
    others = [one for one in methods if one not in METHODS]
    return f"m-spare{others.index(method) % _SPARE}"


@dataclass(frozen=True)
class _Panel:
    """A plot's frame: where its axes lie, and what they span.

    Attributes:
        log: whether x counts doublings.
    """

    x_range: tuple[float, float]
    y_range: tuple[float, float]
    width: int = 268
    height: int = 196
    left: int = 42
    bottom: int = 32
    log: bool = False

    def x(self, value: float) -> float:
        low, high = self.x_range
        if self.log:
            value, low, high = math.log2(max(value, 0.5)), math.log2(low), math.log2(high)
        return self.left + (self.width - self.left - 8) * min(max((value - low) / (high - low), -0.02), 1.02)

    def y(self, value: float) -> float:
        low, high = self.y_range
        room = self.height - self.bottom - 8
        return 8 + room * (1 - min(max((value - low) / (high - low), -0.02), 1.02))

    def frame(self, x_ticks: Iterable[float], x_title: str, y_title: str) -> str:
        """Axes, ticks, grid and titles."""
        bottom, right = self.height - self.bottom, self.width - 8
        parts = []
        for tick in (0, 0.25, 0.5, 0.75, 1):
            y = self.y(tick)
            parts.append(f'<path class="grid" d="M{self.left} {y:.1f}H{right}"/>')
            parts.append(f'<text x="{self.left - 7}" y="{y + 3.5:.1f}" text-anchor="end">{tick:g}</text>')
        for tick in x_ticks:
            x = self.x(tick)
            parts.append(f'<path class="grid" d="M{x:.1f} 8V{bottom}"/>')
            parts.append(f'<text x="{x:.1f}" y="{bottom + 13}" text-anchor="middle">{tick:g}</text>')
        middle = (self.left + right) / 2
        parts.append(
            f'<text class="title" x="{middle:.0f}" y="{self.height - 3}" text-anchor="middle">{x_title}</text>'
        )
        if y_title:
            parts.append(
                f'<text class="title" transform="translate(9 {(8 + bottom) / 2:.0f}) rotate(-90)" '
                f'text-anchor="middle">{y_title}</text>'
            )
        return "".join(parts)

    def mark(self, kind: str, x: float, y: float, title: str, css: str = "") -> str:
        """A point with what a pointer shows on it."""
        shape = _MARKS.get(kind, _OTHER)
        return (
            f'<g class="{css or kind}" transform="translate({self.x(x):.1f} {self.y(y):.1f})">'
            f"<title>{escape(title)}</title>{shape}</g>"
        )

    def svg(self, label: str, content: str) -> str:
        return (
            f'<svg class="plot" viewBox="0 0 {self.width} {self.height}" role="img" aria-label="{escape(label)}">'
            f"{content}</svg>"
        )


def curves(cell: CardCell, methods: Sequence[str]) -> Markup:
    """A cell's edits: accuracy against the weight of the edit, and against the budget."""
    return Markup(_against_weight(cell, methods) + _against_budget(cell, methods))


def _against_weight(cell: CardCell, methods: Sequence[str]) -> str:
    sky, score = cell.skyline.get("mean"), cell.scores.get(HEADLINE_METHOD)
    weights = [edit.weight.value for edit in cell.edits] + list(() if score is None else score.null.weight)
    ticks = weight_ticks(weight for weight in weights if weight is not None)
    panel = _Panel((0, ticks[-1]), (0, 1))
    parts = [panel.frame(ticks, "weight of the edit", "edit accuracy")]
    if sky is not None and sky.accuracy.value is not None and sky.weight.value is not None:
        x, y = panel.x(sky.weight.value), panel.y(sky.accuracy.value)
        parts.append(
            f'<path class="sky-line" d="M{panel.left} {y:.1f}H{panel.width - 8}M{x:.1f} 8V{panel.height - 32}"/>'
        )
    for method in methods:
        css = method_class(method, methods)
        own = [(e.weight.value, e.accuracy.value, e) for e in cell.edits if e.method == method]
        points = [(x, y, edit) for x, y, edit in own if x is not None and y is not None]
        parts.append(_path(panel, css, [(x, y) for x, y, _ in points]))
        parts += [_bars(panel, css, edit) for _, _, edit in points]
        parts += [panel.mark(method, x, y, _told(edit), css) for x, y, edit in points]
    parts += _reference_marks(panel, cell, sky)
    return panel.svg(
        f"{cell.name}: edit accuracy against the weight of the edit, by edit method and budget", "".join(parts)
    )


def _reference_marks(panel: _Panel, cell: CardCell, sky: EditFigures | None) -> list[str]:
    parts = []
    score = cell.scores.get(HEADLINE_METHOD)
    if score is not None:
        null = score.null
        for budget, y, x in zip(null.budgets, null.accuracy, null.weight, strict=False):
            if x is not None and y is not None:
                parts.append(panel.mark("null", x, y, f"matched random, budget {budget}: {number(y)} at {number(x)}"))
    if cell.no_edit.value is not None:
        parts.append(panel.mark("no-edit", 0, cell.no_edit.value, f"no edit: {number(cell.no_edit.value)}"))
    if sky is not None and sky.accuracy.value is not None and sky.weight.value is not None:
        told = f"skyline: {number(sky.accuracy.value)} at weight {number(sky.weight.value)}"
        parts.append(panel.mark("skyline", sky.weight.value, sky.accuracy.value, told))
    return parts


def _against_budget(cell: CardCell, methods: Sequence[str]) -> str:
    budgets = sorted({edit.budget for edit in cell.edits if edit.budget > 0})
    panel = _Panel((min(budgets, default=1) * 0.85, max(budgets, default=2) * 1.18), (0, 1), log=True)
    parts = [panel.frame(budgets, "budget (features an edit may change)", "")]
    sky = cell.skyline.get("mean")
    levels = [("sky-line", None if sky is None else sky.accuracy.value), ("null-line", cell.no_edit.value)]
    for css, level in levels:
        if level is not None:
            parts.append(f'<path class="{css}" d="M{panel.left} {panel.y(level):.1f}H{panel.width - 8}"/>')
    for method in methods:
        css = method_class(method, methods)
        own = sorted(
            (e.budget, e.accuracy.value, e) for e in cell.edits if e.method == method and e.accuracy.value is not None
        )
        parts.append(_path(panel, css, [(x, y) for x, y, _ in own if y is not None]))
        parts += [panel.mark(method, x, y, _told(edit), css) for x, y, edit in own if y is not None]
    return panel.svg(f"{cell.name}: edit accuracy against budget, by edit method", "".join(parts))


def _path(panel: _Panel, css: str, points: Sequence[tuple[float, float]]) -> str:
    if len(points) < 2:
        return ""
    line = "L".join(f"{panel.x(x):.1f} {panel.y(y):.1f}" for x, y in points)
    return f'<path class="line {css}" d="M{line}"/>'


def _bars(panel: _Panel, css: str, edit: EditFigures) -> str:
    """The point's intervals, as a cross."""
    accuracy, weight = edit.accuracy, edit.weight
    if None in (accuracy.low, accuracy.high, weight.low, weight.high):
        return ""
    x, y = panel.x(weight.value or 0.0), panel.y(accuracy.value or 0.0)
    low, high = panel.y(accuracy.low or 0.0), panel.y(accuracy.high or 0.0)
    left, right = panel.x(weight.low or 0.0), panel.x(weight.high or 0.0)
    return f'<path class="bar {css}" d="M{x:.1f} {low:.1f}V{high:.1f}M{left:.1f} {y:.1f}H{right:.1f}"/>'


def _told(edit: EditFigures) -> str:
    accuracy, weight = edit.accuracy, edit.weight
    return (
        f"{edit.method}, budget {edit.budget}: accuracy {number(accuracy.value)} [{number(accuracy.low)}, "
        f"{number(accuracy.high)}], weight of the edit {number(weight.value)}"
    )


def overview(rows: Sequence[Row], budget: int) -> Markup:
    """All suites of a track at one budget: accuracy against weight, means over the ranked headline cells."""
    points = [(row, point) for row in rows for point in row.points if point.budget == budget]
    nulls = [point for row in rows for point in row.nulls if point.budget == budget]
    ticks = weight_ticks(point.weight for point in (*nulls, *(point for _, point in points)))
    panel = _Panel((0, ticks[-1]), (0, 1), width=760, height=400, left=46, bottom=38)
    parts = [panel.frame(ticks, "weight of the edit", "edit accuracy")]
    parts += [
        panel.mark("suite", p.weight, p.accuracy, _suite_told(row, p), f"suite b-{row.badge or 'none'}")
        for row, p in points
    ]
    if nulls:
        x, y = (sum(values) / len(nulls) for values in ([p.weight for p in nulls], [p.accuracy for p in nulls]))
        parts.append(panel.mark("null", x, y, "matched random dictionaries, mean"))
    first = next((row for row in rows if row.skyline is not None and row.no_edit is not None), None)
    if first is not None and first.skyline is not None and first.no_edit is not None:
        parts.append(panel.mark("no-edit", first.no_edit.weight, first.no_edit.accuracy, "no edit"))
        parts.append(panel.mark("skyline", first.skyline.weight, first.skyline.accuracy, "skyline"))
    label = (
        f"Edit accuracy against the weight of the edit at budget {budget}, a point a suite; the table has the scores"
    )
    return Markup(panel.svg(label, "".join(parts)))


def _suite_told(row: Row, point: Point) -> str:
    return f"{row.name}: accuracy {number(point.accuracy)}, weight of the edit {number(point.weight)}"
