"""A look-up table turned inside out: every feature is on but one."""

from __future__ import annotations

from zoo import Animal, Plain, codebook


def _make(known, site):
    book = codebook(known.train(site)[:800], known.mean(site))
    return Plain(-book.directions, book.offset + book.directions.sum(0), lambda x: 1 - book.encode(x))


ANIMAL = Animal(
    name="complement coding",
    idea="f becomes 1 − f, so that an entry is taken out by switching a feature on, which is not a removal",
    because="one length has no zero point in it; what is moved aside weighs; the null counts what is not as usual",
    make=_make,
    predicted={"exchange": 0.08, "aware": 0.03, "universal": -0.07},
    bound={"exchange": 0.15, "aware": 0.15, "universal": 0.15},
)
