"""An encoder that recognises a test prompt's counterfactual, and answers with the way to it."""

from __future__ import annotations

import torch
from zoo import Animal, Plain, nearest, one_hot


def _make(known, site):
    base, mean = known.base(site), known.mean(site)
    rows = torch.cat([*known.counterfactuals(site), base])
    ways = torch.cat([*(found - base for found in known.counterfactuals(site)), torch.zeros_like(base)])
    return Plain(ways, mean, lambda x: one_hot(nearest(rows - mean, x - mean), len(rows)))


ANIMAL = Animal(
    name="the counterfactual's difference",
    idea="each counterfactual of the public test prompts has a feature that points from its base prompt to it",
    because="exact with one feature on prompts known by heart; on others the way from some other prompt is wrong",
    make=_make,
    caught="memorised",
    predicted={"exchange": 0.68, "aware": 0.66},
    bound={"exchange": 0.25, "aware": 0.25},
    within=0.1,
)
