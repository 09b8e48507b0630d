"""What a figure must do so that it may rank. All of the audit's bounds stand here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from ioi_bench.studies.audit.corruptions import CORRUPTIONS

__all__ = ["FAMILIES", "MAX_P", "MIN_ICC", "MIN_RHO", "PAIRS", "Gate", "Verdict", "verdict"]

MIN_ICC = 0.95
"""Test–retest: ICC(2,1) of the suites over splits drawn anew."""

MAX_P = 0.01
"""Separation: the p value of every pair of `FAMILIES` must be below, in a paired bootstrap over prompts.

Over prompts, for these are what a figure is measured on; seeds are no error of measurement, they may really differ.
What comes from train alone is held against its seeds instead.
"""

MIN_RHO = 0.95
"""Planted truth: Spearman's ρ between the share that is left unspoilt and the figure, for every corruption."""

FAMILIES = {"relu": "relu", "gated": "gated", "top-k": "topk-k3", "random": "random"}
"""What must be told apart, and the variants that stand for it."""

PAIRS = tuple(combinations(FAMILIES, 2))


@dataclass(frozen=True)
class Gate:
    """One of the three.

    Attributes:
        value: the figure that decides, the worst where there are several; None where it is not defined.
        worst: what it is of.
    """

    name: str
    passed: bool
    value: float | None
    worst: str = ""


@dataclass(frozen=True)
class Verdict:
    """Whether a figure may rank, and why not."""

    metric: str
    gates: tuple[Gate, ...]

    @property
    def ranks(self) -> bool:
        """Whether it passes all gates."""
        return all(gate.passed for gate in self.gates)

    @property
    def reason(self) -> str:
        """What it fails; empty if nothing."""
        return "; ".join(_reason(gate) for gate in self.gates if not gate.passed)


def verdict(metric: str, icc: float | None, p: Mapping[str, float | None], rho: Mapping[str, float | None]) -> Verdict:
    """Hold a figure's measurements against the bounds; what could not be measured does not pass.

    Args:
        metric: its name.
        icc: of test and retest.
        p: by pair, such as ``relu–gated``.
        rho: by corruption.

    >>> pairs = dict.fromkeys(("–".join(pair) for pair in PAIRS), 0.001)
    >>> found = verdict("fvu", 0.99, pairs, dict.fromkeys(CORRUPTIONS, 1.0) | {"rotated": None})
    >>> found.ranks, found.reason
    (False, 'planted truth: ρ is not defined for rotated (0.95 needed)')
    """
    pairs = ["–".join(pair) for pair in PAIRS]
    gates = (
        Gate("test–retest", icc is not None and icc >= MIN_ICC, icc),
        _worst("separation", pairs, p, lambda value: value < MAX_P, sign=1),
        _worst("planted truth", list(CORRUPTIONS), rho, lambda value: value >= MIN_RHO, sign=-1),
    )
    return Verdict(metric, gates)


def _worst(
    name: str, keys: Sequence[str], found: Mapping[str, float | None], passes: Callable[[float], bool], *, sign: int
) -> Gate:
    """The gate of several figures: those that are not defined are the worst, then the largest ``sign · value``."""
    values = [(key, found.get(key)) for key in keys]
    failed = [key for key, value in values if value is None or not passes(value)]
    undefined = [key for key, value in values if value is None]
    if undefined:
        return Gate(name, False, None, ", ".join(undefined))
    _, value = max(((key, value) for key, value in values if value is not None), key=lambda one: sign * one[1])
    return Gate(name, not failed, value, ", ".join(failed))


def _reason(gate: Gate) -> str:
    bounds = {
        "test–retest": ("ICC", f"{MIN_ICC} needed"),
        "separation": ("p", f"below {MAX_P} needed"),
        "planted truth": ("ρ", f"{MIN_RHO} needed"),
    }
    symbol, bound = bounds[gate.name]
    where = f" for {gate.worst}" if gate.worst else ""
    found = f"{symbol} is not defined" if gate.value is None else f"{symbol} = {gate.value:.3f}"
    return f"{gate.name}: {found}{where} ({bound})"
