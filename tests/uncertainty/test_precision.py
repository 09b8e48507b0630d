"""From a pilot to a number of prompts."""

from __future__ import annotations

import pytest
from card_examples import some_card, some_figure

from ioi_bench.errors import InputError
from ioi_bench.evaluation.card import Figure, HeadlineScore
from ioi_bench.uncertainty.precision import half_width, plan


def pilot(half, n=500):
    card = some_card()
    score = HeadlineScore(score=Figure(value=0.5, low=0.5 - half, high=0.5 + half), n_cells=2)
    return card.model_copy(
        update={"headline": {"exchange": score}, "made": card.made.model_copy(update={"n_prompts": n})}
    )


@pytest.mark.parametrize(
    ("half", "asked", "wanted"),
    [
        pytest.param(0.02, 0.01, 2000, id="a half takes four times as many"),
        pytest.param(0.0201, 0.01, 2050, id="rounded up"),
        pytest.param(0.02, 0.0005, 800_000, id="more than there are"),
        pytest.param(0.02, 0.3, 100, id="never fewer than 100"),
        pytest.param(0.0, 0.01, 100, id="nothing varies"),
    ],
)
def test_the_half_width_falls_with_the_root_of_the_number(half, asked, wanted):
    found = plan(pilot(half), asked, 5000)
    assert (found.wanted, found.prompts) == (wanted, min(wanted, 5000))
    assert found.enough == (wanted <= 5000)
    assert found.expected == pytest.approx(half * (500 / found.prompts) ** 0.5)


def test_it_says_what_it_chose_and_why():
    assert str(plan(pilot(0.02), 0.01, 5000)) == "the first 500 prompts give the IOI score ± 0.0200; ± 0.01 takes 2,000"
    said = str(plan(pilot(0.02), 0.005, 5000))
    assert said.endswith("± 0.005 would take 8,000, and the split has 5,000: these reach about ± 0.0063")


@pytest.mark.parametrize("asked", [0.0, -0.1, 1.0, float("nan")])
def test_a_half_width_that_makes_no_sense_is_refused(asked):
    with pytest.raises(InputError, match="between 0 and 1 such as"):
        plan(pilot(0.02), asked, 5000)


def test_a_card_without_a_score_has_no_half_width():
    assert half_width(some_card()) == pytest.approx((some_figure().high - some_figure().low) / 2)
    with pytest.raises(InputError, match="the card has none"):
        half_width(some_card().model_copy(update={"headline": {}}))
