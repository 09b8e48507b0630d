"""p-annealing (Karvonen et al. 2024, arXiv 2408.00113, §4.3): from L1 towards L0 in the course of training.

Per prompt, eq. 13 with ``f = ReLU(π)``::

    ‖x − x̂‖² + λ_s Σ_j f_j^p_s        ∂/∂π = ∂/∂x̂ W_decᵀ + λ_s p_s f^(p_s − 1) / B   where f > 0, otherwise 0

p is 1 for the first part of training and falls to 0.2. Whenever p changes, λ_s is multiplied by the ratio of the old
to the new ``Σ f^p``, so that the penalty is as strong as before ("coefficient annealing"); it starts from the member's
λ. The text lets p fall linearly after "a certain number of steps"; the authors' own runs begin 27 % of the way and go
down in ten equal stretches, which is done here. In dictionary_learning's class p would get to its last value only when
training is over; here the last of the ten stretches is at 0.2.

Decided here: the ratio is that of the batch at hand, where the authors take the mean over the ten latest (each step's
batch is drawn anew, and its ratio differs little). The slope of ``f^p`` is infinite at 0, and Adam would remember one
such batch for a thousand steps: the penalty is ``(f + ε)^p − ε^p`` with ε = 10⁻³, features being of order 1. At
p = 1 that is f. Error is ``‖x − x̂‖²`` as in the authors' code (eq. 8 is without the square).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ioi_bench.dictionaries.architectures import Architecture, Relu
from ioi_bench.training.programs.base import Batch, Figures, Program, where_above

__all__ = ["PAnnealProgram"]


class PAnnealProgram(Program):
    """The vanilla SAE with an Lp penalty. `state` holds p, and λ_s / λ as ``strength``."""

    name: ClassVar[str] = "panneal"
    start: ClassVar[float] = 0.27  # share of training: 10,000 of 36,621 steps
    stretches: ClassVar[int] = 10
    p_end: ClassVar[float] = 0.2
    epsilon: ClassVar[float] = 1e-3

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._h = torch.empty_like(self._f)
        ones = torch.ones_like(self.sparsity)
        self.state = {"p": ones.cpu().double(), "strength": ones}  # p is read by the processor, at every step

    @classmethod
    def p(cls, progress: float) -> float:
        """The exponent when that share of training is done.

        >>> [round(PAnnealProgram.p(progress), 2) for progress in (0.0, 0.3, 0.35, 0.99)]
        [1.0, 1.0, 0.91, 0.2]
        """
        stretch = int(max(0.0, progress - cls.start) / (1 - cls.start) * cls.stretches)
        return 1 - (1 - cls.p_end) * min(stretch / (cls.stretches - 1), 1.0)

    def encode(self) -> None:
        """``ReLU(π)``."""
        self._pre_activations(self._f).relu_()

    def backward(self, batch: Batch) -> Figures:
        """``‖x − x̂‖² + λ_s Σ f^p_s``."""
        self.reconstruct(batch.x)
        active, sums = self._count(), self._f.sum(1)
        error = self._decoder_gradient()
        p = self.p(batch.progress)
        if p != float(self.state["p"][0]):
            self._lower(p, active)
        powers = self._powers(p, active)
        weight = self.sparsity * self.state["strength"] / self.batch
        penalty = (weight * p)[:, None, None]
        self._feature_gradient(penalty if p == 1 else self._h.mul_(penalty))
        where_above(self._g, self._f, 0, grad_input=self._g)
        self._encoder_gradient(self._g)
        return Figures(error + weight * powers, error, active, sums)

    def _powers(self, p: float, active: Float[Tensor, " member"]) -> Float[Tensor, " member"]:
        """``Σ f^p`` over the batch; ``f^(p − 1)`` of active features into `_h`, where p < 1; spends `_g`."""
        if p == 1:
            return self._f.sum((1, 2))
        torch.add(self._f, self.epsilon, out=self._h).pow_(p - 1)
        where_above(self._h, self._f, 0, grad_input=self._h)
        powers = torch.mul(self._f, self._h, out=self._g).sum((1, 2))
        return powers + self.epsilon * self._h.sum((1, 2)) - self.epsilon**p * active

    def _lower(self, p: float, active: Float[Tensor, " member"]) -> None:
        """Go to another p, with the strength that makes the new penalty of this batch the old one."""
        old, new = self._powers(float(self.state["p"][0]), active), self._powers(p, active)
        self.state["strength"] *= torch.where(new > 0, old / new, 1.0)
        self.state["p"].fill_(p)

    @classmethod
    def export(cls, weights: Mapping[str, Tensor], sparsity: float, scale: float) -> Architecture:
        """As the architecture `Relu`."""
        return Relu(**cls.tensors(weights), scale=scale)
