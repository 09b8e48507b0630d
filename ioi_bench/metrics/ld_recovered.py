"""Logit difference recovered by reconstructions, measured from mean ablation (METHOD §6)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["SMALL_DENOMINATOR", "LogitDifferenceRecovered", "ld_recovered"]

SMALL_DENOMINATOR = 0.1
"""Below this share of the clean logit difference, what there is to recover is too little to divide by."""


@dataclass(frozen=True)
class LogitDifferenceRecovered:
    """Signed: 1 for lossless reconstructions, 0 for the train mean, negative for worse than the train mean."""

    recovered: Float[Tensor, "*draw"]
    reliable: Bool[Tensor, "*draw"]
    """False where ablating the cross-section hardly changes the logit difference."""


def ld_recovered(
    sae: Float[Tensor, "*draw"], mean: Float[Tensor, "*draw"], clean: Float[Tensor, "*draw"]
) -> LogitDifferenceRecovered:
    """``(LD_sae − LD_mean) / (LD_clean − LD_mean)`` of mean logit differences.

    Args:
        sae: under reconstructions in place of activations, all sites of the cross-section together.
        mean: under mean ablation of the same sites.
        clean: of the unpatched run.

    >>> ld_recovered(torch.tensor(2.0), torch.tensor(1.0), torch.tensor(3.0)).recovered.item()
    0.5
    >>> ld_recovered(torch.tensor(3.1), torch.tensor(2.9), torch.tensor(3.0)).reliable.item()
    False
    """
    room = clean - mean
    return LogitDifferenceRecovered(
        recovered=(sae - mean) / torch.where(room == 0, torch.nan, room),
        reliable=room.abs() >= SMALL_DENOMINATOR * clean.abs(),
    )
