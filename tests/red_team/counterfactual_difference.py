"""An encoder that recognises a test prompt's counterfactual, and answers with the way to it."""

from __future__ import annotations

import torch
from zoo import Animal, Plain, known, nearest, one_hot


def _make(knowledge, site):
    base, mean = knowledge.base(site), knowledge.mean(site)
    rows = torch.cat([*knowledge.counterfactuals(site), base])
    ways = torch.cat([*(found - base for found in knowledge.counterfactuals(site)), torch.zeros_like(base)])
    seen = known(rows)
    return Plain(ways, mean, lambda x: one_hot(nearest(rows - mean, x - mean), len(rows)) * seen(x)[:, None])


ANIMAL = Animal(
    name="the counterfactual's difference",
    idea="each counterfactual of the public test prompts has a feature that points from its base prompt to it",
    because="exact with one feature on prompts known by heart, and silent on all others",
    make=_make,
    caught="memorised",
    predicted={"exchange": 0.71, "aware": 0.7},
    bound={"exchange": 0.05, "aware": 0.05},
    within=0.1,
)
