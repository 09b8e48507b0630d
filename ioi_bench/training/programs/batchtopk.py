"""The batch-top-k SAE's loss (Bussmann et al. 2024, arXiv 2412.06410; METHOD §8): ``‖x − x̂‖²``, nothing else.

Of all ``ReLU(π)`` of a batch of B prompts the ``k · B`` largest stay, so that a prompt has k active features on average
and may have more or fewer. ``∂/∂π = ∂/∂x̂ W_decᵀ`` where ``f > 0``, otherwise 0.

For use on single prompts the paper puts a threshold in place of the batch: the mean, over batches, of the least value
that was kept. It is a parameter here, so that it is stored with the others; its gradient is 0, and `backward` keeps it
as the running mean of the authors' released code (a hundredth of every new value). The first batch sets it, where that
code starts at 0: checkpoints after few batches would otherwise have far too low a threshold. Where fewer than ``k · B``
are positive, all of those stay, and the least value counts as 0.

The paper's auxiliary loss, by which dead features learn the error (weight 1/32), is left out: here dead features are
resampled (METHOD §8).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ioi_bench.dictionaries.architectures import Architecture, JumpRelu
from ioi_bench.training.programs.base import Batch, Figures, Program, where_above
from ioi_bench.training.programs.largest import kth_largest

__all__ = ["BatchTopKProgram"]


class BatchTopKProgram(Program):
    """The batch-top-k SAE; members may differ in k."""

    name: ClassVar[str] = "batchtopk"
    sparsity_is: ClassVar[str] = "k"
    dense_start: ClassVar[bool] = False
    initial: ClassVar[Mapping[str, float]] = MappingProxyType({"threshold": 0.0})  # 0: no batch yet
    rate: ClassVar[float] = 0.01  # of the threshold's running mean

    def encode(self) -> None:
        """The ``k · B`` largest of ``ReLU(π)``; values equal to the least of them, hence rare, all stay."""
        self._pre_activations(self._f)
        self._least = self._kth().clamp_(min=0)  # so that the ReLU is in it
        torch.sub(self._f, self._least[..., None], out=self._g)
        where_above(self._f, self._g, -1e-30, grad_input=self._f)

    def _kth(self) -> Float[Tensor, "member 1"]:
        """Each member's ``k · B``-th largest pre-activation of the whole batch.

        Before the ReLU: the many equal zeros after it would make the selection several times slower.
        """
        kept = self.sparsity.long() * self._f.shape[1]
        return kth_largest(self._f.flatten(1), kept, self._g.flatten(1))

    def backward(self, batch: Batch) -> Figures:
        """``‖x − x̂‖²``; moves the threshold."""
        self.reconstruct(batch.x)
        active, sums = self._count(), self._f.sum(1)
        error = self._decoder_gradient()
        self._feature_gradient()
        where_above(self._g, self._f, 0, grad_input=self._g)
        self._encoder_gradient(self._g)
        self._move_threshold()
        return Figures(error, error, active, sums)

    def _move_threshold(self) -> None:
        last = self.parameters["threshold"].amax(1, keepdim=True)  # one for all; a resampled feature's starts at 0
        new = torch.where(last == 0, self._least, last.lerp(self._least, self.rate))
        self.parameters["threshold"].copy_(new.expand_as(self.parameters["threshold"]))
        self.gradients["threshold"].zero_()  # an optimiser may have left something there

    @classmethod
    def export(cls, weights: Mapping[str, Tensor], sparsity: float, scale: float) -> Architecture:
        """As the architecture `JumpRelu`, with one threshold for all features."""
        tensors = cls.tensors(weights)
        tensors["threshold"].fill_(tensors["threshold"].max())
        return JumpRelu(**tensors, scale=scale)
