"""The search that `exchange` and `split` share: which single change brings the activation nearest to its target.

Adding ``δ d_j`` to an activation at residual ``r = a_t − a`` changes ``‖r‖²`` by ``δ²‖d_j‖² − 2 δ d_j·r``, so one
matrix product scores all features of all prompts. Only features that would change something on some prompt enter it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

__all__ = ["Candidates", "tie_tolerance"]

_BLOCK = 32


def tie_tolerance(residual: Float[Tensor, "prompt d_in"]) -> Float[Tensor, " prompt"]:
    """How far two squared distances may differ and still count as equal, given ``a_t − a_s``.

    Wide enough that rounding in the matrix product cannot order exact duplicates.
    """
    return residual.square().sum(1) * (1e-9 if residual.dtype == torch.float64 else 1e-6)


@dataclass
class Candidates:
    """The features that may still be changed, with one change on each prompt.

    Attributes:
        feature: indices, ascending; padded to whole blocks.
        delta: by how much the activation of each changes.
        cost: ``‖δ d‖²``; infinite for padding and for what was already chosen.
        directions: their decoder rows.
    """

    feature: Int64[Tensor, " candidate"]
    delta: Float[Tensor, "prompt candidate"]
    cost: Float[Tensor, "prompt candidate"]
    directions: Float[Tensor, "candidate d_in"]

    @classmethod
    def of(
        cls, delta: Float[Tensor, "prompt d_sae"], directions: Float[Tensor, "d_sae d_in"], rounds: int = 0
    ) -> Candidates:
        """All features that change on some prompt, and the first ``rounds`` of those that change on none.

        More of the latter could not be chosen: they all do nothing, and ties go to the lower index.
        """
        enters = delta.abs().amax(0) != 0
        enters[(~enters).nonzero()[:rounds, 0]] = True
        feature = enters.nonzero()[:, 0]
        size = len(feature)
        if size < len(enters) or size % _BLOCK:
            feature = torch.nn.functional.pad(feature, (0, -size % _BLOCK if size else _BLOCK))
            delta, directions = delta.index_select(1, feature), directions.index_select(0, feature)
        cost = delta.square().mul_(directions.square().sum(1))
        cost[:, size:] = torch.inf
        return cls(feature, delta, cost, directions)

    def best(
        self, residual: Float[Tensor, "prompt d_in"], tolerance: Float[Tensor, " prompt"]
    ) -> tuple[Int64[Tensor, " prompt"], Float[Tensor, " prompt"]]:
        """The first candidate whose change of ``‖r‖²`` is within the tolerance of the least; and that least change."""
        products = residual @ self.directions.T
        changes = torch.addcmul(self.cost, self.delta, products, value=-2, out=products)
        # minima of blocks first: one fast pass, where comparing every element would take several slow ones
        blocks = changes.view(len(changes), -1, _BLOCK)
        lowest = blocks.amin(2)
        least = lowest.amin(1)
        limit = (least + tolerance)[:, None]
        block = _first(lowest <= limit)
        rows = torch.arange(len(block), device=block.device)
        inside = blocks.view(-1, _BLOCK).index_select(0, block + rows * blocks.shape[1])
        return block * _BLOCK + _first(inside <= limit), least

    def take(
        self, rows: Int64[Tensor, " chosen"], columns: Int64[Tensor, " chosen"]
    ) -> tuple[Int64[Tensor, " chosen"], Float[Tensor, "chosen d_in"]]:
        """The features at these prompts and columns, and the steps they make; they are not offered again."""
        self.cost[rows, columns] = torch.inf
        steps = self.directions.index_select(0, columns).mul_(self.delta[rows, columns][:, None])
        return self.feature[columns], steps


def _first(true: Bool[Tensor, "prompt candidate"]) -> Int64[Tensor, " prompt"]:
    return true.view(torch.uint8).argmax(1)
