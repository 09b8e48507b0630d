"""Features that are a tensor of their own kind."""

from __future__ import annotations

import torch
from trained import trained
from zoo import Animal, Plain


class _Lying(torch.Tensor):
    """Whatever is asked of it could be answered here."""


def _make(known, site):
    own = trained(site)
    return Plain(own.directions, own.offset, lambda x: own.encode(x).as_subclass(_Lying))


ANIMAL = Animal(
    name="a tensor that lies",
    idea="a subclass of Tensor answers comparisons and sums as it likes, the checks' as well",
    because="only a plain tensor is taken",
    make=_make,
    caught="refused",
    says="no subclass of it",
)
