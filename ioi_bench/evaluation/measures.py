"""Plugins' metrics in an evaluation: further columns beside our own, for the suite's and the skyline's edits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from ioi_bench.errors import PluginError
from ioi_bench.plugins.records import MetricInputs, MetricRecord
from ioi_bench.sites import Cell, Site

if TYPE_CHECKING:
    from ioi_bench.evaluation.runs import CellBatch

__all__ = ["Measure", "Measures"]

Measure = Callable[[Tensor, Mapping[Site, Tensor]], Tensor]
"""Logits under an edit, ``[prompt, vocab]``, and what was written, to one row of measures a prompt."""


@dataclass(frozen=True)
class Measures:
    """Metrics by plugins.

    Attributes:
        asked: names of those whose failure ends the evaluation; another that fails is left empty, and said to be.
        failed: what went wrong, by metric; filled while the study runs.
    """

    metrics: tuple[MetricRecord, ...] = ()
    asked: frozenset[str] = frozenset()
    failed: dict[str, str] = field(default_factory=dict)

    def of(self, cell: Cell, batch: CellBatch, clean: Tensor, truth: Tensor) -> Measure | None:
        """The measures of one batch; None where there are none. ``clean`` and ``truth`` are logits."""
        if not self.metrics:
            return None

        def measure(logits: Tensor, written: Mapping[Site, Tensor]) -> Float[Tensor, "prompt metric"]:
            inputs = MetricInputs(
                cell=cell,
                edited_logits=logits.cpu(),
                clean_logits=clean.cpu(),
                counterfactual_logits=truth.cpu(),
                edited=written,
                clean=batch.a_s,
                counterfactual=batch.a_t,
                names=batch.names,
            )
            return torch.stack([self._values(metric, inputs) for metric in self.metrics], -1)

        return measure

    def _values(self, metric: MetricRecord, inputs: MetricInputs) -> Float[Tensor, " prompt"]:
        try:
            return metric.measure(inputs).detach().float().cpu()
        except PluginError as error:
            if metric.name in self.asked:
                raise
            self.failed[metric.name] = str(error)
            return torch.full((len(inputs.edited_logits),), torch.nan)
