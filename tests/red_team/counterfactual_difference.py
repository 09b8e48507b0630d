"""An encoder that recognises a test prompt's counterfactual, and answers with the way to it."""

from __future__ import annotations

import torch
from pairs import pairs
from zoo import Animal, Plain, known


def _make(knowledge, site):
    all_pairs = pairs(knowledge, site)
    seen = known(torch.cat([*knowledge.counterfactuals(site), knowledge.base(site)]))
    return Plain(all_pairs.directions, all_pairs.offset, lambda x: all_pairs.encode(x) * seen(x)[:, None])


ANIMAL = Animal(
    name="the counterfactual's difference",
    idea="each counterfactual of the public test prompts has a feature that points from its base prompt to it",
    because="exact with one feature on prompts known by heart, and silent on all others",
    make=_make,
    caught="memorised",
    predicted={"exchange": 0.61, "aware": 0.61},
    bound={"exchange": 0.05, "aware": 0.05},
    within=0.1,
)
