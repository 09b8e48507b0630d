"""Very many random directions, and an encoder that searches among them."""

from __future__ import annotations

import torch
from zoo import Animal, Plain

_N, _ACTIVE = 2048, 4


def pursuit(directions, mean, active):
    """Matching pursuit: the direction with the largest projection, again and again, with its sign."""

    def encode(x):
        rest, rows = x - mean, torch.arange(len(x))
        f = torch.zeros(len(x), len(directions))
        for _ in range(active):
            along = rest @ directions.T
            best = along.abs().argmax(1)
            value = along[rows, best]
            f[rows, best] += value
            rest = rest - value[:, None] * directions[best]
        return f

    return Plain(directions, mean, encode)


def random_units(n, d_in, seed=0):
    drawn = torch.randn(n, d_in, generator=torch.Generator().manual_seed(seed))
    return drawn / drawn.norm(dim=1, keepdim=True)


ANIMAL = Animal(
    name="search among random directions",
    idea="2,048 random directions and the best encoder for them: some must fit",
    because="the null has as many directions and as many active, so that search earns little beyond the better encoder",
    make=lambda known, site: pursuit(random_units(_N, len(known.mean(site))), known.mean(site), _ACTIVE),
    predicted={"exchange": -0.09, "aware": -0.18, "universal": 0.01},
    bound={"exchange": 0.15, "aware": 0.15, "universal": 0.15},
)
