"""Reliability, separation and gates: worked examples from the literature, closed forms, cases by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ioi_bench.errors import InputError
from ioi_bench.evaluation.card import Figure
from ioi_bench.pages.rows import Row
from ioi_bench.studies.audit.corruptions import CORRUPTIONS
from ioi_bench.studies.audit.gates import FAMILIES, PAIRS, verdict
from ioi_bench.studies.audit.reliability import coefficients_of_variation, icc_one_way, icc_two_way, spearman
from ioi_bench.studies.audit.tables import planted_table
from ioi_bench.studies.audit.telling_apart import _resampled, family_p_values, separation, two_sided_p
from ioi_bench.uncertainty.draws import ScoreDraws
from ioi_bench.uncertainty.ties import ranked

# Shrout & Fleiss 1979, table 2: six targets, four judges.
JUDGES = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7.0]])


@pytest.mark.parametrize(
    ("icc", "value", "low", "high"),
    # as R's psych::ICC prints them for that table (ICC1 and ICC2)
    [(icc_one_way, 0.17, -0.13, 0.72), (icc_two_way, 0.29, 0.02, 0.76)],
)
def test_icc_of_shrout_and_fleiss_table(icc, value, low, high):
    found = icc(JUDGES)
    assert [round(x, 2) for x in (found.value, found.low, found.high)] == [value, low, high]


def test_what_agrees_wholly_has_icc_1_and_what_does_not_vary_has_none():
    table = np.array([[1.0, 1.0, 1.0], [2.0, 2.0, 2.0], [4.0, 4.0, 4.0]])
    assert icc_two_way(table).value == icc_one_way(table).value == 1
    assert np.isnan(icc_two_way(np.ones((3, 3))).value)
    assert np.isnan(icc_one_way(np.ones((3, 3))).value)


def test_a_shift_of_all_subjects_counts_against_absolute_agreement():
    # Subjects 0, 1, 2; the second measurement is 1 higher. Mean squares: rows 2, columns 1.5, error 0, so
    # ICC(2,1) = 2 / (2 + 2 · 1.5 / 3).
    table = np.array([[0.0, 1.0], [1.0, 2.0], [2.0, 3.0]])
    found = icc_two_way(table)
    assert found.value == pytest.approx(2 / 3)
    assert found.low <= found.value <= found.high


@given(st.integers(0, 10_000), st.floats(0.1, 10), st.floats(-5, 5))
def test_icc_does_not_depend_on_the_unit(seed, scale, shift):
    table = np.random.default_rng(seed).normal(size=(5, 3))
    for icc in (icc_one_way, icc_two_way):
        one, other = icc(table), icc(scale * table + shift)
        assert one.value == pytest.approx(other.value, abs=1e-8)
        assert one.low <= one.value + 1e-9
        assert one.value <= one.high + 1e-9


def test_icc_finds_the_share_of_variance_that_was_put_in():
    rng = np.random.default_rng(0)
    table = 3 * rng.normal(size=(4000, 1)) + rng.normal(size=(4000, 4))
    assert icc_two_way(table).value == pytest.approx(0.9, abs=0.01)
    assert icc_one_way(table).value == pytest.approx(0.9, abs=0.01)


@pytest.mark.parametrize("bad", [np.ones((1, 3)), np.ones((3, 1)), np.array([[1.0, np.nan], [1.0, 2.0]]), np.ones(3)])
def test_too_little_or_undefined_is_refused(bad):
    with pytest.raises(InputError, match="two or more subjects"):
        icc_two_way(bad)


def test_variation_is_undefined_where_the_mean_is_0():
    found = coefficients_of_variation(np.array([[-1.0, 1.0], [9.0, 11.0]]))
    assert np.isnan(found[0])
    assert found[1] == pytest.approx(np.sqrt(2) / 10)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=20))
def test_spearman_is_scipys(points):
    x, y = (np.array(side, dtype=float) for side in zip(*points, strict=True))
    if np.ptp(x) and np.ptp(y):
        assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)
    else:
        assert np.isnan(spearman(x, y))


def row(name, draws):
    figure = Figure(value=draws[0], low=draws[0] - 0.1, high=draws[0] + 0.1)
    empty = {"authors": (), "badge": None, "l0": None, "n_prompts": 1, "cells": (), "points": (), "nulls": ()}
    texts = {"slug": name, "name": name, "architecture": "a", "comparable": ("t",), "model": "m"}
    scores = {"exchange": figure}
    return Row(**empty, **texts, scores=scores, skyline=None, no_edit=None, draws=ScoreDraws("p", draws))


def test_pairs_and_groups_are_the_leaderboards():
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 0.02, (6, 1001))
    noise[:, 0] = 0
    draws = np.array([0.1, 0.11, 0.3, 0.31, 0.33, 0.9])[:, None] + noise
    found = separation(draws, ["a", "a", "b", "b", "c", "c"], sign=1)
    places = ranked([row(str(i), one) for i, one in enumerate(draws)])
    assert found.groups == len({place.group for place in places}) < 6
    assert found.suites == 6
    # within: .1 and .11 are tied, .3 and .31 too, .33 and .9 are not
    assert found.within == pytest.approx(1 / 3)
    # of the 12 pairs of different variants .3 and .33, .31 and .33 alone are tied
    assert found.between == pytest.approx(10 / 12)


def test_where_lower_is_better_groups_begin_at_the_lowest():
    # 0.5 is tied with 0.4, and 0.6 with 0.5, but not 0.6 with 0.4: the group that is begun first decides.
    wide = np.linspace(-0.13, 0.13, 1000)
    draws = np.array([np.r_[value, value + sign * wide / 2] for value, sign in ((0.4, 1), (0.5, -1), (0.6, 1))])
    assert separation(draws, ["a", "b", "c"], sign=-1).groups == separation(draws, ["a", "b", "c"], sign=1).groups == 2
    assert separation(np.tile(draws[:1], (3, 1)), ["a", "b", "c"], sign=1).groups == 1


def test_p_is_the_normal_one_where_only_prompts_vary():
    rng = np.random.default_rng(0)
    difference = rng.normal(0.02, 0.01, 20_001)  # two standard errors
    found = [
        two_sided_p(np.tile(difference, (3, 1)), np.zeros((3, 20_001)), over_seeds=which) for which in (True, False)
    ]
    assert found == pytest.approx([2 * stats.norm.sf(2)] * 2, abs=0.004)


def test_p_counts_seeds_in_full():
    # No variance over prompts; seeds −1, 0, 1 and −1, 0, 1 shifted by d. The stretched resampling of three seeds has
    # variance s²/3 each, s² = 1: a difference of 0.3 is .37 standard errors, and nothing is shown.
    seeds = np.repeat([[-1.0], [0.0], [1.0]], 4001, axis=1)
    assert two_sided_p(seeds, seeds + 0.3, over_seeds=True) > 0.5
    assert two_sided_p(seeds, seeds + 0.3, over_seeds=False) < 0.001
    assert two_sided_p(seeds, seeds + 30, over_seeds=True) < 0.001
    rng = np.random.default_rng(0)
    assert _resampled(seeds[:, 1:], rng).var() == pytest.approx(1 / 3, rel=0.05)


def test_families_that_are_not_there_have_no_p():
    draws = {FAMILIES["relu"]: np.zeros((3, 301)), FAMILIES["gated"]: np.ones((3, 301))}
    found = family_p_values(draws, over_seeds=False)
    assert found["relu–gated"] < 0.01
    assert [found[pair] for pair in found if pair != "relu–gated"] == [None] * (len(PAIRS) - 1)
    assert (
        family_p_values(draws | {FAMILIES["gated"]: np.full((3, 101), np.nan)}, over_seeds=True)["relu–gated"] is None
    )


PASSING = {
    "icc": 0.96,
    "p": dict.fromkeys(("–".join(pair) for pair in PAIRS), 0.001),
    "rho": dict.fromkeys(CORRUPTIONS, 0.96),
}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, ""),
        ({"icc": 0.949}, "test–retest: ICC = 0.949 (0.95 needed)"),
        ({"icc": None}, "test–retest: ICC is not defined (0.95 needed)"),
        (
            {"p": PASSING["p"] | {"relu–random": 0.01}},
            "separation: p = 0.010 for relu–random (below 0.01 needed)",
        ),
        (
            {"rho": PASSING["rho"] | {"noise": 0.5, "splitting": -1.0}},
            "planted truth: ρ = -1.000 for noise, splitting (0.95 needed)",
        ),
        ({"rho": {}}, f"planted truth: ρ is not defined for {', '.join(CORRUPTIONS)} (0.95 needed)"),
    ],
)
def test_every_gate_can_fail(change, reason):
    found = verdict("s", **(PASSING | change))
    assert (found.ranks, found.reason) == (not reason, reason)


def planted(corruption, seed, level, value):
    about = {"part": "planted", "suite": "x", "variant": corruption, "seed": seed, "split": "drawn:audit-0"}
    return about | {"level": level, "figures": {"fvu": value, "s": None if level == 1 else 1 - value}}


def test_a_curve_is_judged_by_its_mean_over_seeds_in_the_direction_that_is_better():
    rows = [planted("truth", 0, 0.0, 0.1)]
    curves = {"noise": [(0.2, 0.3, 0.4), (0.3, 0.2, 0.6)], "missing": [(0.1, 0.05, 0.02), (0.1, 0.05, 0.02)]}
    for corruption in CORRUPTIONS:
        for seed, curve in enumerate(curves.get(corruption, [(0.1, 0.1, 0.1)] * 2)):
            rows += [planted(corruption, seed, s, v) for s, v in zip((0.3, 0.6, 1.0), curve, strict=True)]
    found = {(one["metric"], one["corruption"]): one for one in planted_table(rows)}
    noise = found["fvu", "noise"]  # means .1 .25 .25 .5: a tie of two in the middle
    assert noise["rho"] == pytest.approx(stats.spearmanr([4, 3, 2, 1], [4, 2.5, 2.5, 1]).statistic)
    assert noise["fall"] == pytest.approx(0.4)
    assert noise["rise"] == 0
    assert found["fvu", "missing"]["rise"] == pytest.approx(0.08)
    assert found["fvu", "missing"]["rho"] < 0
    assert found["fvu", "splitting"]["rho"] is None
    assert found["s", "noise"]["rho"] == pytest.approx(stats.spearmanr([3, 2, 1], [3, 1.5, 1.5]).statistic)
    assert found["accuracy", "noise"]["rho"] is None
