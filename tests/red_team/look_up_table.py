"""The train prompts by heart: the nearest one is active."""

from __future__ import annotations

from zoo import Animal, codebook

ANIMAL = Animal(
    name="look-up table of train",
    idea="the nearest of the memorised train activations is the only active feature",
    because="a whole other prompt comes in place of the old one, which weighs all there is",
    make=lambda known, site: codebook(known.train(site), known.mean(site)),
    predicted={"exchange": -0.04, "aware": -0.03, "universal": -0.15},
    bound={"exchange": 0.15, "aware": 0.15, "universal": 0.15},
)
