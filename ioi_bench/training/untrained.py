"""A planned run as if it were trained: its SAEs before their first step, to measure work on them ahead of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ioi_bench.dictionaries.architectures import Architecture
from ioi_bench.training.programs import program
from ioi_bench.training.recipe import Recipe
from ioi_bench.training.runs import Member, Run

__all__ = ["UntrainedRun"]


class UntrainedRun:
    """What selection reads of a run, of random weights.

    Args:
        run: that is planned.
        members: only these of it.
        checkpoints: only these; all are alike but for their random weights.
    """

    def __init__(
        self, run: Run, members: Sequence[Member] | None = None, checkpoints: Sequence[int] | None = None
    ) -> None:
        self._run = run
        self._widths = {member: chunk.d_in for chunk in run.chunks for member in chunk.members}
        self.members = run.members if members is None else tuple(members)
        self.checkpoints = run.checkpoints if checkpoints is None else tuple(checkpoints)

    @property
    def recipe(self) -> Recipe:
        """The run's."""
        return self._run.recipe

    @property
    def provenance(self) -> Mapping[str, Any]:
        """The run's."""
        return self._run.provenance

    def dictionary(self, member: Member, epoch: int) -> Architecture:
        """Before its first step; of every epoch other weights."""
        cls, generator = program(member.variant), torch.Generator().manual_seed(epoch)
        d_in = self._widths[member]
        made = cls(torch.tensor([member.sparsity]), d_in, self.recipe.d_sae, 1)
        made.initialise(0, torch.zeros(d_in), generator)
        weights = {name: value[0].clone() for name, value in made.parameters.items()}
        return cls.export(weights, member.sparsity, self._run.scale(member.site))
