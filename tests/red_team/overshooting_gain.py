"""A trained dictionary whose decoder is half as long again."""

from __future__ import annotations

from trained import trained
from zoo import Animal, Plain


def _make(known, site):
    own = trained(site)
    return Plain(1.3 * own.directions, own.offset, own.encode)


ANIMAL = Animal(
    name="overshooting gain",
    idea="features that do more than they should turn the answer with fewer of them",
    because="what goes in beyond the counterfactual weighs as much more, and what is moved aside grows with its square",
    make=_make,
    predicted={"exchange": 0.09, "aware": 0.09, "universal": -0.02},
    bound={"exchange": 0.32, "aware": 0.41, "universal": 0.34},
)
