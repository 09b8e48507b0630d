"""Intervals by bootstrap over prompts, clustered by base-name pair (METHOD §7).

A draw is a row of weights: how often each prompt was drawn. Row 0 is the sample itself (all ones), so that any
statistic of weighted means, computed on all rows at once, gives its value and its draws together. The same prompts and
seed give the same draws: what is computed from them is paired.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from ioi_bench.errors import InputError

if TYPE_CHECKING:
    from ioi_bench.task import Prompt

__all__ = ["DRAWS", "Bootstrap", "Interval", "interval", "name_pairs"]

DRAWS = 1000
_LOW, _HIGH = 0.025, 0.975


@dataclass(frozen=True)
class Interval:
    """A value and its 95 % percentile interval; NaN where it is not defined."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Bootstrap:
    """Weights of prompts: row 0 all ones, then one row a draw."""

    weights: Float[Tensor, "draw prompt"]

    @classmethod
    def of(cls, clusters: Sequence[object], *, draws: int = DRAWS, seed: int = 0) -> Bootstrap:
        """Draw clusters with replacement; prompts with equal ``clusters`` entries come and go together.

        Raises:
            InputError: no prompts.
        """
        if not clusters:
            raise InputError("a bootstrap needs at least one prompt")
        index = {cluster: i for i, cluster in enumerate(dict.fromkeys(clusters))}
        of_prompt = torch.tensor([index[cluster] for cluster in clusters])
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randint(len(index), (draws, len(index)), generator=generator)
        counts = torch.zeros(draws, len(index), dtype=torch.float64)
        counts.scatter_add_(1, drawn, torch.ones_like(drawn, dtype=torch.float64))
        sample = torch.ones(1, len(clusters), dtype=torch.float64)
        return cls(torch.cat([sample, counts[:, of_prompt]]))

    def mean(self, table: Float[Tensor, "prompt ..."]) -> Float[Tensor, "draw ..."]:
        """Weighted means over prompts, per draw; NaN entries are left out, and a column of nothing else is NaN.

        The sample's own mean, in row 0, leaves out the missing value:

        >>> boot = Bootstrap.of(["a", "b", "c"], draws=2)
        >>> boot.mean(torch.tensor([[1.0], [float("nan")], [2.0]]))[0].item()
        1.5
        """
        flat = table.reshape(len(table), -1).to("cpu", torch.float64)
        missing = flat.isnan()
        total = self.weights @ flat.masked_fill(missing, 0.0)
        count = self.weights @ (~missing).to(torch.float64)
        # A draw may miss every prompt in which the value is defined: 0 / 0 is NaN, as it should be.
        return (total / count).reshape(-1, *table.shape[1:])


def interval(draws: Float[Tensor, " draw"]) -> Interval:
    """The value in row 0 with the 2.5 % and 97.5 % quantiles of the rows below it."""
    value = draws[0].item()
    rest = draws[1:][~draws[1:].isnan()]
    if value != value or not len(rest):
        return Interval(value, float("nan"), float("nan"))
    low, high = torch.quantile(rest, torch.tensor([_LOW, _HIGH], dtype=rest.dtype)).tolist()
    return Interval(value, low, high)


def name_pairs(prompts: Sequence[Prompt]) -> list[tuple[str, str]]:
    """The cluster of each prompt: its two names, in no order.

    Whether Mary is given something by John or John by Mary, it is one pair.
    """
    return [(min(p.io, p.s), max(p.io, p.s)) for p in prompts]
