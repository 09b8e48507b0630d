"""An encoder with state that answers the same question the same way ever after."""

from __future__ import annotations

import torch
from zoo import Animal, Plain


class _Consistent(Plain):
    """Train comes first, then the base prompts, then as many counterfactuals in the same order; after that, memory."""

    base = None

    def encode(self, x):
        rows = [bytes(row) for row in x.numpy()]
        if self.base is None:
            self.answers = {}
        if rows[0] not in self.answers:
            self.answers |= zip(rows, self._first_answer(self.encoder(x)), strict=True)
        return torch.stack([self.answers[row] for row in rows])

    def _first_answer(self, f):
        if self.base is None or len(f) != len(self.base):  # other prompts than those before
            self.base = f
        change = f - self.base
        return torch.cat([change.clamp(min=0), (-change).clamp(min=0)], 1)


def _make(known, site):
    skyline = known.skyline(site)
    return _Consistent(torch.cat([skyline.directions, -skyline.directions]), skyline.offset, skyline.encode)


ANIMAL = Animal(
    name="hidden state, kept consistent",
    idea="it tells base prompts and counterfactuals by the order of calls, writes every answer down and repeats it",
    because="the copy that is asked again was made before the first question",
    make=_make,
    caught="refused",
    says="not a function of each activation alone",
)
