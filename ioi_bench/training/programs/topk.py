"""The top-k SAE's loss (Gao et al. 2024, arXiv 2406.04093; METHOD §8): ``‖x − x̂‖²``, nothing else.

``f = TopK(ReLU(π))``, and ``∂/∂π = ∂/∂x̂ W_decᵀ`` where ``f > 0``, otherwise 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ioi_bench.dictionaries.architectures import Architecture, TopK
from ioi_bench.training.programs.base import Batch, Figures, Program, where_above

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
        kth = self._kth().clamp_(min=_TINY)  # the ReLU: nothing below it stays
        torch.sub(self._f, kth, out=self._g)
        where_above(self._f, self._g, -_TINY, grad_input=self._f)

    def _kth(self) -> Float[Tensor, "member prompt 1"]:
        """Each prompt's k-th largest pre-activation, for each member's own k; below 0 where fewer are positive."""
        d_sae = self._f.shape[2]
        places = d_sae - self.sparsity.long()
        if self._f.device.type == "cpu":
            # NumPy's selection is vectorised; torch.topk costs five times as much from k = 6 on
            distinct = sorted(set(places.tolist()))
            ordered = torch.from_numpy(np.partition(self._f.numpy(), distinct, axis=2))
        else:
            ordered = self._f.topk(int(self.sparsity.max()), dim=2).values
            places = self.sparsity.long() - 1
        return ordered.gather(2, places[:, None, None].expand(-1, ordered.shape[1], 1))

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
