"""What all built-in architectures share: parameters in the SAE's own units, and an affine decoder.

An architecture is a frozen dataclass. It declares its tensors (`Architecture.axes`) and its other settings
(`Architecture.settings`), so that storage, training and checks are written once for all of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ioi_bench.errors import DictionaryError

__all__ = ["Architecture"]

_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


@dataclass(frozen=True, eq=False, kw_only=True)
class Architecture:
    """A dictionary whose decoder is ``(f @ W_dec + b_dec) / scale``.

    Parameters live in the SAE's units, ``scale`` times the model's (METHOD §4); ``encode`` and ``decode`` take and
    give the model's. Tensors keep the precision in which they were stored; all computing is float32. The names follow
    the field's: ``W_enc [d_in, d_sae]``, ``W_dec [d_sae, d_in]``, ``b_dec [d_in]``, and what the subclass adds.

    Raises:
        DictionaryError: shapes that do not fit each other, NaN or Inf, a scale that is not positive.
    """

    name: ClassVar[str]
    axes: ClassVar[Mapping[str, tuple[str, ...]]]
    settings: ClassVar[Mapping[str, Any]] = MappingProxyType({"scale": float})

    W_enc: Float[Tensor, "d_in d_sae"]
    W_dec: Float[Tensor, "d_sae d_in"]
    b_dec: Float[Tensor, " d_in"]
    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.W_dec.ndim != 2:
            raise DictionaryError(f"W_dec has the shape {list(self.W_dec.shape)}, expected [d_sae, d_in]")
        for name, shape in self.shapes(self.d_in, self.d_sae).items():
            tensor: Tensor = getattr(self, name)
            if tuple(tensor.shape) != shape:
                axes = ", ".join(self.axes[name])
                raise DictionaryError(f"{name} has the shape {list(tensor.shape)}, expected [{axes}] = {list(shape)}")
            if tensor.dtype not in _FLOATS:
                raise DictionaryError(f"{name} is {tensor.dtype}, expected floating point of 16, 32 or 64 bits")
            bad = int((~tensor.isfinite()).sum())
            if bad:
                raise DictionaryError(
                    f"{name} has {bad} NaN or Inf in it: the weights are damaged or the training diverged"
                )
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise DictionaryError(f"scale is {self.scale}, expected a positive number")

    @classmethod
    def shapes(cls, d_in: int, d_sae: int) -> dict[str, tuple[int, ...]]:
        """The shape of every tensor, in the order of `axes`."""
        sizes = {"d_in": d_in, "d_sae": d_sae}
        return {name: tuple(sizes[axis] for axis in axes) for name, axes in cls.axes.items()}

    @property
    def d_in(self) -> int:
        """Dimensions of the site."""
        return self.W_dec.shape[1]

    @property
    def d_sae(self) -> int:
        """Number of features."""
        return self.W_dec.shape[0]

    @property
    def tensors(self) -> dict[str, Tensor]:
        """All parameters by name, as stored."""
        return {name: getattr(self, name) for name in self.axes}

    @property
    def directions(self) -> Float[Tensor, "d_sae d_in"]:
        """Decoder rows in the model's units."""
        return self.W_dec.float() / self.scale

    @property
    def offset(self) -> Float[Tensor, " d_in"]:
        """What no features at all decode to, in the model's units."""
        return self.b_dec.float() / self.scale

    def pre_activations(self, x: Float[Tensor, "prompt d_in"]) -> Float[Tensor, "prompt d_sae"]:
        """``(scale · x − b_dec) W_enc``, the encoder before any bias."""
        return (self.scale * x.float() - self.b_dec.float()) @ self.W_enc.float()

    def encode(self, x: Float[Tensor, "prompt d_in"]) -> Float[Tensor, "prompt d_sae"]:
        """Feature values of activations in the model's units."""
        raise NotImplementedError

    def decode(self, f: Float[Tensor, "prompt d_sae"]) -> Float[Tensor, "prompt d_in"]:
        """Reconstruction in the model's units."""
        return torch.addmm(self.b_dec.float(), f, self.W_dec.float()) / self.scale
