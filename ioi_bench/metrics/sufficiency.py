"""Sufficiency: do the reconstructions alone carry the computation? (METHOD §6; the paper, §4.1)"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Sufficiency", "sufficiency"]


@dataclass(frozen=True)
class Sufficiency:
    """Share of the clean logit difference that is left; unclipped."""

    score: Float[Tensor, "*draw"]


def sufficiency(sae: Float[Tensor, "*draw"], clean: Float[Tensor, "*draw"]) -> Sufficiency:
    """``LD / LD_clean`` of mean logit differences, with reconstructions in place of all activations of a cross-section.

    >>> sufficiency(torch.tensor(2.7), torch.tensor(3.0)).score.item()
    0.9...
    """
    return Sufficiency(sae / torch.where(clean == 0, torch.nan, clean))
