"""A look-up table of train that leaves one head of two alone."""

from __future__ import annotations

from silent import silent
from zoo import Animal, codebook


def _make(known, site):
    return silent(known, site) if site.head == 0 else codebook(known.train(site), known.mean(site))


ANIMAL = Animal(
    name="a silent site",
    idea="the other head turns the answer, and a mean over sites finds half of the weight at neither",
    because="each site weighs by how far it is moved",
    make=_make,
    predicted={"exchange": -0.0, "aware": 0.0, "universal": 0.0},
    bound={"exchange": 0.15, "aware": 0.15, "universal": 0.15},
)
