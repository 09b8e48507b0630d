"""Memorised prompts beside features of great norm that carry nothing."""

from __future__ import annotations

import torch
from zoo import Animal, Plain, codebook

_N, _NORM = 64, 1e3


def _make(known, site):
    book, generator = codebook(known.train(site)[:800], known.mean(site)), torch.Generator().manual_seed(0)
    junk = _NORM * torch.randn(_N // 2, book.d_in, generator=generator)
    look = torch.randn(book.d_in, _N // 2, generator=generator)

    def encode(x):
        on = (x @ look > 0).float()  # varies from prompt to prompt, on both of a pair: together they are nothing
        return torch.cat([book.encode(x), on, on], 1)

    return Plain(torch.cat([book.directions, junk, -junk]), book.offset, encode)


ANIMAL = Animal(
    name="look-up table diluted by junk",
    idea="pairs of features with a norm of 1,000 carry most of the reconstruction's weight and cancel",
    because="what an edit leaves alone does not enter its weights; so many active features meet a weaker null, no more",
    make=_make,
    predicted={"exchange": 0.01, "aware": -0.02, "universal": 0.0},
    bound={"exchange": 0.15, "aware": 0.15, "universal": 0.15},
)
