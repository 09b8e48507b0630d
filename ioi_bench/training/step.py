"""One step of learning: gradients by hand, one fused Adam over all parameters, unit decoder rows (METHOD §8)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ioi_bench.training.programs import Batch, Figures, Program

__all__ = ["Step"]

BETAS, EPSILON = (0.9, 0.999), 1e-8


class Step:
    """Adam on a program's parameters.

    Attributes:
        moments: Adam's two, laid out like the parameters.
        count: steps done, a scalar on the program's device.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        flat = program.flat
        flat.grad = program.flat_gradient
        self._adam = torch.optim.Adam([flat], betas=BETAS, eps=EPSILON, fused=True)
        self.moments, self.count = (torch.zeros_like(flat), torch.zeros_like(flat)), torch.zeros((), device=flat.device)
        self._adam.state[flat] = {"step": self.count, "exp_avg": self.moments[0], "exp_avg_sq": self.moments[1]}

    @torch.no_grad()
    def __call__(self, batch: Batch, learning_rate: float) -> Figures:
        """Learn from one batch; its figures are those before the step."""
        figures = self.program.backward(batch)
        self.program.remove_parallel_gradient()
        self._adam.param_groups[0]["lr"] = learning_rate
        self._adam.step()
        self.program.normalise()
        return figures

    def saved(self) -> dict[str, Tensor]:
        """Copies of all that the next step depends on."""
        tensors = {"weights": self.program.flat, "first": self.moments[0], "second": self.moments[1]}
        tensors |= {"steps": self.count, **{f"state/{name}": value for name, value in self.program.state.items()}}
        return {name: value.cpu().clone() for name, value in tensors.items()}

    def restore(self, saved: Mapping[str, Tensor]) -> None:
        """Go on from what `saved` gave."""
        self.program.flat.copy_(saved["weights"])
        self.moments[0].copy_(saved["first"])
        self.moments[1].copy_(saved["second"])
        self.count.copy_(saved["steps"])
        for name, value in self.program.state.items():
            value.copy_(saved[f"state/{name}"])
