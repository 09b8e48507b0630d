"""Ranks with ties: suites that the prompts cannot tell apart share one.

Two suites are **tied** where the 95 % interval of the difference of their scores includes 0. Judged on the same prompts
they are compared draw by draw; otherwise as independent, by the closed form of Zou & Donner 2008 ("Construction of
confidence intervals about effect measures", §3: each limit adds the distances of the estimates to their own limits in
quadrature). Being tied is not transitive, so a group is what is tied with its **first**: by falling score, the
first suite that differs from the group's first begins the next group.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch

from ioi_bench.evaluation.bootstrap import interval
from ioi_bench.evaluation.card import Figure
from ioi_bench.uncertainty.draws import ScoreDraws

__all__ = ["Difference", "Place", "Scored", "difference", "paired", "ranked"]


class Scored(Protocol):
    """What can be ranked: a suite with a score, by whatever record."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def slug(self) -> str:
        """What tells it from another of the same name."""

    @property
    def score(self) -> Figure | None:
        """The IOI score."""

    @property
    def draws(self) -> ScoreDraws | None:
        """Its draws, where there are any."""


_S = TypeVar("_S", bound=Scored)


@dataclass(frozen=True)
class Difference:
    """How much higher one score is than another, with its 95 % interval.

    Attributes:
        paired: compared draw by draw, on the same prompts.
    """

    value: float
    low: float
    high: float
    paired: bool

    @property
    def tied(self) -> bool:
        """Whether the interval includes 0."""
        return self.low <= 0 <= self.high


@dataclass(frozen=True)
class Place(Generic[_S]):
    """Where a suite stands.

    Attributes:
        rank: one more than the number of suites in better groups.
        group: which tie group, from 0.
        tied_with: how many others share the rank.
    """

    row: _S
    rank: int
    group: int
    tied_with: int


def difference(
    a: Figure, b: Figure, a_draws: ScoreDraws | None = None, b_draws: ScoreDraws | None = None
) -> Difference:
    """``a − b``, paired where both have draws over the same prompts.

    Two separate intervals of half-width 0.03 and 0.04: theirs is 0.05 wide on each side.

    >>> a, b = Figure(value=0.5, low=0.47, high=0.53), Figure(value=0.4, low=0.36, high=0.44)
    >>> found = difference(a, b)
    >>> round(found.value, 3), round(found.low, 3), round(found.high, 3), found.paired
    (0.1, 0.05, 0.15, False)
    """
    if a_draws is not None and b_draws is not None and a_draws.paired_with == b_draws.paired_with:
        return paired(a_draws.scores - b_draws.scores)
    value = _number(a.value) - _number(b.value)
    down = math.hypot(_number(a.value) - _number(a.low, a.value), _number(b.high, b.value) - _number(b.value))
    up = math.hypot(_number(a.high, a.value) - _number(a.value), _number(b.value) - _number(b.low, b.value))
    return Difference(value, value - down, value + up, paired=False)


def paired(draws: np.ndarray) -> Difference:
    """From the differences of draws over the same prompts; row 0 is the sample's. The interval is a figure's."""
    found = interval(torch.from_numpy(draws))
    return Difference(found.value, found.low, found.high, paired=True)


def _number(value: float | None, instead: float | None = None) -> float:
    """A score without an interval is taken as exact."""
    found = instead if value is None else value
    assert found is not None, "only suites with a score are compared"
    return found


def ranked(rows: Sequence[_S]) -> tuple[Place[_S], ...]:
    """Rows with a score, of one track, by falling score, with ranks and tie groups."""
    ordered = sorted(rows, key=lambda row: (-_score(row), row.name.lower(), row.slug))
    groups: list[list[_S]] = []
    for row in ordered:
        if groups and _tied(groups[-1][0], row):
            groups[-1].append(row)
        else:
            groups.append([row])
    places: list[Place[_S]] = []
    before = 0
    for index, group in enumerate(groups):
        places += [Place(row, before + 1, index, len(group) - 1) for row in group]
        before += len(group)
    return tuple(places)


def _tied(first: Scored, row: Scored) -> bool:
    assert first.score is not None, "only suites with a score are ranked"
    assert row.score is not None, "only suites with a score are ranked"
    return difference(first.score, row.score, first.draws, row.draws).tied


def _score(row: Scored) -> float:
    assert row.score is not None, "only suites with a score are ranked"
    return _number(row.score.value)
