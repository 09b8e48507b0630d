"""On which side of random hyperplanes an activation is, and all the rest as it stands."""

from __future__ import annotations

import torch
from zoo import Animal, Plain

_BITS = 128


def _make(known, site):
    x, mean = known.train(site), known.mean(site)
    d_in = len(mean)
    planes = torch.randn(_BITS, d_in, generator=torch.Generator().manual_seed(0))
    sides = (x - mean) @ planes.T > 0
    ways = torch.stack([x[side].mean(0) - x[~side].mean(0) for side in sides.T])

    def encode(some):
        bits = ((some - mean) @ planes.T > 0).float()
        return torch.cat([bits, some - mean - bits @ ways], 1)

    return Plain(torch.cat([ways, torch.eye(d_in)]), mean, encode)


ANIMAL = Animal(
    name="random bits",
    idea="the means on two sides of any plane differ along what varies most, and a search takes the plane that fits",
    because="what varies most is the position, in four cells of five; but the codes are dense",
    make=_make,
    caught="flagged",
    says="not-sparse",
    predicted={"exchange": 0.62, "aware": 0.0, "universal": 0.0},
    bound={"exchange": 1.0, "aware": 1.0, "universal": 1.0},
)
