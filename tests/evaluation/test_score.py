"""The score, against METHOD §7 worked by hand and by its properties."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from ioi_bench.evaluation.score import cell_value, edit_value, null_normalised, ranking_reason


def t(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


unit = st.floats(0, 1)
weights = st.floats(-0.5, 1.5)


def value(accuracy, weight, no_edit=0.1, skyline=0.9, skyline_weight=0.4):
    return edit_value(
        t(accuracy), t(weight), no_edit=t(no_edit), skyline=t(skyline), skyline_weight=t(skyline_weight)
    ).item()


def test_a_value_worked_by_hand():
    # y = (.5 − .1)/(.9 − .1) = .5; x = (.55 − .4)/(1 − .4) = .25; v = .5 · .75
    assert value(0.5, 0.55) == pytest.approx(0.375)


def test_the_room_above_the_skylines_weight_is_at_least_a_tenth():
    # x = (.98 − .95)/max(.05, .1) = .3
    assert value(0.9, 0.98, skyline_weight=0.95) == pytest.approx(0.7)


@given(unit, st.floats(0.11, 1), weights)
def test_the_skylines_own_figures_are_worth_one(no_edit, gain, skyline_weight):
    assert value(no_edit + gain, skyline_weight, no_edit, no_edit + gain, skyline_weight) == pytest.approx(1)


@given(unit, unit, weights)
def test_more_accuracy_is_never_worth_less(a, b, weight):
    low, high = sorted((a, b))
    assert value(low, weight) <= value(high, weight) + 1e-12


@given(st.floats(0.1, 1), weights, weights)
def test_more_weight_is_never_worth_more(accuracy, a, b):
    low, high = sorted((a, b))
    assert value(accuracy, high) <= value(accuracy, low) + 1e-12


@given(unit, st.floats(-3, 0.4))
def test_less_weight_than_the_skyline_earns_nothing(accuracy, weight):
    assert value(accuracy, weight) == pytest.approx(value(accuracy, 0.4))


@given(unit, st.floats(1.0, 5))
def test_all_of_the_weight_is_worth_nothing(accuracy, weight):
    assert value(accuracy, weight) == pytest.approx(0)


def test_an_undefined_weight_counts_as_all_of_it():
    assert value(0.9, float("nan")) == 0


def test_where_the_skyline_gains_nothing_there_is_no_value():
    assert math.isnan(value(0.5, 0.4, no_edit=0.9, skyline=0.9))


def test_a_cell_worked_by_hand():
    # best up to k = 1, 2, 4: max(0, −.2) = 0, .5, .5
    assert cell_value(t(-0.2, 0.5, 0.3), (1, 2, 4)).item() == pytest.approx(1 / 3)
    # one feature that suffices at once
    assert cell_value(t(1.0, 0.0, 0.0), (1, 2, 4)).item() == 1


def test_larger_budgets_and_others_are_shown_but_never_scored():
    assert cell_value(t(0.2, 0.4, 1.0, 0.6, 1.0, 1.0), (1, 2, 3, 4, 8, 16)).item() == pytest.approx(0.4)


def test_a_budget_that_was_not_evaluated_earns_nothing_of_its_own():
    assert cell_value(t(0.6), (2,)).item() == pytest.approx(0.4)  # 0 at k = 1, then .6 twice
    assert cell_value(t(0.6), (8,)).item() == 0


@given(st.lists(st.floats(-1, 1.2), min_size=3, max_size=3), st.integers(0, 2), st.floats(0, 1))
def test_a_better_edit_never_lowers_the_cell(values, place, more):
    better = list(values)
    better[place] += more
    assert cell_value(t(*better), (1, 2, 4)) >= cell_value(t(*values), (1, 2, 4))


def test_draws_are_scored_as_if_alone():
    values = torch.rand(20, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    together = cell_value(values, (1, 2, 4))
    assert together.tolist() == [cell_value(row, (1, 2, 4)).item() for row in values]


@given(st.floats(0, 1.2), st.floats(0, 1))
def test_the_null_is_zero_the_skyline_is_one_and_nothing_is_below_minus_one(s, s_null):
    assert null_normalised(t(s_null), t(s_null)).item() == 0
    assume(s_null <= 0.9)
    assert null_normalised(t(1), t(s_null)).item() == pytest.approx(1)
    assert null_normalised(t(s), t(s_null)).item() >= -1


def test_both_branches_of_the_null_worked_by_hand():
    assert null_normalised(t(0.6), t(0.2)).item() == pytest.approx(0.5)
    assert null_normalised(t(0.05), t(0.2)).item() == pytest.approx(-0.75)
    assert null_normalised(t(0.98), t(0.95)).item() == pytest.approx(0.3)  # the divisor is at least a tenth


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_the_null_normalised_score_grows_with_s(a, b, s_null):
    low, high = sorted((a, b))
    assert null_normalised(t(low), t(s_null)) <= null_normalised(t(high), t(s_null)) + 1e-12


@pytest.mark.parametrize(
    ("gap", "low", "s_null", "says"),
    [
        (0.10, 0.051, 0.5, ""),
        (0.09, 0.08, 0.0, "gains only 0.090"),
        (0.30, 0.05, 0.0, "uncertain"),
        (0.30, 0.20, 0.51, "random dictionaries"),
        (float("nan"), 0.2, 0.0, "gains only"),
        (0.3, float("nan"), 0.0, "uncertain"),
        (0.3, 0.2, float("nan"), "random dictionaries"),
    ],
)
def test_what_is_ranked_and_why_not(gap, low, s_null, says):
    reason = ranking_reason(gap, low, s_null)
    assert bool(reason) == bool(says)
    assert says in reason
