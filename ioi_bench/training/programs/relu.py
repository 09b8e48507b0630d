"""The vanilla SAE's loss (Bricken et al. 2023, *Towards Monosemanticity*; METHOD §8).

Per prompt, ``‖x − x̂‖² + λ Σ_j f_j`` with ``f = ReLU(π)``::

    ∂/∂π = ∂/∂x̂ W_decᵀ + λ / B   where f > 0, otherwise 0
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from ioi_bench.dictionaries.architectures import Architecture, Relu
from ioi_bench.training.programs.base import Batch, Figures, Program, where_above

__all__ = ["ReluProgram"]


class ReluProgram(Program):
    """The vanilla SAE."""

    name: ClassVar[str] = "relu"

    def encode(self) -> None:
        """``ReLU(π)``."""
        self._pre_activations(self._f).relu_()

    def backward(self, batch: Batch) -> Figures:
        """``‖x − x̂‖² + λ Σ f``."""
        self.reconstruct(batch.x)
        active, sums = self._count(), self._f.sum(1)
        error = self._decoder_gradient()
        self._feature_gradient((self.sparsity / self.batch)[:, None, None])
        where_above(self._g, self._f, 0, grad_input=self._g)
        self._encoder_gradient(self._g)
        return Figures(error + self.sparsity * sums.sum(1) / self.batch, error, active, sums)

    @classmethod
    def export(cls, weights: Mapping[str, Tensor], sparsity: float, scale: float) -> Architecture:
        """As the architecture `Relu`."""
        return Relu(**cls.tensors(weights), scale=scale)
