"""The top-k SAE's loss (Gao et al. 2024, arXiv 2406.04093; METHOD §8): ``‖x − x̂‖²``, nothing else.

``f = TopK(ReLU(π))``, and ``∂/∂π = ∂/∂x̂ W_decᵀ`` where ``f > 0``, otherwise 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from ioi_bench.dictionaries.architectures import Architecture, TopK
from ioi_bench.training.programs.base import Batch, Figures, Program, where_above
from ioi_bench.training.programs.largest import kth_largest

__all__ = ["TopKProgram"]

_TINY = 1e-30


class TopKProgram(Program):
    """The top-k SAE; members may differ in k."""

    name: ClassVar[str] = "topk"
    sparsity_is: ClassVar[str] = "k"
    dense_start: ClassVar[bool] = False

    def encode(self) -> None:
        """The k largest of ``ReLU(π)``; values equal to the k-th, hence rare, all stay."""
        self._pre_activations(self._f)
        kth = kth_largest(self._f, self.sparsity.long(), self._g).clamp_(min=_TINY)  # the ReLU: nothing below it stays
        torch.sub(self._f, kth, out=self._g)
        where_above(self._f, self._g, -_TINY, grad_input=self._f)

    def backward(self, batch: Batch) -> Figures:
        """``‖x − x̂‖²``."""
        self.reconstruct(batch.x)
        active, sums = self._count(), self._f.sum(1)
        error = self._decoder_gradient()
        self._feature_gradient()
        where_above(self._g, self._f, 0, grad_input=self._g)
        self._encoder_gradient(self._g)
        return Figures(error, error, active, sums)

    @classmethod
    def export(cls, weights: Mapping[str, Tensor], sparsity: float, scale: float) -> Architecture:
        """As the architecture `TopK`."""
        return TopK(**cls.tensors(weights), scale=scale, k=int(sparsity))
