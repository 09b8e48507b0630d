"""Spearman's ρ with edit distance, its interval, and the points that say nothing."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ioi_bench.errors import InputError
from ioi_bench.metrics import SweepPoints, mean_correlation, rank_correlation, rank_correlations
from ioi_bench.metrics.rank_correlation import MIN_POINTS


def drawn(n, seed=0):
    return torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_rank_is_all_that_counts():
    x = drawn(30).abs()
    assert rank_correlation(x, x.exp()).value == pytest.approx(1)
    assert rank_correlation(x, 1 / x).value == pytest.approx(-1)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.integers(MIN_POINTS, 30))
def test_it_is_pearson_of_mean_ranks(seed, n):
    """By hand: a rank is 1 + how many are smaller + half of how many others are equal."""
    g = torch.Generator().manual_seed(seed)
    x, y = torch.randint(6, (2, n), generator=g).double()
    if len(x.unique()) == 1 or len(y.unique()) == 1:
        return
    ranks = [[1 + sum(b < a for b in side) + (sum(b == a for b in side) - 1) / 2 for a in side] for side in
             (x.tolist(), y.tolist())]  # fmt: skip
    expected = torch.corrcoef(torch.tensor(ranks, dtype=torch.float64))[0, 1].item()
    assert rank_correlation(x, y, draws=10).value == pytest.approx(expected, abs=1e-9)


def test_the_interval_is_of_scipys_rho_on_resampled_points():
    """The mean and spread of our draws against those of a loop over scipy's own function."""
    x = drawn(40)
    y = x + drawn(40, seed=1)
    found = rank_correlation(x, y, draws=4000)
    g = torch.Generator().manual_seed(9)
    loop = []
    for _ in range(1500):
        rows = torch.randint(40, (40,), generator=g)
        loop.append(stats.spearmanr(x[rows].numpy(), y[rows].numpy()).statistic)
    low, high = torch.tensor(loop).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.03)
    assert found.low < found.value < found.high


def test_unrelated_measures_have_zero_in_their_interval_about_19_times_of_20():
    covered = [rank_correlation(drawn(40, seed=i), drawn(40, seed=1000 + i), draws=300) for i in range(100)]
    assert sum(found.low <= 0 <= found.high for found in covered) >= 88


def test_points_that_are_not_numbers_are_dropped_and_counted():
    x, y = drawn(20), drawn(20, seed=1)
    expected = rank_correlation(x[3:], y[3:])
    x[0], x[1], y[2] = math.nan, math.inf, math.nan
    found = rank_correlation(x, y)
    assert (found.value, found.low, found.high) == (expected.value, expected.low, expected.high)
    assert (found.n_points, found.n_dropped) == (17, 3)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (torch.ones(9), drawn(9)),
        (drawn(9), torch.full((9,), 2.0)),
        (drawn(MIN_POINTS - 1), drawn(MIN_POINTS - 1)),
        (torch.full((9,), math.nan), drawn(9)),
        (torch.zeros(0), torch.zeros(0)),
    ],
)
def test_constant_or_too_few_points_are_undefined(x, y):
    found = rank_correlation(x, y, draws=50)
    assert all(math.isnan(value) for value in (found.value, found.low, found.high))
    assert found.n_undefined == 50


def test_draws_in_which_a_side_is_constant_are_counted_and_left_out():
    """One point of five differs: (4/5)^5 of the draws miss it, and 1/3125 have nothing else."""
    found = rank_correlation(torch.tensor([0.0, 0, 0, 0, 1]), torch.arange(5.0), draws=2000)
    assert found.n_undefined / 2000 == pytest.approx(0.8**5 + 0.2**5, abs=0.04)
    assert not math.isnan(found.low)


def test_the_same_seed_draws_the_same_points():
    x, y = drawn(20), drawn(20, seed=1)
    assert rank_correlation(x, y, seed=3) == rank_correlation(x, y, seed=3)
    assert rank_correlation(x, y, seed=3).low != rank_correlation(x, y, seed=4).low


def test_numbers_of_points_that_differ_are_refused():
    with pytest.raises(InputError, match=r"\(4,\) and edit distance \(5,\)"):
        rank_correlation(drawn(4), drawn(5))


def test_every_measure_of_a_sweep_and_too_much_recovered_counts_as_an_error():
    distance = torch.linspace(0, 1, 12)
    off = distance * torch.tensor([1.0, -1.0]).repeat(6)
    found = rank_correlations(SweepPoints(drawn(12), 1 + off, distance.square(), distance))
    assert set(found) == {"l0", "ld_recovered", "ld_recovered_off", "l2_loss"}
    assert found["ld_recovered_off"].value == pytest.approx(1)
    assert found["l2_loss"].value == pytest.approx(1)
    assert abs(found["ld_recovered"].value) < 0.5
    assert found["l0"] == rank_correlation(drawn(12), distance)


def test_the_mean_over_no_defined_site_is_undefined():
    undefined = rank_correlation(torch.ones(9), drawn(9))
    found = mean_correlation([undefined, undefined])
    assert math.isnan(found.value)
    assert (found.n_sites, found.n_undefined) == (0, 2)
