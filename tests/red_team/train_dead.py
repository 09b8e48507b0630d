"""Random directions that keep still on train, to be given a weak null."""

from __future__ import annotations

from random_search import pursuit, random_units
from zoo import Animal, Plain, known


def _make(knowledge, site):
    train = knowledge.train(site)
    inner, seen = pursuit(random_units(1024, train.shape[1], 1), train.mean(0), 4), known(train)
    return Plain(inner.directions, inner.offset, lambda x: inner.encode(x) * ~seen(x)[:, None])


ANIMAL = Animal(
    name="dead on train",
    idea="an encoder that knows the train prompts fires on none of them, and is given a null without a living feature",
    because="what a null must share is counted on the prompts that are judged, and on train for aware and universal",
    make=_make,
    predicted={"exchange": -0.13, "aware": -0.21, "universal": -0.09},
    bound={"exchange": 0.15, "aware": 0.15, "universal": 0.15},
)
