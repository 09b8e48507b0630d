"""How many prompts give the IOI score an interval as narrow as is asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ioi_bench.errors import InputError
from ioi_bench.evaluation.card import Card
from ioi_bench.evaluation.score import HEADLINE_METHOD

__all__ = ["PILOT", "Plan", "check_precision", "half_width", "plan"]

PILOT = 500
"""Prompts that are judged first, to see how much the score varies with them."""

_LEAST, _STEP = 100, 50
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Plan:
    """What was asked for, and what it takes.

    Attributes:
        asked: half-width of the score's 95 % interval.
        pilot: prompts of the pilot, and ``seen``, the half-width there.
        wanted: prompts that it takes: the half-width falls with the square root of their number.
        prompts: the same, or as many as there are.
        expected: the half-width at so many.
    """

    asked: float
    pilot: int
    seen: float
    wanted: int
    prompts: int
    expected: float

    @property
    def enough(self) -> bool:
        """Whether there are as many prompts as it takes."""
        return self.wanted <= self.prompts

    def __str__(self) -> str:
        saw = f"the first {self.pilot:,} prompts give the IOI score ± {self.seen:.4f}"
        if self.enough:
            return f"{saw}; ± {self.asked:g} takes {self.prompts:,}"
        return (
            f"{saw}; ± {self.asked:g} would take {self.wanted:,}, and the split has {self.prompts:,}: these reach "
            f"about ± {self.expected:.4f}"
        )


def check_precision(asked: float) -> None:
    """Say before the work that a half-width makes no sense.

    Raises:
        InputError: it is not between 0 and 1.
    """
    if not 0 < asked < 1:
        raise InputError(
            f"a precision is the half-width of the score's interval, between 0 and 1 such as 0.01, got {asked:g}"
        )


def half_width(card: Card) -> float:
    """Of the IOI score's 95 % interval.

    Raises:
        InputError: the card has no IOI score.
    """
    found = card.headline.get(HEADLINE_METHOD)
    if found is None or found.score.low is None or found.score.high is None:
        raise InputError(
            f"a precision is that of the IOI score under {HEADLINE_METHOD}, and the card has none: evaluate all ranked "
            "cells, or give a number of prompts"
        )
    return (found.score.high - found.score.low) / 2


def plan(pilot: Card, asked: float, available: int) -> Plan:
    """From a card of the first prompts to how many there must be.

    Rounded up to the next 50, and at least 100: intervals of fewer prompts do not hold (docs/uncertainty.md).

    Args:
        pilot: the suite's card on `PILOT` prompts, or another number.
        asked: the half-width that the score's interval shall have at most.
        available: prompts of the split.

    Raises:
        InputError: a half-width that makes no sense, or a card without a score.
    """
    check_precision(asked)
    seen, n = half_width(pilot), pilot.made.n_prompts
    steps = n * (seen / asked) ** 2 / _STEP
    wanted = max(_LEAST, _STEP * math.ceil(steps * (1 - _ROUNDING)))
    prompts = min(wanted, available)
    return Plan(asked, n, seen, wanted, prompts, seen * math.sqrt(n / prompts))
