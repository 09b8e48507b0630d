"""How often the card's intervals hold what is true, over simulated benchmarks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ioi_bench.evaluation.bootstrap import DRAWS, Bootstrap, intervals
from ioi_bench.evaluation.summary import CellDraws, cell_draws, score_draws
from ioi_bench.uncertainty.simulated import A, B, Benchmark, Condition, simulate

__all__ = ["Coverage", "figure_draws"]


@dataclass(frozen=True)
class Coverage:
    """Of one figure under one condition.

    Attributes:
        held: the share of simulated benchmarks in which the interval held the truth for the track's own names.
        beyond: the share in which it held the truth over all names that there could be.
        bias: mean of value less truth, in units of the value's own standard deviation around it.
        half_width: mean half-width.
    """

    condition: str
    prompts: int
    figure: str
    benchmarks: int
    held: float
    beyond: float
    bias: float
    half_width: float
    below: float = 0.0
    above: float = 0.0


def figure_draws(cells: tuple[CellDraws, ...]) -> dict[str, Tensor]:
    """What a card shows of a first cell, and the scores of both dictionaries: ``[draw]`` each."""
    first = cells[0]
    found = {}
    for i, (method, budget) in enumerate(first.keys):
        if method == A:
            found[f"accuracy, budget {budget}"] = first.means[:, i, 0]
            found[f"weight, budget {budget}"] = first.means[:, i, 4]
            found[f"v, budget {budget}"] = first.values[:, i]
    scores = {method: [score_draws(draws, method) for draws in cells] for method in (A, B)}
    found["S"] = scores[A][0].s
    found["score of a cell"] = scores[A][0].score
    ioi = {method: torch.stack([one.score for one in scores[method]]).mean(0) for method in (A, B)}
    found["IOI score"] = ioi[A]
    found["paired difference"] = ioi[A] - ioi[B]
    return found
