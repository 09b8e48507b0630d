"""How much of the counterfactual's effect an edit has (docs/method-changes.md; ours)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["effect"]

_LEAST = 0.5


def effect(
    logits: Float[Tensor, "*edit prompt vocab"],
    clean: Float[Tensor, "prompt vocab"],
    truth: Float[Tensor, "prompt vocab"],
    names: Int[Tensor, "prompt name"],
) -> Float[Tensor, "*edit prompt"]:
    """How far the names' logits go on the way from the clean run to the truth-patched one, from ½ to 1.

    ``(l − l_clean)·(l_truth − l_clean) / ‖l_truth − l_clean‖²``, l the logits of ``names`` less their mean. The answer
    turns half-way: an edit of half the size is as right as the whole, and no finer. So weights are per effect. Beyond 1
    there is nothing to gain, and below ½ the answer is mostly wrong already. 1 where the truth has no effect.

    The edit raises the second name by half of what the truth does:

    >>> clean, truth = torch.tensor([[2.0, 0.0]]), torch.tensor([[2.0, 4.0]])
    >>> effect(torch.tensor([[2.0, 2.0]]), clean, truth, torch.tensor([[0, 1]])).tolist()
    [0.5]
    """
    start, end, found = (_centred(some, names) for some in (clean, truth, logits))
    way = end - start
    length = way.square().sum(-1)
    along = ((found - start) * way).sum(-1)
    return torch.where(length > 0, along / torch.where(length > 0, length, 1.0), 1.0).clamp(_LEAST, 1.0)


def _centred(logits: Tensor, names: Tensor) -> Tensor:
    found = logits.gather(-1, names.expand(*logits.shape[:-1], names.shape[-1]))
    return found - found.mean(-1, keepdim=True)
