"""An encoder that looks at the other prompts of its batch."""

from __future__ import annotations

from trained import trained
from zoo import Animal, Plain


def _make(known, site):
    own, mean = trained(site), known.mean(site)
    return Plain(own.directions, own.offset, lambda x: own.encode(x - x.mean(0) + mean))


ANIMAL = Animal(
    name="batch mean",
    idea="a batch of counterfactuals is told from a batch of base prompts by its mean",
    because="what was encoded is encoded again in a batch of base prompts, counterfactuals and train together",
    make=_make,
    caught="refused",
    says="not a function of each activation alone",
)
