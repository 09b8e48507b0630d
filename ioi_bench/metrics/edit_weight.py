"""How much of the reconstruction an edit takes away and puts in (METHOD §6; the paper, §4.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["EditWeight", "FeatureWeights", "edit_weight", "feature_weights"]

_RELATIVE_ZERO = 1e-12


@dataclass(frozen=True)
class FeatureWeights:
    """The share of the reconstruction that each active feature carries; 0 at inactive features.

    NaN in a whole row where there is nothing to share out (the reconstruction has norm zero).
    """

    paper: Float[Tensor, "prompt d_sae"]
    centred: Float[Tensor, "prompt d_sae"]


@dataclass(frozen=True)
class EditWeight:
    """The summed weight of the features that an edit changed, per budget and prompt; sign kept, NaN where undefined."""

    paper: Float[Tensor, "budget prompt"]
    centred: Float[Tensor, "budget prompt"]


def feature_weights(
    f: Float[Tensor, "prompt d_sae"], directions: Float[Tensor, "d_sae d_in"], mean: Float[Tensor, " d_sae"]
) -> FeatureWeights:
    """``w_j = f_j d_j·c / ‖c‖²``, c the reconstruction less the offset: the paper's form. It sums to 1.

    The centred form, the one that scores, takes contributions and reconstruction less their train means,
    ``(f_j − E f_j) d_j·(c − E c) / ‖c − E c‖²``, so that a constant feature weighs nothing.

    A constant feature (10 along x) beside one along y that is on or off (mean ½): in the paper's form the second
    carries 4/104 of the reconstruction, centred it carries all of it:

    >>> w = feature_weights(torch.tensor([[10.0, 2.0]]), torch.eye(2), mean=torch.tensor([10.0, 1.0]))
    >>> w.paper.tolist()[0], w.centred.tolist()[0]
    ([0.961..., 0.038...], [0.0, 1.0])
    """
    active = f != 0
    return FeatureWeights(
        paper=_shares(f, directions, active),
        centred=_shares(f - mean, directions, active),
    )


def _shares(
    f: Float[Tensor, "prompt d_sae"], directions: Float[Tensor, "d_sae d_in"], active: Tensor
) -> Float[Tensor, "prompt d_sae"]:
    total = f @ directions
    square = total.square().sum(-1, keepdim=True)
    # What is left after cancellation is rounding, not a reconstruction.
    scale = f.square() @ directions.square().sum(-1, keepdim=True)
    square = torch.where(square > _RELATIVE_ZERO * scale, square, torch.nan)
    return (f * (total @ directions.T) * active) / square


def edit_weight(weights: FeatureWeights, changed: Int[Tensor, "prompt round"], budgets: Sequence[int]) -> EditWeight:
    """Sum the weights of the features changed in the first k rounds, for each budget k.

    ``changed`` holds one feature per round, or −1 where the round changed none on this side.

    >>> share = torch.tensor([[0.5, 0.3, -0.1]])
    >>> edit_weight(FeatureWeights(share, share), torch.tensor([[0, -1, 2]]), (1, 2, 3)).centred.flatten().tolist()
    [0.5, 0.5, 0.4...]
    """
    return EditWeight(_summed(weights.paper, changed, budgets), _summed(weights.centred, changed, budgets))


def _summed(
    weights: Float[Tensor, "prompt d_sae"], changed: Int[Tensor, "prompt round"], budgets: Sequence[int]
) -> Float[Tensor, "budget prompt"]:
    per_round = weights.gather(1, changed.clamp_min(0)).masked_fill(changed < 0, 0.0)
    undefined = weights.isnan().any(1)  # also where nothing was changed: 0 of nothing is no share
    sums = torch.stack([per_round[:, :budget].sum(1) for budget in budgets])
    return sums.masked_fill(undefined, torch.nan)
