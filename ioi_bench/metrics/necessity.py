"""Necessity: is what the reconstructions carry needed? (METHOD §6; the paper, §4.1)"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Necessity", "necessity", "without_reconstruction"]


@dataclass(frozen=True)
class Necessity:
    """1 where taking the reconstructions away is as bad as mean ablation; unclipped."""

    score: Float[Tensor, "*draw"]


def without_reconstruction(
    a: Float[Tensor, "prompt d_in"], reconstruction: Float[Tensor, "prompt d_in"], train_mean: Float[Tensor, " d_in"]
) -> Float[Tensor, "prompt d_in"]:
    """The intervention: ``E[a] + a − â``, the mean with what the dictionary failed to explain.

    >>> a, reconstruction = torch.tensor([[5.0]]), torch.tensor([[4.0]])
    >>> without_reconstruction(a, reconstruction, torch.tensor([2.0])).item()
    3.0
    """
    return train_mean + a - reconstruction


def necessity(
    intervened: Float[Tensor, "*draw"], mean: Float[Tensor, "*draw"], clean: Float[Tensor, "*draw"]
) -> Necessity:
    """``1 − |LD_mean − LD_int| / |LD_mean − LD_clean|`` of mean logit differences.

    Mean ablation leaves 1 of 3; taking the reconstructions away leaves 1.5:

    >>> necessity(torch.tensor(1.5), torch.tensor(1.0), torch.tensor(3.0)).score.item()
    0.75
    """
    room = (mean - clean).abs()
    return Necessity(1 - (mean - intervened).abs() / torch.where(room == 0, torch.nan, room))
