"""The Matryoshka SAE's loss (Bussmann et al. 2025, arXiv 2503.17547; METHOD §8).

The first m features are a dictionary of their own, for each of several m. With ``x̂_m = f[:m] W_dec[:m] + b_dec``, per
prompt ``Σ_m ‖x − x̂_m‖²``, a sum as in the paper. Features are those of batch-top-k over the whole dictionary, and so
is the threshold; the auxiliary loss for dead features is left out as there. Every prefix but the last ends where its
size doubles, from a sixteenth of d_sae: what the authors' released code takes.

With ``e_m = x̂_m − x``, a feature of the block that prefix m adds meets the errors of m and of all larger prefixes::

    D_m = Σ_{n ≥ m} 2 e_n / B        ∂/∂W_dec = fᵀ D_m,   ∂/∂f = D_m W_decᵀ     in that block
    ∂/∂b_dec = Σ_prompts D_first, and the encoder's share
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ioi_bench.training.programs.base import Batch, Figures, where_above
from ioi_bench.training.programs.batchtopk import BatchTopKProgram

__all__ = ["MatryoshkaProgram"]


class MatryoshkaProgram(BatchTopKProgram):
    """Nested batch-top-k SAEs."""

    name: ClassVar[str] = "matryoshka"
    parts: ClassVar[tuple[int, ...]] = (16, 8, 4, 2, 1)  # prefixes are these parts of d_sae, at least one feature

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        d_sae = self._f.shape[2]
        ends = sorted({max(1, d_sae // part) for part in self.parts})
        self.blocks = tuple(slice(start, end) for start, end in zip([0, *ends], ends, strict=False))
        self._errors = torch.empty(len(ends), *self._e.shape, device=self._e.device)

    def backward(self, batch: Batch) -> Figures:
        """``Σ_m ‖x − x̂_m‖²``; moves the threshold. The figures' error is that of the whole dictionary."""
        errors = self._reconstruct_prefixes(batch.x)
        active, sums = self._count(), self._f.sum(1)
        squares = self._errors.square().sum((2, 3)) / self.batch
        self._errors *= 2 / self.batch
        for smaller, larger in zip(errors[-2::-1], errors[:0:-1], strict=True):
            smaller += larger  # now D
        decoder, g_decoder = self.parameters["decoder"], self.gradients["decoder"]
        for d, block in zip(errors, self.blocks, strict=True):
            self._product(self._f[..., block].transpose(1, 2), d, g_decoder[:, block])
            self._product(d, decoder[:, block].transpose(1, 2), self._g[..., block])
        torch.sum(errors[0], 1, out=self.gradients["b_dec"])
        where_above(self._g, self._f, 0, grad_input=self._g)
        self._encoder_gradient(self._g)
        self._move_threshold()
        return Figures(squares.sum(0), squares[-1], active, sums)

    def _reconstruct_prefixes(
        self, x: Float[Tensor, "member prompt d_in"]
    ) -> tuple[Float[Tensor, "member prompt d_in"], ...]:
        """``x̂_m − x`` of every prefix, the smallest first."""
        centred = torch.sub(x, self.parameters["b_dec"][:, None], out=self._inputs[..., : self.d_in])
        self.encode()
        errors = self._errors.unbind()
        for i, block in enumerate(self.blocks):
            f, rows = self._f[..., block], self.parameters["decoder"][:, block]
            if i == 0:
                self._product(f, rows, errors[0], minus=centred)
            else:
                self._product(f, rows, errors[i], plus=errors[i - 1])
        return errors
