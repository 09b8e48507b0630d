"""Attribution SAEs: the vanilla loss, and two terms that read the model's gradients.

Source: Olah, Templeton, Bricken & Jermyn 2024, "Open Problem: Attribution Dictionary Learning", Circuits Updates of
April 2024, #attr-dl. It adds an *attribution sparsity* and an *unexplained attribution* penalty to reconstruction error
and L1, the attribution of a feature being its value times the gradient of a metric by it. Per prompt, with ``g`` that
gradient by the activation and ``d_j`` the decoder's rows::

    ‖x − x̂‖² + λ Σ_j f_j + λ A Σ_j |f_j g·d_j| + U |g·(x − x̂)|

``e = x̂ − x``, ``a_j = g·d_j`` and ``u = g·e`` give::

    ∂/∂x̂     = (2 e + U sgn(u) g) / B        and from it all that the vanilla loss has, with besides
    ∂/∂f_j   ⊃ λ (1 + A |a_j|) / B
    ∂/∂W_dec ⊃ λ A / B Σ_prompts f_j sgn(a_j) g

What the source leaves open is decided here. The metric is the logit difference of the clean run (IO − S). ``g`` is
taken at the activation, not at its reconstruction, so that it is computed once. The source gives no weights: A = 1 and
U = 1. To give these a meaning at every site, a member's gradients are scaled so that their mean norm over the train
prompts is √d_in, like its inputs. Then ``|g·d|`` of a random direction is about 1, so that the two sparsity penalties
weigh alike, and ``|g·e|`` of a random error is about ``‖e‖``: it counts beside ``‖e‖²`` as soon as errors are small.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from ioi_bench.dictionaries.architectures import Architecture, Relu
from ioi_bench.training.programs.base import Batch, Figures, Program, where_above

__all__ = ["AttributionProgram"]


class AttributionProgram(Program):
    """The attribution SAE."""

    name: ClassVar[str] = "attribution"
    needs_gradient: ClassVar[bool] = True
    attribution: ClassVar[float] = 1.0  # A, times λ
    unexplained: ClassVar[float] = 1.0  # U

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._a, self._d = torch.empty_like(self._f), torch.empty_like(self.gradients["decoder"])

    def encode(self) -> None:
        """``ReLU(π)``."""
        self._pre_activations(self._f).relu_()

    def backward(self, batch: Batch) -> Figures:
        """``‖x − x̂‖² + λ Σ f + λ A Σ |f g·d| + U |g·(x − x̂)|``."""
        g = batch.gradient
        assert g is not None, "needs_gradient says that there is one"
        self.reconstruct(batch.x)
        active, sums = self._count(), self._f.sum(1)
        error = self._e.square().sum((1, 2)) / self.batch
        u = (self._e * g).sum(2, keepdim=True)
        self._e.addcmul_(g, u.sign(), value=self.unexplained / 2)  # doubled with the error
        self._decoder_gradient()
        attributed = self._attribute(g)
        where_above(self._feature_gradient(self._a), self._f, 0, grad_input=self._g)
        self._encoder_gradient(self._g)
        penalty = self.sparsity * (sums.sum(1) + self.attribution * attributed) / self.batch
        return Figures(error + penalty + self.unexplained * u.abs().sum((1, 2)) / self.batch, error, active, sums)

    def _attribute(self, g: Tensor) -> Tensor:
        """``Σ |f a|`` of each member; the penalties' ``∂/∂f`` into `_a`; their ``∂/∂W_dec`` onto the gradient."""
        weight = (self.sparsity / self.batch)[:, None, None]
        self._product(g, self.parameters["decoder"].transpose(1, 2), self._a)
        torch.sign(self._a, out=self._g).mul_(self._f)
        self._product(self._g.transpose(1, 2), g, self._d)
        self.gradients["decoder"].addcmul_(self._d, weight, value=self.attribution)
        attributed = self._g.mul_(self._a).sum((1, 2))
        self._a.abs_().mul_(self.attribution).add_(1).mul_(weight)
        return attributed

    @classmethod
    def export(cls, weights: Mapping[str, Tensor], sparsity: float, scale: float) -> Architecture:
        """As the architecture `Relu`."""
        return Relu(**cls.tensors(weights), scale=scale)
