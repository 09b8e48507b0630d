"""Nothing but an offset that is the input."""

from __future__ import annotations

import torch
from zoo import Animal, Plain


class _Offset(Plain):
    def offset_for(self, x):
        return x.clone()


def _make(known, site):
    mean = known.mean(site)
    return _Offset(torch.ones(1, len(mean)), mean, lambda x: torch.zeros(len(x), 1))


ANIMAL = Animal(
    name="per-input offset",
    idea="the offset of each input is the input: a perfect reconstruction without a feature",
    because="edits add and remove features only; faithfulness is perfect, and the card says what makes it so",
    make=_make,
    caught="flagged",
    says="offset-carries",
    predicted={"exchange": 0.0, "aware": 0.0, "universal": 0.0},
    bound={"exchange": 0.05, "aware": 0.05, "universal": 0.05},
)
