"""Features so large that differences of them overflow."""

from __future__ import annotations

import torch
from zoo import Animal, Plain, codebook


def _make(known, site):
    book = codebook(known.train(site)[:200], known.mean(site))
    nothing = torch.zeros(1, book.d_in)

    def encode(x):
        rare = (x - book.offset)[:, :1] > (x - book.offset)[:, :1].std()
        return torch.cat([book.encode(x), torch.where(rare, 3e38, -3e38)], 1)

    return Plain(torch.cat([book.directions, nothing]), book.offset, encode)


ANIMAL = Animal(
    name="weights without a value",
    idea="f − E f overflows on some prompts, times a direction of length 0 is NaN, and such weights are left out",
    because="features beyond 1e15 are refused: no dictionary has them, and single precision cannot reckon with them",
    make=_make,
    caught="refused",
    says="too large",
)
