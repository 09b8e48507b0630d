"""The figures that people rank by, as one number a card each; and their draws over prompts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ioi_bench.evaluation import faithful
from ioi_bench.evaluation.card import Card, Figure
from ioi_bench.evaluation.prompts_reading import read_prompts
from ioi_bench.evaluation.recompute import layout_of, scope_of
from ioi_bench.evaluation.score import HEADLINE_METHOD, SCORED_METHODS
from ioi_bench.evaluation.summary import CellDraws, cell_draws, score_draws
from ioi_bench.metrics import ld_recovered, necessity, sufficiency

if TYPE_CHECKING:
    from ioi_bench.lm.circuit import Circuit
    from ioi_bench.task import Split

__all__ = ["BUDGET", "F1", "METRICS", "Metric", "figures_of", "metric_draws"]

BUDGET = 2
"""At which edits are compared, as in the post."""

F1 = 0.8
"""The threshold at which a feature counts as explained in tables."""


@dataclass(frozen=True)
class Metric:
    """A figure that people rank by.

    Attributes:
        words: what the report calls it.
        sign: 1 where higher is better, −1 where lower is, as the card says or, for L0, as tables are read.
    """

    words: str
    sign: int = 1


METRICS: dict[str, Metric] = {
    **{f"score.{method}": Metric(f"IOI score, {method}") for method in SCORED_METHODS},
    "s": Metric("S, mean over cells"),
    "accuracy": Metric(f"edit accuracy, k = {BUDGET}"),
    "weight": Metric(f"weight of the edit, k = {BUDGET}", -1),
    "distance": Metric(f"edit distance, k = {BUDGET}", -1),
    "ld_recovered": Metric("LD recovered"),
    "sufficiency": Metric("sufficiency"),
    "necessity": Metric("necessity"),
    "l0": Metric("L0", -1),
    "fvu": Metric("FVU", -1),
    "explained": Metric(f"explained share, F1 ≥ {F1}"),
    "cosine.codes": Metric("cosine, codes → features"),
    "cosine.features": Metric("cosine, features → codes"),
}
"""Every figure that is audited, by the name under which its verdict is shipped. Means are over ranked headline cells;
edits are those of the headline's method."""


def figures_of(card: Card) -> dict[str, float]:
    """All figures of `METRICS`, and ``score.CELL`` of each ranked cell; NaN where the card has none."""
    ranked = [cell for cell in card.cells if cell.headline and cell.ranked]
    edits = [cell.edit(HEADLINE_METHOD, BUDGET) for cell in ranked]
    sections = [(card.cross_section(cell.cross_section), cell.attribute) for cell in ranked]
    cosines = [section.geometry[attribute] for section, attribute in sections]
    found = {f"score.{method}": _value(headline.score) for method, headline in card.headline.items()}
    found |= {
        "s": _mean(cell.scores[HEADLINE_METHOD].s for cell in ranked),
        "accuracy": _mean(edit.accuracy for edit in edits),
        "weight": _mean(edit.weight for edit in edits),
        "distance": _mean(edit.distance_relative for edit in edits),
    }
    for name in ("ld_recovered", "sufficiency", "necessity", "l0", "fvu"):
        found[name] = _mean(getattr(cell.faithfulness, name) for cell in ranked)
    found |= {
        "explained": _mean(section.at(F1).share for section, _ in sections),
        "cosine.codes": _mean(one.codes_to_features for one in cosines),
        "cosine.features": _mean(one.features_to_codes for one in cosines),
    }
    missing = {name: float("nan") for name in METRICS if name not in found}
    return found | missing | {f"score.{cell.name}": _value(cell.scores[HEADLINE_METHOD].score) for cell in ranked}


def _value(figure: Figure) -> float:
    return float("nan") if figure.value is None else figure.value


def _mean(figures: Iterable[Figure]) -> float:
    values = [_value(figure) for figure in figures]
    return float(np.mean(values)) if values else float("nan")


def metric_draws(folder: Path, card: Card, circuit: Circuit, split: Split) -> dict[str, np.ndarray]:
    """The same figures in the sample (row 0) and in every draw over prompts, as `evaluate` drew them.

    What comes from train alone (explained share, cosines) has no draws, and is left out.

    Args:
        folder: of the card and its ``prompts.parquet``.
        card, circuit, split: what was evaluated.

    Raises:
        InputError: the file is damaged, or of other prompts.
    """
    scope = scope_of(card, circuit, split)
    tables = read_prompts(folder / "prompts.parquet", layout_of(card, scope), split.prompts)
    ranked = [cell for cell in scope.cells if cell in scope.ranked and scope.ranked[cell].ranked]
    drawn = {cell: cell_draws(tables.cells[cell], scope.boot) for cell in ranked}
    found: dict[str, list[Tensor]] = {}
    for cell, draws in drawn.items():
        scores = {method: score_draws(draws, method) for method in scope.scored_methods}
        own = {f"score.{method}": one.score for method, one in scores.items()}
        own |= {"s": scores[HEADLINE_METHOD].s} | _edit_draws(draws)
        table = tables.faithful[cell.cross_section]
        own |= _faithful_draws(scope.boot.mean(table.runs), scope.boot.mean(table.parts))
        for name, one in own.items():
            found.setdefault(name, []).append(one)
    return {name: torch.stack(some).mean(0).numpy() for name, some in found.items()}


def _edit_draws(draws: CellDraws) -> dict[str, Tensor]:
    key = (HEADLINE_METHOD, BUDGET)
    return {
        "accuracy": draws.column(key, "accuracy"),
        "weight": draws.column(key, "weight"),
        "distance": draws.column(key, "distance") / draws.column(key, "distance_unedited"),
    }


def _faithful_draws(runs: Tensor, parts: Tensor) -> dict[str, Tensor]:
    run = dict(zip(faithful.COLUMNS, runs.unbind(1), strict=True))
    active, residual, variance = parts.unbind(-1)
    return {
        "ld_recovered": ld_recovered(run["ld_sae"], run["ld_mean"], run["ld_clean"]).recovered,
        "sufficiency": sufficiency(run["ld_sae"], run["ld_clean"]).score,
        "necessity": necessity(run["ld_without"], run["ld_mean"], run["ld_clean"]).score,
        "l0": active.mean(1),
        "fvu": (residual / variance).mean(1),
    }
