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

__all__ = ["DRAWS", "Bootstrap", "Interval", "interval", "intervals", "name_pairs", "share_intervals"]

DRAWS = 1000
_LOW, _HIGH = 0.025, 0.975


@dataclass(frozen=True)
class Interval:
    """A value and its 95 % interval; NaN where it is not defined."""

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
        count = self.weights.sum(1, keepdim=True).expand_as(total).clone()
        partly = missing.any(0)
        count[:, partly] = self.weights @ (~missing[:, partly]).to(torch.float64)
        # A draw may miss every prompt in which the value is defined: 0 / 0 is NaN, as it should be.
        return (total / count).view(len(self.weights), *table.shape[1:])

    def mean_by(
        self, table: Float[Tensor, "prompt ..."], amount: Float[Tensor, "prompt ..."]
    ) -> Float[Tensor, "draw ..."]:
        """Means in which each entry counts by its ``amount``, at least 0; plain ones where all amounts are 0.

        >>> boot = Bootstrap.of(["a", "b"], draws=2)
        >>> boot.mean_by(torch.tensor([1.0, 0.5]), torch.tensor([3.0, 1.0]))[0].item()
        0.875
        """
        amount = amount.to("cpu", torch.float64).masked_fill(table.isnan(), torch.nan)
        total = self.mean(amount)
        return torch.where(total > 0, self.mean(table.to("cpu", torch.float64) * amount) / total, self.mean(table))


def intervals(draws: Float[Tensor, "draw ..."]) -> Float[Tensor, "3 ..."]:
    """Value, low and high of every column: row 0, and the 2.5 % and 97.5 % quantiles of the rows below it.

    Where a statistic bends (a maximum, a clip), it is biased, and its draws are biased once more in the same way; so
    the limit on the side that the draws have left goes out by twice their bias, the mean of the draws less the value.
    What that is worth is measured in docs/uncertainty.md. Undefined draws are left out; an undefined value has no
    interval.
    """
    value, below = draws[0], draws[1:]
    low, high = torch.nanquantile(below, torch.tensor([_LOW, _HIGH], dtype=draws.dtype), dim=0)
    bias = below.nanmean(0) - value
    ends = torch.stack([low - 2 * bias.clamp_min(0), high - 2 * bias.clamp_max(0)])
    return torch.cat([value[None], ends.masked_fill(value.isnan(), torch.nan)])


def share_intervals(draws: Float[Tensor, "draw ..."], n: int) -> Float[Tensor, "3 ..."]:
    """The same for shares of ``n`` prompts, such as accuracies: intervals that hold near 0 and 1, too.

    Jeffreys' interval of a binomial share (Brown, Cai & DasGupta 2001, "Interval estimation for a binomial
    proportion", §4.1.1), over the effective number of prompts ``p (1 − p) / Var(p)``, with the draws' variance (Korn &
    Graubard 1998, "Confidence intervals for proportions with small expected number of positive counts estimated from
    survey data"): quantiles of draws cannot leave a share of 1, and are too narrow near it.

    A thousand prompts, all of them right:

    >>> share_intervals(torch.ones(3, dtype=torch.float64), 1000).tolist()
    [1.0, 0.997..., 1.0]
    """
    from scipy.special import betaincinv

    value, variance = draws[0], draws[1:].var(0)
    spread = (value * (1 - value)).clamp_min(0)
    effective = torch.where((variance > 0) & (spread > 0), spread / variance, float(n))
    right, wrong = value * effective + 0.5, (1 - value) * effective + 0.5
    low, high = (torch.as_tensor(betaincinv(right.numpy(), wrong.numpy(), level)) for level in (_LOW, _HIGH))
    low, high = low.masked_fill(value <= 0, 0.0), high.masked_fill(value >= 1, 1.0)
    return torch.stack([value, low, high])


def interval(draws: Float[Tensor, " draw"]) -> Interval:
    """The same for one column.

    >>> interval(torch.tensor([5.0, 4.0, 6.0]))
    Interval(value=5.0, low=4.05..., high=5.94...)
    """
    return Interval(*intervals(draws).tolist())


def name_pairs(prompts: Sequence[Prompt]) -> list[tuple[str, str]]:
    """The cluster of each prompt: its two names, in no order.

    Whether Mary is given something by John or John by Mary, it is one pair.
    """
    return [(min(p.io, p.s), max(p.io, p.s)) for p in prompts]
