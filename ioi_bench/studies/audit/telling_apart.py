"""Which suites a figure tells apart, on the prompts of one split.

All suites are judged on the same prompts and drawn alike, so that differences are paired (METHOD §7).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float

from ioi_bench.studies.audit.gates import FAMILIES, PAIRS
from ioi_bench.uncertainty.ties import paired

__all__ = ["Separation", "family_p_values", "separation", "two_sided_p"]

_RESAMPLES = 10  # of the seeds, for each draw of the prompts


@dataclass(frozen=True)
class Separation:
    """Of one figure: shares of the pairs whose paired 95 % interval leaves out 0, and how many ranks there are.

    Attributes:
        between, within: pairs of different variants, and of one variant; None without any.
        groups: tie groups, each of the suites that are tied with its first.
        suites: how many there are.
    """

    between: float | None
    within: float | None
    groups: int
    suites: int


def separation(draws: Float[np.ndarray, "suite draw"], variants: Sequence[str], sign: int) -> Separation:
    """Compare every pair of suites.

    Args:
        draws: row by row the figure of a suite: the sample, then its draws.
        variants: of the suites.
        sign: 1 where higher is better, else −1.
    """
    order = np.argsort(-sign * draws[:, 0], kind="stable")
    pairs = list(combinations(range(len(draws)), 2))
    apart = {(i, j): not paired(draws[i] - draws[j]).tied for i, j in pairs}
    same = {pair: variants[pair[0]] == variants[pair[1]] for pair in pairs}

    def share(within: bool) -> float | None:
        own = [apart[pair] for pair in pairs if same[pair] is within]
        return float(np.mean(own)) if own else None

    groups, first = 0, None
    for i in order.tolist():
        if first is None or apart[min(first, i), max(first, i)]:
            groups, first = groups + 1, i
    return Separation(share(False), share(True), groups, len(draws))


def family_p_values(
    draws: Mapping[str, Float[np.ndarray, "seed draw"]], *, over_seeds: bool, seed: int = 0
) -> dict[str, float | None]:
    """The p value of every pair of `FAMILIES`, by `two_sided_p`; None where a variant is not there.

    Args:
        draws: by variant, row by row its seeds.
        over_seeds: whether seeds are drawn too.
        seed: of the resampling of seeds.
    """
    found: dict[str, float | None] = {}
    for pair in PAIRS:
        sides = [draws[FAMILIES[name]] for name in pair if FAMILIES[name] in draws]
        there = len(sides) == 2 and all(np.isfinite(side).all() for side in sides)
        found["–".join(pair)] = two_sided_p(*sides, over_seeds=over_seeds, seed=seed) if there else None
    return found


def two_sided_p(
    a: Float[np.ndarray, "seed draw"], b: Float[np.ndarray, "seed draw"], *, over_seeds: bool, seed: int = 0
) -> float:
    """Do two variants differ in their means over seeds? A paired bootstrap.

    - Over prompts alone: the suites are taken as they are. Whether the figure tells *them* apart.
    - Over prompts and seeds: each draw of the prompts, the same for both variants, is combined with ten draws of
      seeds, each variant's with replacement. Three seeds drawn so vary by a third too little: their deviations are
      stretched by √(n/(n−1)). Whether the *variants* differ, on whatever seeds.

    The p value is twice the smaller share of the differences on one side of 0, never below 2/(number + 1).

    >>> one, other = np.zeros((3, 101)), np.ones((3, 101))
    >>> [round(two_sided_p(one, other, over_seeds=which), 4) for which in (False, True)]
    [0.0198, 0.002]
    >>> two_sided_p(one, one, over_seeds=False)
    1.0
    """
    generator = np.random.default_rng(seed)
    below, above, n = 0, 0, 0
    for _ in range(_RESAMPLES if over_seeds else 1):
        sides = [_resampled(one[:, 1:], generator) if over_seeds else one[:, 1:].mean(0) for one in (a, b)]
        difference = sides[0] - sides[1]
        below, above, n = below + (difference <= 0).sum(), above + (difference >= 0).sum(), n + difference.size
    return float(min(1.0, 2 * (1 + min(below, above)) / (n + 1)))


def _resampled(draws: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The variant's mean over seeds, in every draw with seeds of its own."""
    n, size = draws.shape
    mean = draws.mean(0)
    if n < 2:
        return mean
    picked = generator.integers(n, size=(n, size))
    away = np.take_along_axis(draws - mean, picked, 0).mean(0)
    return mean + away * np.sqrt(n / (n - 1))
