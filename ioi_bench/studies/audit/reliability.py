"""How far a figure comes out the same when it is measured again.

- ICC(2,1): two-way random effects, absolute agreement, one measurement. ICC(1,1): one-way random effects. Shrout &
  Fleiss 1979 ("Intraclass correlations: uses in assessing rater reliability"); intervals as in McGraw & Wong 1996
  ("Forming inferences about some intraclass correlation coefficients", tables 4 and 7).
- The coefficient of variation: standard deviation over mean, of one thing measured several times.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from ioi_bench.errors import InputError
from ioi_bench.evaluation.bootstrap import Interval

__all__ = ["coefficients_of_variation", "icc_one_way", "icc_two_way", "spearman"]

_LOW, _HIGH = 0.025, 0.975
_NONE = Interval(float("nan"), float("nan"), float("nan"))


def icc_two_way(table: Float[np.ndarray, "subject measurement"]) -> Interval:
    """ICC(2,1): how much of the variance is between subjects, when each is measured under the same k conditions.

    Conditions that shift all subjects alike count as error (absolute agreement). NaN where nothing varies at all.

    Raises:
        InputError: fewer than two subjects or two measurements, or a figure that is not finite.

    Shrout & Fleiss' table 2, six targets and four judges; they print .29:

    >>> judges = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7.0]])
    >>> round(icc_two_way(judges).value, 2)
    0.29
    """
    from scipy import stats

    n, k = _checked(table)
    rows, columns = table.mean(1), table.mean(0)
    ms_rows, ms_columns = k * rows.var(ddof=1), n * columns.var(ddof=1)
    residual = table - rows[:, None] - columns + table.mean()
    ms_error = (residual**2).sum() / ((n - 1) * (k - 1))
    below = ms_rows + (k - 1) * ms_error + k * (ms_columns - ms_error) / n
    if not below > 0:
        return _NONE
    value = (ms_rows - ms_error) / below
    if ms_error == 0 and ms_columns == 0:
        return Interval(1.0, 1.0, 1.0)
    f = ms_columns / ms_error if ms_error > 0 else np.inf
    share = n * (1 + (k - 1) * value) - k * value
    if np.isinf(f):
        freedom = float(k - 1)
    else:
        freedom = (k - 1) * (n - 1) * (k * value * f + share) ** 2 / ((n - 1) * (k * value * f) ** 2 + share**2)
    upper, lower = stats.f.ppf(_HIGH, n - 1, freedom), stats.f.ppf(_HIGH, freedom, n - 1)
    error = k * ms_columns + (k * n - k - n) * ms_error
    low = n * (ms_rows - upper * ms_error) / (upper * error + n * ms_rows)
    high = n * (lower * ms_rows - ms_error) / (error + n * lower * ms_rows)
    return Interval(float(value), float(low), float(high))


def icc_one_way(table: Float[np.ndarray, "subject measurement"]) -> Interval:
    """ICC(1,1): the same where the k measurements of a subject have nothing in common with those of another.

    Raises:
        InputError: as `icc_two_way`.

    Shrout & Fleiss print .17 for the same table:

    >>> judges = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7.0]])
    >>> round(icc_one_way(judges).value, 2)
    0.17
    """
    from scipy import stats

    n, k = _checked(table)
    between, within = k * table.mean(1).var(ddof=1), table.var(axis=1, ddof=1).mean()
    if not between + within > 0:
        return _NONE
    if within == 0:
        return Interval(1.0, 1.0, 1.0)
    f = between / within
    low = f / stats.f.ppf(_HIGH, n - 1, n * (k - 1))
    high = f * stats.f.ppf(_HIGH, n * (k - 1), n - 1)
    value, low, high = ((one - 1) / (one + k - 1) for one in (f, low, high))
    return Interval(float(value), float(low), float(high))


def _checked(table: np.ndarray) -> tuple[int, int]:
    if table.ndim != 2 or min(table.shape) < 2 or not np.isfinite(table).all():
        raise InputError(
            f"reliability needs two or more subjects, each measured twice or more, all figures finite; got a table "
            f"{list(table.shape)} with {int((~np.isfinite(table)).sum())} figures that are not"
        )
    return table.shape[0], table.shape[1]


def coefficients_of_variation(table: Float[np.ndarray, "subject measurement"]) -> Float[np.ndarray, " subject"]:
    """Standard deviation (n − 1) over the mean's size; NaN where the mean is 0.

    >>> coefficients_of_variation(np.array([[9.0, 10.0, 11.0], [1.0, 1.0, 1.0]])).tolist()
    [0.1, 0.0]
    """
    mean = np.abs(table.mean(1))
    return table.std(axis=1, ddof=1) / np.where(mean > 0, mean, np.nan)


def spearman(x: Float[np.ndarray, " point"], y: Float[np.ndarray, " point"]) -> float:
    """Spearman's ρ, ties at their mean rank; NaN where a side is constant, or a figure is not finite.

    >>> spearman(np.array([1.0, 2, 3, 4, 5]), np.array([1.0, 2, 3, 5, 4]))
    0.9
    """
    from scipy import stats

    if len(x) < 2 or not (np.isfinite(x).all() and np.isfinite(y).all()) or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    a, b = stats.rankdata(x) - (len(x) + 1) / 2, stats.rankdata(y) - (len(y) + 1) / 2
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))
