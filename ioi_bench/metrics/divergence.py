"""Kullback–Leibler divergence between next-token distributions (METHOD §6)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Divergence", "divergence"]


@dataclass(frozen=True)
class Divergence:
    """``KL(reference ‖ run)`` per prompt, in nats."""

    nats: Float[Tensor, "*edit prompt"]


def divergence(logits: Float[Tensor, "*edit prompt vocab"], reference: Float[Tensor, "prompt vocab"]) -> Divergence:
    """``Σ p log(p / q)``, p the reference's distribution (truth-patched, or clean) and q the run's.

    A fair coin judged by one that says 3:1 costs ½ log(4/3):

    >>> fair, biased = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.75, 0.25]]).log()
    >>> divergence(biased, fair).nats.tolist()[0]  # 0.5 log(0.5/0.75) + 0.5 log(0.5/0.25)
    0.14384...
    """
    log_p = reference.log_softmax(-1)
    p = log_p.exp()
    # Σ p log q = p·logits − log Z: one pass over the (many) edited logits, and no copy of them.
    cross = logits.logsumexp(-1) - torch.einsum("...pv,pv->...p", logits, p)
    # Rounding can take the sum a hair below 0, which no divergence is.
    return Divergence((cross + (p * log_p).sum(-1)).clamp_min(0))
