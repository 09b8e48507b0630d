"""A trained dictionary, and for every feature two of great norm that cancel."""

from __future__ import annotations

import torch
from trained import trained
from zoo import Animal, Plain


def _make(known, site):
    own = trained(site)
    away = 30 * torch.randn(own.directions.shape, generator=torch.Generator().manual_seed(0))
    return Plain(torch.cat([own.directions, away, -away]), own.offset, lambda x: own.encode(x).repeat(1, 3))


ANIMAL = Animal(
    name="cancelling pairs",
    idea="beside every feature of a trained suite two that are thirty times as long and cancel dilute its weight",
    because="weights are shares of the activation; what an edit leaves alone does not enter, and names rank as before",
    make=_make,
    predicted={"exchange": 0.25, "aware": 0.36, "universal": 0.29},
    bound={"exchange": 0.32, "aware": 0.41, "universal": 0.34},
)
