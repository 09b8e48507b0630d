"""How far an edited activation stays from the counterfactual one (METHOD §6; the paper, §4.2)."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

__all__ = ["EditDistance", "edit_distance"]


@dataclass(frozen=True)
class EditDistance:
    """Distances per prompt, in the activation's units; the relative distance is the ratio of their means."""

    absolute: Float[Tensor, "*edit prompt"]
    """``‖a_edit − a_cf‖₂``"""
    unedited: Float[Tensor, " prompt"]
    """``‖a_s − a_cf‖₂``: how far there was to go."""

    @property
    def relative(self) -> Float[Tensor, "*edit"]:
        """Mean distance left / mean distance to go (a ratio of means: some prompts have nowhere to go)."""
        return self.absolute.mean(-1) / self.unedited.mean()


def edit_distance(
    edited: Float[Tensor, "*edit prompt d_in"],
    a_s: Float[Tensor, "prompt d_in"],
    a_t: Float[Tensor, "prompt d_in"],
) -> EditDistance:
    """Compare edits of one site with the counterfactual activation there.

    An edit that goes 1 of the 5 units along the way leaves 4:

    >>> import torch
    >>> distance = edit_distance(torch.tensor([[0.6, 0.8]]), torch.zeros(1, 2), torch.tensor([[3.0, 4.0]]))
    >>> round(distance.absolute.item(), 4), distance.unedited.item(), round(distance.relative.item(), 4)
    (4.0, 5.0, 0.8)
    """
    return EditDistance((edited - a_t).norm(dim=-1), (a_s - a_t).norm(dim=-1))
