"""As many features as dimensions, all always on."""

from __future__ import annotations

import torch
from zoo import Animal, Plain


def _make(known, site):
    mean = known.mean(site)
    rotation = torch.linalg.qr(torch.randn(len(mean), len(mean), generator=torch.Generator().manual_seed(1)))[0]
    return Plain(rotation, mean, lambda x: (x - mean) @ rotation.T)


ANIMAL = Animal(
    name="dense rotation",
    idea="a random rotation reconstructs everything without error",
    because="four of thirty-two random coordinates hold little of what an attribute needs",
    make=_make,
    predicted={"exchange": 0.02, "aware": -0.09, "universal": -0.07},
    bound={"exchange": 0.15, "aware": 0.15, "universal": 0.15},
)
