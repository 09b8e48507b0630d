"""A dictionary that was trained on inputs of another scale than the model's (METHOD §4)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor

from ioi_bench.dictionaries.suite_content import Suite
from ioi_bench.dictionary import Dictionary, PerInputOffset
from ioi_bench.errors import InputError
from ioi_bench.sites import Site

__all__ = ["Scaled", "ScaledPerInput", "rescaled"]


@dataclass(frozen=True, eq=False)
class Scaled:
    """``encode(x) = inner.encode(factor · x)`` and ``decode(f) = inner.decode(f) / factor``."""

    inner: Dictionary
    factor: float

    @property
    def d_in(self) -> int:
        """Dimensions of the site."""
        return self.inner.d_in

    @property
    def d_sae(self) -> int:
        """Number of features."""
        return self.inner.d_sae

    def encode(self, x: Float[Tensor, "prompt d_in"]) -> Float[Tensor, "prompt d_sae"]:
        """Features of the inputs in the inner dictionary's units."""
        return self.inner.encode(self.factor * x)

    def decode(self, f: Float[Tensor, "prompt d_sae"]) -> Float[Tensor, "prompt d_in"]:
        """The inner reconstruction, back in the model's units."""
        return self.inner.decode(f) / self.factor


class ScaledPerInput(Scaled):
    """The same for a dictionary whose offset depends on the input."""

    def offset_for(self, x: Float[Tensor, "prompt d_in"]) -> Float[Tensor, "prompt d_in"]:
        """The inner offset of the scaled input, back in the model's units."""
        inner = self.inner
        assert isinstance(inner, PerInputOffset)
        return inner.offset_for(self.factor * x) / self.factor


def rescaled(suite: Suite, factors: Mapping[Site, float]) -> Suite:
    """The suite with inputs multiplied at these sites; its other sites are as they were.

    Raises:
        InputError: a factor that is not a positive number.
    """
    made = dict(suite.dictionaries)
    for site, factor in factors.items():
        if not (math.isfinite(factor) and factor > 0):
            raise InputError(f"the scale of the inputs at {site} is {factor}, expected a positive number")
        inner = made[site]
        made[site] = (ScaledPerInput if isinstance(inner, PerInputOffset) else Scaled)(inner, factor)
    return replace(suite, dictionaries=made)
