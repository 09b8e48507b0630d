"""Two features a site: on which side of the first two principal axes an activation is."""

from __future__ import annotations

import torch
from zoo import Animal, Plain

from ioi_bench.dictionaries.nulls import pca


def _make(known, site):
    axes, mean, x = pca(known.train(site)).directions[:2], known.mean(site), known.train(site)
    sides = (x - mean) @ axes.T > 0
    ways = torch.stack([x[side].mean(0) - x[~side].mean(0) for side in sides.T])
    return Plain(ways, mean, lambda some: ((some - mean) @ axes.T > 0).float())


ANIMAL = Animal(
    name="two bits",
    idea="where the position is what varies most, one bit finds it without labels, and is exchanged in one round",
    because="the bit is a feature, and a good one: nothing else is asked in four cells of five",
    make=_make,
    caught="flagged",
    says="suspicious-scale",
    predicted={"exchange": 0.64, "aware": 0.21, "universal": 0.06},
    bound={"exchange": 1.0, "aware": 1.0, "universal": 1.0},
)
