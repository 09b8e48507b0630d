"""NaN on every prompt that it would fail."""

from __future__ import annotations

import torch
from trained import trained
from zoo import Animal, Plain


def _make(known, site):
    own, mean = trained(site), known.mean(site)
    return Plain(
        own.directions,
        own.offset,
        lambda x: own.encode(x).where(((x - mean)[:, :1] > 0), torch.nan),
    )


ANIMAL = Animal(
    name="NaN where it would lose",
    idea="what has no value is left out of a mean",
    because="features that are not finite are an error",
    make=_make,
    caught="refused",
    says="NaN or Inf",
)
