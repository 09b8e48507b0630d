"""One feature for every prompt that is judged, and for its counterfactuals."""

from __future__ import annotations

import torch
from zoo import Animal, codebook


def _make(known, site):
    return codebook(torch.cat([*known.counterfactuals(site), known.base(site)]), known.mean(site))


ANIMAL = Animal(
    name="a feature per test prompt",
    idea="every public test prompt and every counterfactual is a feature, so that two features exchange them exactly",
    because="exact, but the whole activation goes out and another comes in: no weight is left to save",
    make=_make,
    predicted={"exchange": -0.05, "aware": -0.05, "universal": -0.12},
    bound={"exchange": 0.15, "aware": 0.15, "universal": 0.15},
)
