"""How often the card's intervals hold what is true, over simulated benchmarks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import torch
from jaxtyping import Float
from torch import Tensor

from ioi_bench.evaluation.bootstrap import DRAWS, Bootstrap, intervals, share_intervals
from ioi_bench.evaluation.runs import COLUMNS
from ioi_bench.evaluation.study import CellTable
from ioi_bench.evaluation.summary import CellDraws, cell_draws, score_draws
from ioi_bench.uncertainty.compare import names_factor
from ioi_bench.uncertainty.simulated import A, B, Benchmark, Condition, simulate

__all__ = ["BENCHMARKS", "LEAST", "MOST", "Coverage", "coverage"]

BENCHMARKS = 500
LEAST, MOST = 0.92, 0.98
"""What the share of intervals that hold the truth must lie between."""

_ACCURACY, _WEIGHT = COLUMNS.index("accuracy"), COLUMNS.index("weight")
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Coverage:
    """Of one figure under one condition.

    Attributes:
        held: share of the benchmarks in which the interval held the truth for the track's own names.
        below, above: shares in which the truth lay below the interval, and above it.
        plain: share in which the quantiles of the draws alone held it.
        bias: mean of the value less the truth, in standard deviations of the value.
        others: share in which the interval of an IOI score, made wider for it, held the truth over all names that
            there could be; None for other figures.
        others_plain: share in which the interval as it is held that.
    """

    condition: str
    prompts: int
    figure: str
    benchmarks: int
    held: float
    below: float
    above: float
    plain: float
    bias: float
    others: float | None
    others_plain: float

    @property
    def error(self) -> float:
        """Standard error of ``held``: binomial, over the benchmarks, for an interval that holds 95 %."""
        return sqrt(0.95 * 0.05 / self.benchmarks)

    @property
    def sound(self) -> bool:
        """Whether ``held`` lies where it must."""
        return LEAST <= self.held <= MOST


def coverage(
    condition: Condition,
    *,
    prompts: int,
    benchmarks: int = BENCHMARKS,
    draws: int = DRAWS,
    others: bool = True,
    progress: Callable[[int], None] | None = None,
) -> tuple[Coverage, ...]:
    """Simulate benchmarks, draw the bootstrap of each as a card does, and count.

    Args:
        condition: what is true.
        prompts: in each benchmark.
        benchmarks: how many; the i-th is drawn from seed i.
        draws: of the bootstrap.
        others: also draw by IO and by S names, for the wider interval of IOI scores (three times the work).
        progress: called with the number of benchmarks that are done.
    """
    found: list[Tensor] = []
    for seed in range(benchmarks):
        one = simulate(condition, prompts=prompts, seed=seed)
        found.append(_measured(one, draws, others))
        if progress is not None:
            progress(seed + 1)
    names = tuple(_figures(_draws(one.truth, _SAMPLE)))
    return tuple(
        _counted(condition, prompts, name, values, others)
        for name, values in zip(names, torch.stack(found, 1), strict=True)
    )


_SAMPLE = Bootstrap(torch.ones(1, 1, dtype=torch.float64))


def _draws(tables: Sequence[CellTable], boot: Bootstrap) -> tuple[CellDraws, ...]:
    return tuple(cell_draws(table, boot) for table in tables)


def _figures(cells: Sequence[CellDraws]) -> Mapping[str, Float[Tensor, " draw"]]:
    """What a card shows of a first cell, the IOI score, and the paired difference of two dictionaries."""
    first, found = cells[0], {}
    for i, (method, budget) in enumerate(first.keys):
        if method == A:
            found[f"accuracy, budget {budget}"] = first.means[:, i, _ACCURACY]
            found[f"weight of the edit, budget {budget}"] = first.means[:, i, _WEIGHT]
            found[f"v, budget {budget}"] = first.values[:, i]
    scores = {method: [score_draws(draws, method) for draws in cells] for method in (A, B)}
    found["S"], found["score of a cell"] = scores[A][0].s, scores[A][0].score
    ioi = {method: torch.stack([one.score for one in scores[method]]).mean(0) for method in (A, B)}
    return found | {"IOI score": ioi[A], "paired difference": ioi[A] - ioi[B]}


def _measured(one: Benchmark, draws: int, others: bool) -> Float[Tensor, "figure 8"]:
    """Of every figure: value, low, high, both quantiles, the two truths, and how much wider the names make it."""
    drawn = _figures(_draws(one.tables, Bootstrap.of(one.pairs, draws=draws)))
    truth, beyond = (_figures(_draws(tables, _SAMPLE)) for tables in (one.truth, one.beyond))
    wider = dict.fromkeys(drawn, float("nan"))
    if others:
        by_name = [_figures(_draws(one.tables, Bootstrap.of(x.tolist(), draws=draws))) for x in (one.io, one.s)]
        for name in ("IOI score", "paired difference"):
            pair, io, s = (found[name][1:].var().item() for found in (drawn, *by_name))
            wider[name] = names_factor(pair, io, s)
    rows = []
    for name, of_draws in drawn.items():
        found = share_intervals(of_draws, len(one.io)) if name.startswith("accuracy") else intervals(of_draws)
        plain = torch.quantile(of_draws[1:], torch.tensor([0.025, 0.975], dtype=of_draws.dtype))
        rows.append([*found.tolist(), *plain.tolist(), truth[name].item(), beyond[name].item(), wider[name]])
    return torch.tensor(rows, dtype=torch.float64)


def _counted(condition: Condition, prompts: int, name: str, rows: Float[Tensor, "benchmark 8"], all_: bool) -> Coverage:
    value, low, high, plain_low, plain_high, truth, beyond, wider = rows.T
    below, above = truth < low - _ROUNDING, truth > high + _ROUNDING
    wide_low, wide_high = (value + wider * (end - value) for end in (low, high))
    error = value - truth
    return Coverage(
        condition=condition.name,
        prompts=prompts,
        figure=name,
        benchmarks=len(rows),
        held=_share(~below & ~above),
        below=_share(below),
        above=_share(above),
        plain=_share((plain_low <= truth + _ROUNDING) & (truth <= plain_high + _ROUNDING)),
        bias=(error.mean() / error.std().clamp_min(_ROUNDING)).item(),
        others=_share((wide_low <= beyond) & (beyond <= wide_high)) if all_ and not wider.isnan().any() else None,
        others_plain=_share((low <= beyond) & (beyond <= high)),
    )


def _share(of: Tensor) -> float:
    return of.double().mean().item()
