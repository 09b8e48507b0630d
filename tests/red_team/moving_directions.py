"""Directions that are changed once they have been read."""

from __future__ import annotations

import torch
from trained import trained
from zoo import Animal, Plain


class _Moving(Plain):
    def encode(self, x):
        f = self.encoder(x)
        self.directions[:, 0] += 1e-3 * torch.sign(x[:, 0]).mean()
        return f


def _make(known, site):
    own = trained(site)
    return _Moving(own.directions.clone(), own.offset, own.encode)


ANIMAL = Animal(
    name="moving directions",
    idea="the decoder's rows are pointed at whatever the batch needs while it is encoded",
    because="the rows that edits use are a copy, and the decoder is compared with itself at the end",
    make=_make,
    caught="refused",
    says="other directions",
)
