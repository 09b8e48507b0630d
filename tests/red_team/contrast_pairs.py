"""Differences of counterfactual pairs: a label in all but name."""

from __future__ import annotations

import torch
from zoo import Animal, Plain, nearest, one_hot


def _make(known, site):
    base, mean = known.base(site), known.mean(site)
    rows = torch.cat([*known.counterfactuals(site), base])
    ways = torch.cat([*(found - base for found in known.counterfactuals(site)), torch.zeros_like(base)])
    return Plain(ways, mean, lambda x: one_hot(nearest(rows - mean, x - mean), len(rows)))


ANIMAL = Animal(
    name="contrast pairs",
    idea="the difference of a similar pair of prompts is the direction: to pair them is to label them",
    because="it is a coarse supervised solution, good on prompts that it never saw too, and far from class means",
    make=_make,
    caught="rules",
    predicted={"exchange": 0.71, "aware": 0.7},
    bound={"exchange": 1.0, "aware": 1.0},
    within=0.1,
)
