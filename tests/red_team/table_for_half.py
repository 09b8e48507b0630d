"""A trained dictionary for half of the names, a look-up table of train for the others."""

from __future__ import annotations

import torch
from silent import half_of_the_names
from trained import trained
from zoo import Animal, Plain, codebook


def _make(known, site):
    own, table = trained(site), codebook(known.train(site), known.mean(site))
    speaks = half_of_the_names(known, site)

    def encode(x):
        return torch.cat([own.encode(x) * (1 - speaks(x)), table.encode(x) * speaks(x)], 1)

    return Plain(torch.cat([own.directions, table.directions]), own.offset, encode)


ANIMAL = Animal(
    name="a table for half of the names",
    idea="light edits in half of the prompts pay for whole exchanges in the other half",
    because="a prompt weighs by how far it is moved, and whole exchanges move far",
    make=_make,
    predicted={"exchange": 0.02, "aware": -0.01, "universal": -0.05},
    bound={"exchange": 0.25, "aware": 0.2, "universal": 0.15},
)
