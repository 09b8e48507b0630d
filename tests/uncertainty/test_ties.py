"""Ranks and ties, on cases worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ioi_bench.evaluation.card import Figure
from ioi_bench.pages.rows import Row
from ioi_bench.uncertainty.draws import ScoreDraws
from ioi_bench.uncertainty.ties import difference, ranked


def row(name, value, half=0.01, draws=None):
    figure = Figure(value=value, low=value - half, high=value + half)
    return Row(
        slug=name,
        name=name,
        authors=(),
        badge=None,
        architecture="topk",
        l0=3.0,
        comparable=("t",),
        model="m",
        n_prompts=1,
        scores={"exchange": figure},
        cells=(),
        points=(),
        skyline=None,
        no_edit=None,
        nulls=(),
        draws=draws,
    )


def drawn(value, noise, prompts="same"):
    return ScoreDraws(prompts, np.concatenate([[value], value + noise]))


def placed(*rows):
    return [(place.row.name, place.rank, place.tied_with) for place in ranked(rows)]


def test_overlapping_intervals_tie_and_separate_ones_do_not():
    assert placed(row("c", 0.3), row("a", 0.5), row("b", 0.495)) == [("a", 1, 1), ("b", 1, 1), ("c", 3, 0)]


def test_a_group_is_what_is_tied_with_its_first():
    # b is tied with a, c with b but not with a: c begins a group, and d, tied with c, belongs to it.
    scores = {"a": 0.500, "b": 0.490, "c": 0.480, "d": 0.470}
    assert placed(*(row(name, value) for name, value in scores.items())) == [
        ("a", 1, 1),
        ("b", 1, 1),
        ("c", 3, 1),
        ("d", 3, 1),
    ]


def test_paired_draws_tell_apart_what_separate_intervals_cannot():
    noise = np.random.default_rng(0).normal(0, 0.05, 1000)  # the same prompts are hard for both
    a, b = row("a", 0.50, 0.1, drawn(0.50, noise)), row("b", 0.49, 0.1, drawn(0.49, noise))
    assert placed(a, b) == [("a", 1, 0), ("b", 2, 0)]
    other = row("b", 0.49, 0.1, drawn(0.49, noise, "other prompts"))
    assert placed(a, other) == [("a", 1, 1), ("b", 1, 1)]


def test_the_difference_is_antisymmetric_and_its_interval_is_that_of_the_draws():
    g = np.random.default_rng(1)
    noise_a, noise_b = g.normal(0, 0.03, 4000), g.normal(0, 0.04, 4000)
    a, b = row("a", 0.5, 0.06, drawn(0.5, noise_a)), row("b", 0.45, 0.08, drawn(0.45, noise_b))
    there, back = (difference(x.score, y.score, x.draws, y.draws) for x, y in ((a, b), (b, a)))
    assert there.paired
    assert (there.value, there.low, there.high) == pytest.approx((-back.value, -back.high, -back.low))
    # Independent noise: the standard deviation of the difference is 0.05 (3-4-5), its interval ± 1.96 of it.
    assert (there.high - there.low) / 2 == pytest.approx(1.96 * 0.05, rel=0.05)
    # The closed form for separate intervals is the same where they come from normal distributions.
    apart = difference(
        Figure(value=0.5, low=0.5 - 1.96 * 0.03, high=0.5 + 1.96 * 0.03),
        Figure(value=0.45, low=0.45 - 1.96 * 0.04, high=0.45 + 1.96 * 0.04),
    )
    assert (apart.low, apart.high) == pytest.approx((0.05 - 1.96 * 0.05, 0.05 + 1.96 * 0.05))


def test_equal_scores_stand_by_name_and_a_score_without_an_interval_is_exact():
    assert [name for name, *_ in placed(row("B", 0.5), row("a", 0.5))] == ["a", "B"]
    exact = Figure(value=0.5)
    assert difference(exact, Figure(value=0.4)).low == pytest.approx(0.1)
    assert not difference(exact, Figure(value=0.4)).tied
    assert difference(exact, exact).tied


def test_who_is_clearly_lower_is_not_tied_either():
    """Whether two suites are tied does not depend on which is named first."""
    g = np.random.default_rng(2)
    noise = g.normal(0, 0.01, 1000)
    a, b = row("a", 0.5, 0.01, drawn(0.5, noise)), row("b", 0.3, 0.01, drawn(0.3, noise + g.normal(0, 0.01, 1000)))
    for draws in ((a.draws, b.draws), (None, None)):
        up, down = difference(a.score, b.score, *draws), difference(b.score, a.score, *reversed(draws))
        assert (up.low > 0, down.high < 0) == (True, True)
        assert not up.tied
        assert not down.tied
