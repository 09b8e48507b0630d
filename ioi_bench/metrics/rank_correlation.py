"""Does a cheap measure of dictionaries rank them as edits do? Spearman's ρ with edit distance (METHOD §6; the post).

The points are the dictionaries of one site: checkpoints × sparsities.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from ioi_bench.errors import InputError

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "MIN_POINTS",
    "MeanCorrelation",
    "RankCorrelation",
    "SweepPoints",
    "mean_correlation",
    "rank_correlation",
    "rank_correlations",
]

MIN_POINTS = 5
"""With fewer points ρ takes a handful of values, and says nothing."""

_LOW, _HIGH = 0.025, 0.975


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's ρ, in [−1, 1], with its 95 % interval; all NaN where it is not defined."""

    value: float
    low: float
    high: float
    n_points: int
    """How many points were used."""
    n_dropped: int
    """How many had a NaN or an infinity in them and were left out."""
    n_undefined: int
    """In how many draws either side was constant; they are left out of the interval."""


@dataclass(frozen=True)
class SweepPoints:
    """The dictionaries of one site, one a point: three cheap measures and the edit distance they should predict."""

    l0: Float[Tensor, " point"]
    ld_recovered: Float[Tensor, " point"]
    l2_loss: Float[Tensor, " point"]
    edit_distance: Float[Tensor, " point"]


@dataclass(frozen=True)
class MeanCorrelation:
    """The mean of ρ over sites at which it is defined, NaN without any."""

    value: float
    n_sites: int
    n_undefined: int


def rank_correlations(points: SweepPoints, *, draws: int = 1000, seed: int = 0) -> dict[str, RankCorrelation]:
    """ρ of every measure with edit distance, on the same draws.

    Returns:
        ``l0``; ``ld_recovered`` as it is; ``ld_recovered_off``, its distance from lossless, ``|1 − x|``, which counts
        too much recovered as an error also; ``l2_loss``.

    Raises:
        InputError: numbers of points that differ.
    """
    measures = {
        "l0": points.l0,
        "ld_recovered": points.ld_recovered,
        "ld_recovered_off": (1 - points.ld_recovered).abs(),
        "l2_loss": points.l2_loss,
    }
    return {
        name: rank_correlation(measure, points.edit_distance, draws=draws, seed=seed)
        for name, measure in measures.items()
    }


def rank_correlation(
    measure: Float[Tensor, " point"], distance: Float[Tensor, " point"], *, draws: int = 1000, seed: int = 0
) -> RankCorrelation:
    """Spearman's ρ between a measure and edit distance, ties at their mean rank.

    The interval is a percentile bootstrap over points. It takes them for exchangeable: checkpoints of one training
    run resemble each other, and the true interval is wider. A side that is constant leaves ρ undefined, and so do
    fewer than `MIN_POINTS` points.

    Args:
        measure, distance: one value a dictionary of the site; points with NaN or infinities are dropped.
        draws: of the bootstrap.
        seed: the same seed draws the same points, whatever the measure, where none is dropped.

    Raises:
        InputError: numbers of points that differ.

    Three of five points in order, two swapped: ρ = 1 − 6·2/(5·24).

    >>> found = rank_correlation(torch.tensor([1.0, 2, 3, 4, 5]), torch.tensor([1.0, 2, 3, 5, 4]))
    >>> round(found.value, 6), found.n_points
    (0.9, 5)
    """
    import numpy as np
    from scipy import stats

    if measure.shape != distance.shape or measure.ndim != 1:
        raise InputError(
            f"measure {tuple(measure.shape)} and edit distance {tuple(distance.shape)} do not fit: give one value of "
            "each for every dictionary"
        )
    known = measure.isfinite() & distance.isfinite()
    x, y = (side[known].detach().cpu().double().numpy() for side in (measure, distance))
    n, nan = len(x), float("nan")
    dropped = len(known) - n
    if n < MIN_POINTS or np.ptp(x) == 0 or np.ptp(y) == 0:
        return RankCorrelation(nan, nan, nan, n, dropped, draws)
    drawn = np.random.default_rng(seed).integers(n, size=(draws, n))
    found = _spearman(x[drawn], y[drawn])
    defined = found[~np.isnan(found)]
    low, high = np.quantile(defined, [_LOW, _HIGH]).tolist() if len(defined) else (nan, nan)
    return RankCorrelation(
        float(stats.spearmanr(x, y).statistic), low, high, n, dropped, n_undefined=draws - len(defined)
    )


def _spearman(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """ρ of each row: Pearson's r of the ranks; NaN where a side is constant."""
    import numpy as np
    from scipy import stats

    a, b = (stats.rankdata(side, axis=1) - (side.shape[1] + 1) / 2 for side in (x, y))
    scale = np.sqrt((a * a).sum(1) * (b * b).sum(1))
    return (a * b).sum(1) / np.where(scale == 0, np.nan, scale)


def mean_correlation(sites: Iterable[RankCorrelation]) -> MeanCorrelation:
    """The mean over sites, as the post reports it (METHOD §9); undefined ones are counted and left out.

    >>> def of(value):
    ...     return RankCorrelation(value, value, value, 9, 0, 0)
    >>> mean_correlation([of(1.0), of(0.5), of(float("nan"))])
    MeanCorrelation(value=0.75, n_sites=2, n_undefined=1)
    """
    values = torch.tensor([site.value for site in sites], dtype=torch.float64)
    defined = values[~values.isnan()]
    return MeanCorrelation(defined.mean().item(), len(defined), len(values) - len(defined))
