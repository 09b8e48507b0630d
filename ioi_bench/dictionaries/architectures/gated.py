"""The gated SAE (Rajamanoharan et al. 2024, arXiv 2404.16014, eqs. 5-8).

With ``x' = scale · x`` and ``u = (x' − b_dec) W_enc``, the gate and the magnitude share one matrix (the paper's tied
``W_mag = exp(r_mag) · W_gate``)::

    π  = u + b_gate
    f  = 1[π > 0] · ReLU(exp(r_mag) · u + b_mag)
    x̂' = f W_dec + b_dec

Trained with ``‖x' − x̂'‖² + λ Σ_j ReLU(π_j) + ‖x' − ReLU(π) W_dec* − b_dec*‖²``, where the starred decoder of the
auxiliary term takes no gradient.
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

__all__ = ["Gated"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Gated(Architecture):
    """Which features are active and how strongly are decided apart."""

    name: ClassVar[str] = "gated"
    axes: ClassVar[Mapping[str, tuple[str, ...]]] = MappingProxyType(
        {
            "W_enc": ("d_in", "d_sae"),
            "r_mag": ("d_sae",),
            "b_gate": ("d_sae",),
            "b_mag": ("d_sae",),
            "W_dec": ("d_sae", "d_in"),
            "b_dec": ("d_in",),
        }
    )

    r_mag: Float[Tensor, " d_sae"]
    b_gate: Float[Tensor, " d_sae"]
    b_mag: Float[Tensor, " d_sae"]

    def encode(self, x: Float[Tensor, "prompt d_in"]) -> Float[Tensor, "prompt d_sae"]:
        """``1[u + b_gate > 0] · ReLU(exp(r_mag) · u + b_mag)``."""
        u = self.pre_activations(x)
        gate = u + self.b_gate.float() > 0
        return torch.relu(self.r_mag.float().exp() * u + self.b_mag.float()) * gate
