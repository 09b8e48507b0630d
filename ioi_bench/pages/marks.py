"""What stands in a line of text: numbers, badges, a score on its axis."""

from __future__ import annotations

import math

from markupsafe import Markup

from ioi_bench.evaluation.card import Figure

__all__ = ["BADGE_SHAPES", "badge_mark", "number", "whisker"]

_WIDTH, _HEIGHT = 96, 14
_TICK, _CROSS = '<path class="in" d="m5 8.2 2.2 2.2 4-4.4"/>', '<path class="in" d="m5.5 5.5 5 5m0-5-5 5"/>'
BADGE_SHAPES = {
    "private-season": f'<path d="M8 1.2 14 4v4.2c0 3.4-2.5 5.7-6 6.8-3.5-1.1-6-3.4-6-6.8V4Z"/>{_TICK}',
    "reproduced": f'<circle cx="8" cy="8" r="6.6"/>{_TICK}',
    "self-reported": '<circle class="open" cx="8" cy="8" r="5.8"/>',
    "refuted": f'<path d="M5.2 1.4h5.6l3.8 3.8v5.6l-3.8 3.8H5.2L1.4 10.8V5.2Z"/>{_CROSS}',
}
"""Told apart by shape, not by colour alone: a shield, a disc with a tick, a ring, an octagon with a cross."""


def number(value: float | None, digits: int = 3) -> str:
    """A figure for people: a true minus, no minus before a zero, a dash where there is none.

    >>> number(0.51649), number(-0.04, 2), number(-0.0001), number(None), number(12.04, 1)
    ('0.516', '−0.04', '0.000', '–', '12.0')
    """
    if value is None or not math.isfinite(value):
        return "–"
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def badge_mark(badge: str) -> Markup:
    """The badge's shape."""
    return Markup(f'<svg class="mark" viewBox="0 0 16 16" aria-hidden="true">{BADGE_SHAPES[badge]}</svg>')


def whisker(figure: Figure, low: float, high: float) -> Markup:
    """A score with its interval on an axis from ``low`` to ``high``, with ticks at 0 (random) and 1 (the skyline)."""

    def x(value: float) -> float:
        return 2 + (_WIDTH - 4) * min(max((value - low) / (high - low), 0), 1)

    value = figure.value or 0.0
    left = x(value if figure.low is None else figure.low)
    right = x(value if figure.high is None else figure.high)
    return Markup(
        f'<svg class="whisker" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" aria-hidden="true">'
        f'<path class="axis" d="M2 7H{_WIDTH - 2}"/><path class="tick" d="M{x(0):.1f} 3V11M{x(1):.1f} 3V11"/>'
        f'<path class="value" d="M{x(0):.1f} 7H{x(value):.1f}"/>'
        f'<path class="span" d="M{left:.1f} 7H{max(right, left + 0.5):.1f}"/>'
        f'<circle cx="{x(value):.1f}" cy="7" r="3.2"/></svg>'
    )
