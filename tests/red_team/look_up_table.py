"""The train prompts by heart: the nearest one is active."""

from __future__ import annotations

from zoo import Animal, codebook

ANIMAL = Animal(
    name="look-up table of train",
    idea="the nearest of the memorised train activations is the only active feature",
    because="an edit puts a whole other prompt in place of the old one: right, and as coarse as can be",
    make=lambda known, site: codebook(known.train(site), known.mean(site)),
    predicted={"exchange": 0.05, "aware": -0.45, "universal": -0.20},
    bound={"exchange": 0.15, "aware": 0.10, "universal": 0.10},
)
