"""Edit accuracy: does the model say what it says under the true counterfactual activations? (METHOD §6)"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

__all__ = ["EditAccuracy", "edit_accuracy"]


@dataclass(frozen=True)
class EditAccuracy:
    """Agreement with the truth-patched run, per prompt."""

    vocabulary: Bool[Tensor, "*edit prompt"]
    """The argmax over the whole vocabulary is the same token."""
    names: Bool[Tensor, "*edit prompt"]
    """The same, with the choice limited to IO, S and the counterfactual name."""


def edit_accuracy(
    logits: Float[Tensor, "*edit prompt vocab"],
    truth: Float[Tensor, "prompt vocab"],
    names: Int[Tensor, "prompt name"],
) -> EditAccuracy:
    """Compare edited runs with the truth-patched run, at END (the paper, §4.2; METHOD §6).

    Args:
        logits: of the edited run(s).
        truth: under the ground-truth patch: true counterfactual activations at the same sites.
        names: the tokens of IO, S and the counterfactual name(s); a token may be repeated where there is none.

    Two prompts over three tokens; the edit is right in both among the names, and in the first over the vocabulary:

    >>> import torch
    >>> truth = torch.tensor([[3.0, 1.0, 0.0], [0.0, 2.0, 1.0]])
    >>> edited = torch.tensor([[2.0, 1.0, 0.0], [0.0, 2.0, 9.0]])
    >>> accuracy = edit_accuracy(edited, truth, torch.tensor([[0, 1], [0, 1]]))
    >>> accuracy.vocabulary.tolist(), accuracy.names.tolist()
    ([True, False], [True, True])
    """
    return EditAccuracy(
        vocabulary=logits.argmax(-1) == truth.argmax(-1),
        names=_choice(logits, names) == _choice(truth, names),
    )


def _choice(
    logits: Float[Tensor, "*edit prompt vocab"], names: Int[Tensor, "prompt name"]
) -> Int[Tensor, "*edit prompt"]:
    # Tokens are compared, not places in the list, so that a repeated token cannot split a tie.
    candidates = names.expand(*logits.shape[:-1], names.shape[-1])
    best = logits.gather(-1, candidates).argmax(-1, keepdim=True)
    return candidates.gather(-1, best).squeeze(-1)
