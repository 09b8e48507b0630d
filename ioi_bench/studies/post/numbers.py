"""Numbers as the page prints them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

__all__ = ["number", "with_interval", "with_spread"]


def number(value: float | None) -> str:
    """Two decimals as papers print them.

    >>> number(0.516), number(-0.04), number(-0.001), number(12.3), number(float("nan"))
    ('.52', '−.04', '.00', '12.30', '–')
    """
    if value is None or math.isnan(value):
        return "–"
    text = f"{abs(value):.2f}"
    minus = "−" if value < 0 and float(text) else ""
    return minus + (text[1:] if text.startswith("0") else text)


def with_interval(row: Any, name: str = "value") -> str:
    """A figure and its interval: ``.52 [.49 .55]``.

    >>> with_interval({"accuracy": 0.5, "accuracy_low": 0.4, "accuracy_high": 0.6}, "accuracy")
    '.50 [.40 .60]'
    """
    low, high = ("low", "high") if name == "value" else (f"{name}_low", f"{name}_high")
    if math.isnan(row[name]):
        return "–"
    return f"{number(row[name])} [{number(row[low])} {number(row[high])}]"


def with_spread(values: Iterable[float]) -> str:
    """The mean, and the least and the largest where there are several; what has no value is left out.

    >>> with_spread([0.8, 0.9]), with_spread([0.8]), with_spread([])
    ('.85 (.80 to .90)', '.80', '–')
    """
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return "–"
    mean = number(sum(known) / len(known))
    return f"{mean} ({number(min(known))} to {number(max(known))})" if len(known) > 1 else mean
