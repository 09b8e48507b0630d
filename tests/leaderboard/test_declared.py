"""Directions that are the supervised codes must be declared, and prompts not be known by heart."""

from __future__ import annotations

import pytest
from card_examples import some_card

from ioi_bench.evaluation.card import CardWarning, Figure, HeadlineScore
from ioi_bench.leaderboard.declared import check_declaration
from ioi_bench.leaderboard.records import Submission
from ioi_bench.leaderboard.repeat import Repeated, compare_fresh

WARNED = some_card().model_copy(update={"warnings": (CardWarning(code="supervised-directions", message="io 1.00"),)})


def declared(training_data):
    return Submission(
        name="my-lab/means",
        authors=("Ada",),
        training_data=training_data,
        licence="MIT",
        suite="hf://my-lab/means",
        suite_sha256="0" * 64,
    )


@pytest.mark.parametrize(
    ("card", "words", "passed"),
    [
        pytest.param(some_card(), "the train prompts", True, id="found without labels"),
        pytest.param(WARNED, "the train prompts", False, id="not a word of it"),
        pytest.param(WARNED, "means of the train prompts by their labels", True, id="labels"),
        pytest.param(WARNED, "differences of Counterfactual pairs", True, id="pairs"),
        pytest.param(WARNED, "an unsupervised clustering", False, id="the contrary"),
    ],
)
def test_labels_are_named_where_the_directions_are_the_supervised_codes(card, words, passed):
    check = check_declaration(card, declared(words))
    assert check.passed == passed
    assert ("say which labels" in check.detail) == (not passed)


def scored(score, n_prompts=10):
    figure = Figure(value=score, low=score - 0.02, high=score + 0.02, direction="higher")
    card = some_card().model_copy(update={"headline": {"exchange": HeadlineScore(score=figure, n_cells=2)}})
    return card.model_copy(update={"made": card.made.model_copy(update={"n_prompts": n_prompts})})


@pytest.mark.parametrize(
    ("fresh", "passed", "says"),
    [
        pytest.param(lambda: scored(0.48, 4321), True, "on 4,321 of them as on test: exchange 0.500 and", id="as good"),
        pytest.param(lambda: scored(0.1), False, "exchange 0.500 on test, 0.100 on fresh prompts", id="by heart"),
        pytest.param(None, True, "no cell is ranked", id="nothing to compare"),
    ],
)
def test_a_suite_that_knows_the_test_prompts_by_heart_is_refuted(fresh, passed, says):
    check = compare_fresh(Repeated(scored(0.5), weighed=True, fresh=fresh))
    assert (check.name, check.passed) == ("fresh prompts", passed)
    assert says in check.detail
