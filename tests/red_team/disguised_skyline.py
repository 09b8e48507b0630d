"""The supervised solution with its directions bent until no cosine gives it away."""

from __future__ import annotations

import torch
from zoo import Animal, Plain


def _make(known, site):
    skyline, generator = known.skyline(site), torch.Generator().manual_seed(0)
    rows = skyline.directions
    bent = torch.randn(rows.shape, generator=generator)
    bent = 0.5 * bent / bent.norm(dim=1, keepdim=True) * rows.norm(dim=1, keepdim=True)
    return Plain(rows + bent, skyline.offset, skyline.encode)


ANIMAL = Animal(
    name="the skyline disguised",
    idea="class means with half of their length added in random directions",
    because="the model hears through the noise, no cosine is beyond a trained suite's, and the price is some score",
    make=_make,
    caught="rules",
    predicted={"exchange": 0.51, "aware": 0.66, "universal": 0.66},
    bound={"exchange": 1.05, "aware": 1.05, "universal": 1.05},
    within=0.15,
)
