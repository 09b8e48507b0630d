"""No adversary beats its bound, none has become toothless, and docs/trust.md shows them all."""

from __future__ import annotations

import pytest
from keeper import ANIMALS, PAGE, Seen, row, rows_of


@pytest.mark.parametrize("name", ANIMALS)
def test_the_adversary_is_caught_as_it_was_predicted(keeper, name):
    animal = ANIMALS[name]
    seen = keeper.judge(animal)
    if animal.caught == "refused":
        assert animal.says in seen.error
        return
    assert not seen.error
    assert seen.scores == pytest.approx(dict(animal.predicted), abs=animal.within), "the prediction is off"
    for method, bound in animal.bound.items():
        score = (seen.fresh if animal.caught == "memorised" else seen.scores)[method]
        assert score <= bound, f"{animal.name} beats its bound under {method}"
    if animal.caught == "memorised":
        assert seen.memorised
    if animal.caught == "flagged":
        assert animal.says in seen.warnings
    if animal.caught in ("score", "rules"):  # what is told of it is all there is
        assert not {"supervised-directions", "offset-carries", "memorised"} & {*seen.warnings}


def test_every_adversary_says_what_it_is_held_to():
    for animal in ANIMALS.values():
        assert bool(animal.says) == (animal.caught in ("refused", "flagged"))
        if animal.caught == "refused":
            assert not animal.predicted
        else:
            assert animal.bound
            assert animal.bound.keys() == animal.predicted.keys()


def test_the_page_shows_every_adversary_as_it_is_declared():
    shown = rows_of(PAGE.read_text(encoding="utf-8"))
    assert list(shown) == list(ANIMALS)
    for name, animal in ANIMALS.items():
        declared = row(name, animal, Seen())
        assert shown[name].split(" | ")[:4] == declared.split(" | ")[:4], f"run tests/red_team/keeper.py again: {name}"
