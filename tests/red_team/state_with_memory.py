"""An encoder with state that answers the same question the same way ever after."""

from __future__ import annotations

import torch
from state import _Remembering
from zoo import Animal


class _Consistent(_Remembering):
    def encode(self, x):
        if not hasattr(self, "answers"):
            self.answers = {}
        fresh = super().encode(x)
        return torch.stack(
            [self.answers.setdefault(bytes(row), own) for row, own in zip(x.numpy(), fresh, strict=True)]
        )


def _make(known, site):
    skyline = known.skyline(site)
    return _Consistent(torch.cat([skyline.directions, -skyline.directions]), skyline.offset, skyline.encode)


ANIMAL = Animal(
    name="hidden state, kept consistent",
    idea="it writes down every answer, so that asking again finds nothing",
    because="the copy that is asked again was made before the first question",
    make=_make,
    caught="refused",
    says="not a function of each activation alone",
)
