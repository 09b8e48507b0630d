"""An encoder that remembers the base prompts until their counterfactuals come."""

from __future__ import annotations

import torch
from zoo import Animal, Plain


class _Remembering(Plain):
    last = None

    def encode(self, x):
        f, before = self.encoder(x), self.last
        self.last = None if before is not None and before.shape == f.shape else f
        change = torch.zeros_like(f) if self.last is not None else f - before
        return torch.cat([change.clamp(min=0), (-change).clamp(min=0)], 1)


def _make(known, site):
    skyline = known.skyline(site)
    both = torch.cat([skyline.directions, -skyline.directions])
    return _Remembering(both, skyline.offset, skyline.encode)


ANIMAL = Animal(
    name="hidden state",
    idea="what the last call saw tells the next one which way to go",
    because="what was encoded is encoded again by a copy that has seen nothing, and comes out otherwise",
    make=_make,
    caught="refused",
    says="not a function of each activation alone",
)
