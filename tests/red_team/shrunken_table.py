"""A look-up table of train whose entries are seven tenths of what they stand for."""

from __future__ import annotations

from zoo import Animal, codebook


def _make(known, site):
    return codebook(known.train(site), known.mean(site), gain=0.7)


ANIMAL = Animal(
    name="a shrunken table",
    idea="the answer turns before the whole activation is exchanged, and seven tenths of it weigh less",
    because="a weight is per effect on the answer",
    make=_make,
    predicted={"exchange": 0.01, "aware": 0.03, "universal": -0.15},
    bound={"exchange": 0.15, "aware": 0.15, "universal": 0.15},
)
