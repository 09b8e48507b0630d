"""A look-up table whose entries come with a feature that pays for them."""

from __future__ import annotations

import torch
from zoo import Animal, Plain, codebook


def _make(known, site):
    book = codebook(known.train(site)[:800], known.mean(site))
    payers = torch.cat([-0.9 * book.directions, book.directions])  # −0.9 + 1.9 = 1 entry in all
    return Plain(
        torch.cat([payers[: book.d_sae], 1.9 * book.directions]),
        book.offset,
        lambda x: book.encode(x).repeat(1, 2),
    )


ANIMAL = Animal(
    name="negative shares",
    idea="each entry is 1.9 of itself and −0.9 of itself, and the negative share pays for the removal",
    because="only positive shares are summed, so that the two weigh 1.9 and not 1",
    make=_make,
    predicted={"exchange": -0.12, "aware": -0.25, "universal": -0.21},
    bound={"exchange": 0.15, "aware": 0.15, "universal": 0.15},
)
