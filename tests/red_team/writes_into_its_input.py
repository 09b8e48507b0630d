"""An encoder that changes the activations that are judged."""

from __future__ import annotations

import torch
from trained import trained
from zoo import Animal, Plain


class _Writing(Plain):
    before = None

    def encode(self, x):
        f = self.encoder(x)
        if self.before is not None and self.before.shape == x.shape:
            self.before.copy_(x)
        self.before = x
        x += 0.0
        x *= 1.0 + torch.finfo(torch.float32).eps
        return f


def _make(known, site):
    own = trained(site)
    return _Writing(own.directions, own.offset, own.encode)


ANIMAL = Animal(
    name="writes into its input",
    idea="the base activations become their counterfactuals, and nothing is left to edit",
    because="it is given copies, and a copy that comes back changed is an error",
    make=_make,
    caught="refused",
    says="encode changed the activations",
)
