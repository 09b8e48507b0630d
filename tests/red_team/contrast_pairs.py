"""Differences of counterfactual pairs: a label in all but name."""

from __future__ import annotations

from pairs import pairs
from zoo import Animal

ANIMAL = Animal(
    name="contrast pairs",
    idea="the difference of a similar pair of prompts is the direction: to pair them is to label them",
    because="it is a coarse supervised solution, good on prompts that it never saw too, and far from class means",
    make=pairs,
    caught="rules",
    predicted={"exchange": 0.61, "aware": 0.61},
    bound={"exchange": 1.0, "aware": 1.0},
    within=0.1,
)
