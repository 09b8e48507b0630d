"""A trained dictionary whose features are each cut in two by what else is in the prompt."""

from __future__ import annotations

import torch
from trained import trained
from zoo import Animal, Plain


def _make(known, site):
    own, look = trained(site), torch.randn(known.mean(site).shape, generator=torch.Generator().manual_seed(0))

    def encode(x):
        f, side = own.encode(x), ((x - known.mean(site)) @ look > 0).float()[:, None]
        return torch.cat([f * side, f * (1 - side)], 1)

    return Plain(own.directions.repeat(2, 1), own.offset, encode)


ANIMAL = Animal(
    name="split features",
    idea="every feature of a trained suite becomes two, so that one of them is always at hand",
    because="an exchange needs more of them, and what half a dose leaves out it also does not turn",
    make=_make,
    predicted={"exchange": 0.26, "aware": 0.3, "universal": 0.3},
    bound={"exchange": 0.32, "aware": 0.41, "universal": 0.34},
)
