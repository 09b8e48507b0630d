"""A trained suite with its decoder at seven tenths, but where the answer needs all of it."""

from __future__ import annotations

from trained import trained
from zoo import Animal, Plain


def _make(known, site):
    own = trained(site)
    gain = 1.0 if site.component == "z" and site.layer == 4 else 0.7
    return Plain(gain * own.directions, own.offset, own.encode)


ANIMAL = Animal(
    name="shrunken features",
    idea="smaller edits weigh less, and many still turn the answer",
    because="a weight is per effect on the answer",
    make=_make,
    predicted={"exchange": 0.26},
    bound={"exchange": 0.32},
)
