"""The gated SAE's loss (Rajamanoharan et al. 2024, arXiv 2404.16014, eqs. 5-8; METHOD §8).

Per prompt, ``‖x − x̂‖² + λ Σ_j ReLU(π_j) + ‖x − ReLU(π) W_dec* − b_dec*‖²``; the starred take no gradient. With
``π = u + b_gate`` (the one matrix product) and ``ρ = exp(r_mag)``, the magnitude before its ReLU is
``ρ u + b_mag = ρ π + (b_mag − ρ b_gate)``. The gate's step passes no gradient; π learns from the penalty and the
auxiliary term, whose error is ``e' = ReLU(π) W_dec + b_dec − x``::

    ∂/∂π = (2 e' / B W_decᵀ + λ / B)  where π > 0        ∂/∂m = (2 e / B W_decᵀ)  where f > 0
    ∂/∂u = ∂/∂π + ρ ∂/∂m        ∂/∂r_mag = ρ Σ u ∂/∂m       ∂/∂b_mag = Σ ∂/∂m       ∂/∂b_gate = Σ ∂/∂π
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor

from ioi_bench.dictionaries.architectures import Architecture, Gated
from ioi_bench.training.programs.base import Batch, Figures, Program, where_above

__all__ = ["GatedProgram"]


class GatedProgram(Program):
    """The gated SAE."""

    name: ClassVar[str] = "gated"
    bias: ClassVar[str] = "b_gate"
    initial: ClassVar[Mapping[str, float]] = MappingProxyType({"r_mag": 0.0, "b_mag": 0.0})

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._pi, self._g_pi = torch.empty_like(self._f), torch.empty_like(self._f)
        self._aux = torch.empty_like(self._e)

    def encode(self) -> None:
        """``1[π > 0] ReLU(ρ u + b_mag)``."""
        self._rho, b_gate = self.parameters["r_mag"].exp(), self.parameters["encoder"][:, self.d_in]
        self._pre_activations(self._pi)
        shift = self.parameters["b_mag"] - self._rho * b_gate
        torch.addcmul(shift[:, None], self._pi, self._rho[:, None], out=self._f).relu_()
        where_above(self._f, self._pi, 0, grad_input=self._f)

    def backward(self, batch: Batch) -> Figures:
        """``‖x − x̂‖² + λ Σ ReLU(π) + ‖x − ReLU(π) W_dec* − b_dec*‖²``."""
        self.reconstruct(batch.x)
        decoder, b_gate = self.parameters["decoder"], self.parameters["encoder"][:, self.d_in]
        active, feature_sums = self._count(), self._f.sum(1)
        error = self._decoder_gradient()

        where_above(self._feature_gradient(), self._f, 0, grad_input=self._g)  # now ∂/∂m
        g_m = self._g.sum(1)
        self.gradients["b_mag"].copy_(g_m)
        torch.mul(self._pi, self._g, out=self._f)
        self.gradients["r_mag"].copy_(self._rho * (self._f.sum(1) - b_gate * g_m))

        self._pi.relu_()
        self._product(self._pi, decoder, self._aux, minus=self._inputs[..., : self.d_in])
        auxiliary, open_sums = self._aux.square().sum((1, 2)) / self.batch, self._pi.sum(1)
        self._aux *= 2 / self.batch
        penalty = (self.sparsity / self.batch)[:, None, None]
        self._product(self._aux, decoder.transpose(1, 2), self._g_pi, plus=penalty)
        where_above(self._g_pi, self._pi, 0, grad_input=self._g_pi)
        g_gate = self._g_pi.sum(1)
        self._g_pi.addcmul_(self._g, self._rho[:, None])  # now ∂/∂u
        self._encoder_gradient(self._g_pi)
        self.gradients["encoder"][:, self.d_in] = g_gate  # the bias is the gate's alone
        loss = error + self.sparsity * open_sums.sum(1) / self.batch + auxiliary
        return Figures(loss, error, active, feature_sums)

    @classmethod
    def export(cls, weights: Mapping[str, Tensor], sparsity: float, scale: float) -> Architecture:
        """As the architecture `Gated`."""
        return Gated(**cls.tensors(weights), scale=scale)
