"""A trained dictionary with every feature four times, each with a quarter of the norm."""

from __future__ import annotations

from trained import trained
from zoo import Animal, Plain


def _make(known, site):
    own = trained(site)
    return Plain(own.directions.repeat(4, 1) / 4, own.offset, lambda x: own.encode(x).repeat(1, 4))


ANIMAL = Animal(
    name="duplicated features",
    idea="every feature of a trained suite four times, so that an edit can dose it",
    because="the budget counts features, and four are now needed where one was",
    make=_make,
    predicted={"exchange": 0.12, "aware": 0.2, "universal": 0.2},
    bound={"exchange": 0.32, "aware": 0.41, "universal": 0.34},
)
