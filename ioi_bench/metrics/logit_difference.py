"""The logit difference, and how far an edit leaves it from the true one (METHOD §6)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["LogitDifferenceGap", "logit_difference", "logit_difference_gap"]


@dataclass(frozen=True)
class LogitDifferenceGap:
    """``|ΔLD|`` per prompt, in logits."""

    gap: Float[Tensor, "*edit prompt"]


def logit_difference(
    logits: Float[Tensor, "*edit prompt vocab"], io: Int[Tensor, " prompt"], s: Int[Tensor, " prompt"]
) -> Float[Tensor, "*edit prompt"]:
    """``logit(IO) − logit(S)`` at END, of the base prompt's own names (Wang et al. 2023, §2).

    >>> logits = torch.tensor([[5.0, 2.0, 0.0]])
    >>> logit_difference(logits, torch.tensor([0]), torch.tensor([1])).tolist()
    [3.0]
    """
    prompt = torch.arange(logits.shape[-2], device=logits.device)
    return logits[..., prompt, io] - logits[..., prompt, s]


def logit_difference_gap(
    logits: Float[Tensor, "*edit prompt vocab"],
    truth: Float[Tensor, "prompt vocab"],
    io: Int[Tensor, " prompt"],
    s: Int[Tensor, " prompt"],
) -> LogitDifferenceGap:
    """``|LD(edit) − LD(truth-patched)|``: 0 when the edit moves the logit difference as the truth does.

    The truth turns a difference of 3 into one of −3; the edit gets only to −1:

    >>> edited, truth = torch.tensor([[0.0, 1.0]]), torch.tensor([[0.0, 3.0]])
    >>> logit_difference_gap(edited, truth, torch.tensor([0]), torch.tensor([1])).gap.tolist()
    [2.0]
    """
    return LogitDifferenceGap((logit_difference(logits, io, s) - logit_difference(truth, io, s)).abs())
