"""What a dictionary's codes are like at one site: L0, dead features, unexplained variance (METHOD §6)."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["CodeStatistics", "code_statistics"]


@dataclass(frozen=True)
class CodeStatistics:
    """Per-prompt parts, from which means and intervals are drawn."""

    active: Float[Tensor, " prompt"]
    """How many features are not 0; L0 is the mean."""
    dead: Bool[Tensor, " d_sae"]
    """Features that no train prompt activates."""
    residual: Float[Tensor, " prompt"]
    """``‖a − â‖²``"""
    variance: Float[Tensor, " prompt"]
    """``‖a − E[a]‖²``, about the train mean."""

    @property
    def l0(self) -> float:
        """Mean number of active features."""
        return self.active.mean().item()

    @property
    def dead_share(self) -> float:
        """Share of features that are dead."""
        return self.dead.float().mean().item()

    @property
    def fvu(self) -> float:
        """Fraction of variance unexplained: 0 for a perfect reconstruction, 1 for the train mean."""
        return (self.residual.sum() / self.variance.sum()).item()


def code_statistics(
    f: Float[Tensor, "prompt d_sae"],
    reconstruction: Float[Tensor, "prompt d_in"],
    a: Float[Tensor, "prompt d_in"],
    train_mean: Float[Tensor, " d_in"],
    ever_active: Bool[Tensor, " d_sae"],
) -> CodeStatistics:
    """Judge codes and reconstructions of activations ``a``; ``ever_active`` says which features fire on train.

    The reconstruction misses 1 of the first prompt's 4 (squared) and nothing of the second's:

    >>> import torch
    >>> a, f = torch.tensor([[2.0, 0.0], [-2.0, 0.0]]), torch.tensor([[1.0, 0.0], [1.0, -3.0]])
    >>> reconstruction, fires = torch.tensor([[1.0, 0.0], [-2.0, 0.0]]), torch.tensor([True, False])
    >>> stats = code_statistics(f, reconstruction, a, torch.zeros(2), fires)
    >>> stats.l0, stats.dead_share, stats.fvu
    (1.5, 0.5, 0.125)
    """
    return CodeStatistics(
        active=(f != 0).sum(-1).to(a.dtype),
        dead=~ever_active,
        residual=(a - reconstruction).square().sum(-1),
        variance=(a - train_mean).square().sum(-1),
    )
