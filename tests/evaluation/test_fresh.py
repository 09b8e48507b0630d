"""Prompts known by heart: what is better on public prompts than on fresh ones by more than chance."""

from __future__ import annotations

from pathlib import Path

import pytest
from card_examples import some_card

from ioi_bench import evaluate
from ioi_bench.evaluation.card import Figure, HeadlineScore
from ioi_bench.evaluation.fresh import LEAST, asked_afresh, fresh_split, memorised, with_fresh


def card_with(score, half_width=0.02, method="exchange"):
    figure = Figure(value=score, low=score - half_width, high=score + half_width, direction="higher")
    return some_card().model_copy(update={"headline": {method: HeadlineScore(score=figure, n_cells=2)}})


@pytest.mark.parametrize(
    ("public", "fresh", "half_width", "found"),
    [
        pytest.param(0.8, 0.1, 0.02, True, id="by heart"),
        pytest.param(0.5, 0.52, 0.02, False, id="better on fresh prompts"),
        pytest.param(0.5, 0.5 - LEAST + 0.01, 0.001, False, id="too little to matter"),
        pytest.param(0.5, 0.4, 0.1, False, id="by chance"),  # 3.5 standard errors are 0.25
        pytest.param(0.5, 0.4, 0.03, True, id="beyond chance"),  # and here 0.076
    ],
)
def test_memory_is_what_is_better_on_public_prompts_by_more_than_chance(public, fresh, half_width, found):
    assert bool(memorised(card_with(public, half_width), card_with(fresh, half_width))) == found


def test_a_score_without_a_value_shows_nothing():
    empty = some_card().model_copy(
        update={"headline": {"exchange": HeadlineScore(score=Figure(value=None), n_cells=0)}}
    )
    assert memorised(empty, card_with(0.1)) == memorised(card_with(0.9), empty) == ""
    assert memorised(card_with(0.9, method="aware"), card_with(0.1)) == ""


def test_the_suite_is_asked_on_prompts_of_its_own_hash_for_what_scores():
    card = some_card()
    asked = asked_afresh(card)
    assert asked["split"] == fresh_split(card.made.suite_sha256) == f"drawn:{card.made.suite_sha256}"
    assert asked["cells"] == [cell.name for cell in card.cells]
    assert set(asked["methods"]) == {"exchange", "universal"}
    assert asked["budgets"] == (1, 2)


def test_the_card_warns_of_memory_and_of_nothing_else():
    card = card_with(0.9)
    (*_, warning) = with_fresh(card, lambda **asked: card_with(0.1)).warnings
    assert warning.code == "memorised"
    assert "0.900 on test" in warning.message
    assert with_fresh(card, lambda **asked: card_with(0.89)) == card


def test_nothing_is_judged_afresh_where_nothing_scores():
    cells = tuple(cell.model_copy(update={"ranked": False}) for cell in some_card().cells)
    card = some_card().model_copy(update={"cells": cells})
    assert with_fresh(card, lambda **asked: pytest.fail("nothing to compare")) == card


def test_an_honest_suite_is_no_better_on_test_than_on_prompts_of_its_own_hash():
    suite = Path(__file__).parents[2] / "reference_saes" / "ioi-mini" / "topk-k3-s0"
    asked = {"prompts": 60, "train_prompts": 300, "budgets": (1, 2), "methods": ("exchange",), "cells": ["io@nm-out"]}
    card = evaluate(suite, **asked, fresh=80)
    assert "fresh prompts" in card.made.timing
    assert "memorised" not in {warning.code for warning in card.warnings}
    other = evaluate(suite, **{**asked, "prompts": 80}, split=fresh_split(card.made.suite_sha256))
    assert (other.made.split, other.made.n_prompts) == (fresh_split(card.made.suite_sha256), 80)
    assert not memorised(card, other)
