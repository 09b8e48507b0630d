"""Eight clusters of train: as much as one can know of an activation without features."""

from __future__ import annotations

import torch
from scipy.cluster.vq import kmeans2
from zoo import Animal, codebook


def _make(known, site):
    x = known.train(site) - known.mean(site)
    centres = kmeans2(x.numpy(), 8, minit="++", rng=0)[0]
    return codebook(torch.from_numpy(centres) + known.mean(site), known.mean(site))


ANIMAL = Animal(
    name="eight clusters",
    idea="where the few kinds of activation differ by one attribute, their centres exchange it",
    because="that is true of the position in four cells of five, and no cheat; names are not among eight kinds",
    make=_make,
    predicted={"exchange": 0.15, "aware": 0.24, "universal": 0.12},
    bound={"exchange": 0.32, "aware": 0.41, "universal": 0.34},
)
