"""The vanilla SAE (Bricken et al. 2023, *Towards Monosemanticity*; the paper's and the post's baseline).

With ``x' = scale · x``::

    f  = ReLU((x' − b_dec) W_enc + b_enc)
    x̂' = f W_dec + b_dec

Trained with ``‖x' − x̂'‖² + λ Σ_j f_j``, decoder rows of unit norm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ioi_bench.dictionaries.architectures.base import Architecture

__all__ = ["Relu"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Relu(Architecture):
    """One layer and a ReLU."""

    name: ClassVar[str] = "relu"
    axes: ClassVar[Mapping[str, tuple[str, ...]]] = MappingProxyType(
        {"W_enc": ("d_in", "d_sae"), "b_enc": ("d_sae",), "W_dec": ("d_sae", "d_in"), "b_dec": ("d_in",)}
    )

    b_enc: Float[Tensor, " d_sae"]

    def encode(self, x: Float[Tensor, "prompt d_in"]) -> Float[Tensor, "prompt d_sae"]:
        """``ReLU((scale · x − b_dec) W_enc + b_enc)``."""
        return torch.relu(self.pre_activations(x) + self.b_enc.float())
