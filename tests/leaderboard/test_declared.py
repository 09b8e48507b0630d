"""Directions that are the supervised codes must be declared."""

from __future__ import annotations

import pytest
from card_examples import some_card

from ioi_bench.evaluation.card import CardWarning
from ioi_bench.leaderboard.declared import check_declaration
from ioi_bench.leaderboard.records import Submission

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
