"""A feature that is always on, with most of the norm."""

from __future__ import annotations

import torch
from zoo import Animal, Plain, codebook


def _make(known, site):
    book = codebook(known.train(site)[:800], known.mean(site))
    constant = 100 * torch.ones(1, book.d_in)
    return Plain(
        torch.cat([book.directions, constant]),
        book.offset - constant[0],
        lambda x: torch.cat([book.encode(x), torch.ones(len(x), 1)], 1),
    )


ANIMAL = Animal(
    name="look-up table with a constant feature",
    idea="a feature that is always on dilutes the weight of all others",
    because="weights are centred, so that what never varies weighs nothing",
    make=_make,
    predicted={"exchange": -0.04, "aware": -0.04, "universal": -0.16},
    bound={"exchange": 0.15, "aware": 0.15, "universal": 0.15},
)
