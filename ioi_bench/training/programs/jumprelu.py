"""The JumpReLU SAE's loss (Rajamanoharan et al. 2024, arXiv 2407.14435, eqs. 9, 11 and 12; METHOD §8).

Per prompt, ``‖x − x̂‖² + λ ‖f‖₀`` with ``f = π H(π − θ)`` and ``θ = exp(log_threshold)``. Both jumps are flat almost
everywhere, so θ learns by straight-through estimators: with ``K`` the rectangle, 1 on (−½, ½) and 0 elsewhere, and a
bandwidth ε::

    ∂f/∂θ := −(θ/ε) K((π − θ)/ε)        ∂H(π − θ)/∂θ := −(1/ε) K((π − θ)/ε)

    ∂/∂log θ = −(θ/ε) Σ_prompts K (θ ∂‖e‖²/∂f + λ/B)
    ∂/∂π     = ∂‖e‖²/∂f   where π > θ, otherwise 0

As in the paper the estimators give gradient to θ alone: the encoder learns from the reconstruction only, and only
where a feature is active.

Decided where there is a choice:

- π is not passed through a ReLU first. That changes no feature, since θ > 0; but where θ < ε/2 it would count every
  negative pre-activation as one at 0, inside the rectangle.
- ε and the first θ are both 0.001 in the paper, for inputs of mean squared norm 1 at the 3,584 dimensions of Gemma 2
  9B. Ours have mean norm √d_in, so a coordinate of variance about 1 in place of 1/3,584: ``0.001 √3584 ≈ 0.06``.
- λ rises linearly from 0 over the first 1 % of the steps: the authors' Gemma Scope (arXiv 2408.05147, §3.2) takes
  10,000 of about a million.
- Adam's β₁ is 0 there; here the optimiser is the same for all variants.

Which λ: where a feature is active it must lower ``‖e‖²`` by more than λ, and the inputs' variance is at most d_in. At
two sites of ioi-mini (d_in 32, d_sae 256, 5,000 steps, no resampling) λ from 0.01 to 1 gave 17 to 2 active features
at one and 11 to 1.6 at the other. log θ had ten times the others' learning rate there, 0.001: Adam moves it by about
the learning rate a step, so in a run of fewer than about ``3 / learning rate`` steps λ has little effect (at the first
site 15 active features for every λ from 0.1 to 3, after 1,800 steps).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor

from ioi_bench.dictionaries.architectures import Architecture, JumpRelu
from ioi_bench.training.programs.base import Batch, Figures, Program, where_above

__all__ = ["JumpReluProgram"]

# `grad` where `x` lies between two bounds, otherwise 0: one pass
where_between = torch.ops.aten.hardtanh_backward.grad_input


class JumpReluProgram(Program):
    """The JumpReLU SAE; λ weighs the number of active features."""

    name: ClassVar[str] = "jumprelu"
    initial: ClassVar[Mapping[str, float]] = MappingProxyType({"log_threshold": math.log(0.06)})
    bandwidth: float = 0.06  # ε, in the SAE's units
    warmup: ClassVar[float] = 0.01  # share of all steps in which λ rises

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._above = torch.empty_like(self._f)  # π − θ

    def encode(self) -> None:
        """``π`` where ``π > θ``, otherwise 0."""
        self._theta = self.parameters["log_threshold"].exp()
        self._pre_activations(self._f)
        torch.sub(self._f, self._theta[:, None], out=self._above)
        where_above(self._f, self._above, 0, grad_input=self._f)

    def backward(self, batch: Batch) -> Figures:
        """``‖x − x̂‖² + λ ‖f‖₀``."""
        self.reconstruct(batch.x)
        lam = self.sparsity * min(1.0, batch.progress / self.warmup)
        active, sums = self._count(), self._f.sum(1)
        error = self._decoder_gradient()
        self._feature_gradient()
        torch.addcmul((lam / self.batch)[:, None, None], self._g, self._theta[:, None], out=self._f)  # f is spent
        half = self.bandwidth / 2
        where_between(self._f, self._above, -half, half, grad_input=self._f)
        torch.mul(self._f.sum(1), self._theta / -self.bandwidth, out=self.gradients["log_threshold"])
        where_above(self._g, self._above, 0, grad_input=self._g)
        self._encoder_gradient(self._g)
        return Figures(error + lam * active / self.batch, error, active, sums)

    @classmethod
    def export(cls, weights: Mapping[str, Tensor], sparsity: float, scale: float) -> Architecture:
        """As the architecture `JumpRelu`."""
        tensors = cls.tensors(weights)
        return JumpRelu(threshold=tensors.pop("log_threshold").exp(), **tensors, scale=scale)
