"""Labels of the card's picture lie beside their points, on nothing else."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ioi_bench.evaluation.card import Card
from ioi_bench.evaluation.figure import card_chart
from ioi_bench.evaluation.figure_labels import place_labels
from ioi_bench.evaluation.score import SCORED_BUDGETS

WIDTH, HEIGHT = 250, 190
DIGIT, TALL = 5, 7  # of a digit of 9 pixels' Helvetica
CARDS = sorted((Path(__file__).parents[2] / "leaderboard" / "results").glob("*/*/*/card.json"))
POINTS = st.lists(st.tuples(st.floats(0, WIDTH), st.floats(0, HEIGHT)), min_size=1, max_size=20)


@given(points=POINTS, texts=st.lists(st.sampled_from(["1", "2", "4"]), min_size=20, max_size=20))
def test_no_label_lies_on_a_point_or_on_another_label(points, texts):
    found = place_labels(list(zip(points, texts, strict=False)), points, WIDTH, HEIGHT)
    assert len(found) == len(points)
    placed = [place for place in found if place is not None]
    for x, y in placed:
        assert DIGIT / 2 <= x <= WIDTH - DIGIT / 2
        assert TALL / 2 <= y <= HEIGHT - TALL / 2
        for a, b in points:
            assert abs(x - a) > DIGIT / 2 or abs(y - b) > TALL / 2, "the digit stands on a point"
    for (x, y), (a, b) in combinations(placed, 2):
        assert abs(x - a) >= DIGIT or abs(y - b) >= TALL, "two digits overlap"
    for place, (a, b) in zip(found, points, strict=True):
        assert place is None or (place[0] - a) ** 2 + (place[1] - b) ** 2 <= 20**2


def test_a_point_that_is_alone_has_its_label_above_to_the_right():
    ((x, y),) = place_labels([((100, 100), "4")], [(100, 100)], WIDTH, HEIGHT)
    assert 100 < x < 112
    assert 88 < y < 100


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.parents[1].name)
def test_nearly_all_budgets_of_real_cards_have_a_label(path):
    chart = card_chart(Card.read(path)).to_dict()
    (rows,) = chart["datasets"].values()
    methods = {edit.method for cell in Card.read(path).cells for edit in cell.edits}
    scored = [row for row in rows if row["series"] in methods and row["budget"] in SCORED_BUDGETS]
    labelled = [row for row in scored if row["label_weight"] is not None]
    assert len(labelled) >= 0.9 * len(scored)
