"""How figures decide a finding: against a bound, on every seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = [
    "FAILS",
    "HOLDS",
    "UNKNOWN",
    "Evidence",
    "Finding",
    "at_least",
    "at_least_on_every_seed",
    "at_most",
    "on_every_seed",
]

HOLDS, FAILS, UNKNOWN = "holds", "does not hold", "not measurable"


@dataclass(frozen=True)
class Evidence:
    """A figure that a finding rests on.

    Attributes:
        what: it is of: a cell, a variant, a measure. In a table, the column.
        value, low, high: the figure, and what ``bracket`` says of it.
        row: what it has in common with others, such as the seed. In a table, the row.
        bracket: ``interval``: 95 %; ``range``: the least and the largest of those whose mean the figure is; ``none``.
    """

    what: str
    value: float
    low: float
    high: float
    row: str = ""
    bracket: Literal["interval", "range", "none"] = "interval"


@dataclass(frozen=True)
class Finding:
    """What was claimed, and what became of it.

    Attributes:
        claim: in one sentence.
        source: who claims it.
        rule: what decides.
        verdict: `HOLDS`, `FAILS` or `UNKNOWN`.
        reason: the figures that decided.
        evidence: all figures.
        of_the_post: whether the post claims it.
    """

    claim: str
    source: str
    rule: str
    verdict: str
    reason: str
    evidence: tuple[Evidence, ...]
    of_the_post: bool = True


def at_least(evidence: Sequence[Evidence], bound: float) -> tuple[str, str]:
    """Whether all figures reach the bound: verdict and reason.

    It holds if every interval begins at the bound or above it, and does not if one ends below it. Otherwise the prompts
    do not decide, and neither do we.

    >>> at_least([Evidence("a", 0.3, 0.25, 0.35)], 0.2)[0], at_least([Evidence("a", 0.1, 0.05, 0.15)], 0.2)[0]
    ('holds', 'does not hold')
    >>> at_least([Evidence("a", 0.21, 0.15, 0.27)], 0.2)
    ('not measurable', 'the interval holds the bound at a')
    """
    if not evidence:
        return UNKNOWN, "there is nothing to compare"
    if missing := [one.what for one in evidence if any(math.isnan(x) for x in (one.value, one.low, one.high))]:
        return UNKNOWN, f"no figure for {_listed(missing)}"
    if short := [one.what for one in evidence if one.high < bound]:
        return FAILS, f"not at {_listed(short)}"
    if open_ := [one.what for one in evidence if one.low < bound]:
        return UNKNOWN, f"the interval holds the bound at {_listed(open_)}"
    return HOLDS, f"at all {len(evidence)}" if len(evidence) > 1 else "the interval lies beyond the bound"


def at_most(evidence: Sequence[Evidence], bound: float) -> tuple[str, str]:
    """The same from above."""
    return at_least([Evidence(one.what, -one.value, -one.high, -one.low) for one in evidence], -bound)


def at_least_on_every_seed(evidence: Sequence[Evidence], bound: float) -> tuple[str, str]:
    """`at_least` of each row, a row a seed: what all of them say; where they differ nothing is decided.

    >>> def of(value, seed):
    ...     return Evidence("a", value, value, value, row=seed)
    >>> at_least_on_every_seed([of(0.3, "0"), of(0.4, "1")], 0.2)
    ('holds', 'on every seed (2): the interval lies beyond the bound')
    >>> at_least_on_every_seed([of(0.3, "0"), of(0.1, "1")], 0.2)
    ('not measurable', 'seeds disagree: 0 holds; 1 does not hold, not at a')
    """
    rows = dict.fromkeys(one.row for one in evidence)
    return on_every_seed({row: at_least([one for one in evidence if one.row == row], bound) for row in rows})


def on_every_seed(found: Mapping[str, tuple[str, str]]) -> tuple[str, str]:
    """Verdict and reason of each seed, as one: what all of them say; where they differ nothing is decided.

    >>> on_every_seed({"seed 0": (HOLDS, "ρ .9"), "seed 1": (HOLDS, "ρ .8")})
    ('holds', 'seed 0: ρ .9; seed 1: ρ .8')
    """
    if len(found) < 2:  # one seed has nothing to disagree with
        verdict, reason = next(iter(found.values()), at_least([], 0.0))
        return verdict, f"{reason} (one seed)" if found else reason
    verdicts = {verdict for verdict, _ in found.values()}
    if len(verdicts) > 1:
        said = (f"{row} {verdict}{'' if verdict == HOLDS else f', {why}'}" for row, (verdict, why) in found.items())
        return UNKNOWN, f"seeds disagree: {'; '.join(said)}"
    reasons = dict.fromkeys(why for _, why in found.values())
    if len(reasons) == 1:
        return verdicts.pop(), f"on every seed ({len(found)}): {next(iter(reasons))}"
    return verdicts.pop(), "; ".join(f"{row}: {why}" for row, (_, why) in found.items())


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
