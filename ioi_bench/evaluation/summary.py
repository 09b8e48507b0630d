"""From tables of prompts to the figures of a card: means, intervals, values and scores (METHOD §6, §7)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from ioi_bench.evaluation import faithful
from ioi_bench.evaluation.bootstrap import Bootstrap, interval, intervals, share_intervals
from ioi_bench.evaluation.card import (
    CellScore,
    Direction,
    EditFigures,
    Faithfulness,
    Figure,
    HeadlineScore,
    NullFigures,
)
from ioi_bench.evaluation.runs import COLUMNS
from ioi_bench.evaluation.score import cell_value, edit_value, null_normalised
from ioi_bench.evaluation.study import CellTable, FaithfulTable, Key
from ioi_bench.metrics import ld_recovered, necessity, sufficiency
from ioi_bench.plugins.records import MetricRecord

__all__ = [
    "CellDraws",
    "ScoreDraws",
    "cell_draws",
    "cell_scores",
    "edit_figures",
    "faithfulness",
    "figure",
    "headline_score",
    "score_draws",
]

NO_EDIT, SKYLINE = ("no-edit", 0), ("skyline", 1)

_SHOWN: dict[str, Direction] = {
    "accuracy": "higher",
    "accuracy_names": "higher",
    "ld_gap": "lower",
    "kl": "lower",
    "weight": "lower",
    "weight_added": "lower",
    "weight_removed_paper": "lower",
    "weight_added_paper": "lower",
    "distance": "lower",
    "distance_relative": "lower",
    "value": "higher",
}
_SHARES = 2  # the first of them


def figure(draws: Float[Tensor, " draw"], direction: Direction = "none") -> Figure:
    """The figure of a statistic's draws (row 0 is its value)."""
    found = interval(draws)
    return Figure(value=found.value, low=found.low, high=found.high, direction=direction)


@dataclass(frozen=True)
class CellDraws:
    """Means over prompts of a cell's table, per draw, with the value v of every edit.

    Attributes:
        keys: the edits.
        means: columns `COLUMNS`, then plugins' metrics.
        values: ``v`` of METHOD §7.
        null_keys: the edits that random dictionaries were given.
        null_means: columns `COLUMNS` for them.
        null_values: and their values.
        anchor_means, anchor_values: the same of what is made from the suite; None where results were read from a file.
    """

    keys: tuple[Key, ...]
    means: Float[Tensor, "draw edit column"]
    values: Float[Tensor, "draw edit"]
    null_keys: tuple[Key, ...]
    null_means: Float[Tensor, "draw seed edit column"]
    null_values: Float[Tensor, "draw seed edit"]
    anchor_means: Float[Tensor, "draw anchor edit column"] | None = None
    anchor_values: Float[Tensor, "draw anchor edit"] | None = None

    def column(self, key: Key, name: str) -> Float[Tensor, " draw"]:
        """One column of one edit."""
        return self.means[:, self.keys.index(key), COLUMNS.index(name)]

    @property
    def gap(self) -> Float[Tensor, " draw"]:
        """How much more often than no edit the skyline is right."""
        return self.column(SKYLINE, "accuracy") - self.column(NO_EDIT, "accuracy")


def cell_draws(table: CellTable, boot: Bootstrap) -> CellDraws:
    """Draw the means of a cell's table, and value its edits."""
    means, null_means = _means(table.edits, boot), _means(table.null, boot)
    at, accuracy, weight = table.keys.index, COLUMNS.index("accuracy"), COLUMNS.index("weight")
    no_edit, skyline = means[:, at(NO_EDIT), accuracy], means[:, at(SKYLINE), accuracy]
    skyline_weight = means[:, at(SKYLINE), weight]

    def valued(some: Tensor) -> Tensor:
        shape = (-1, *[1] * (some.ndim - 2))
        return edit_value(
            some[..., accuracy],
            some[..., weight],
            no_edit=no_edit.view(shape),
            skyline=skyline.view(shape),
            skyline_weight=skyline_weight.view(shape),
        )

    found = CellDraws(table.keys, means, valued(means), table.null_keys, null_means, valued(null_means))
    if table.anchors is None:
        return found
    anchors = _means(table.anchors, boot)
    return replace(found, anchor_means=anchors, anchor_values=valued(anchors))


def _means(some: Float[Tensor, "prompt ... column"], boot: Bootstrap) -> Float[Tensor, "draw ... column"]:
    """Means over prompts; that of the weight is by how far each was moved.

    Prompts that an edit leaves alone must not pay for those that it moves as a whole.
    """
    means = boot.mean(some)
    weight, moved = (COLUMNS.index(name) for name in ("weight", "moved"))
    if some.shape[-1] > moved and some.numel():
        means[..., weight] = boot.mean_by(some[..., weight], some[..., moved])
    return means


def edit_figures(
    draws: CellDraws, table: CellTable, n_sites: int, metrics: Sequence[MetricRecord] = ()
) -> dict[Key, EditFigures]:
    """The figures of every edit of a cell; the plugins' metrics are those that the table was made with."""
    column = {name: draws.means[..., i] for i, name in enumerate(COLUMNS)}
    column["distance_relative"] = column["distance"] / column["distance_unedited"]
    column["value"] = draws.values
    shown_columns = torch.stack([column[name] for name in _SHOWN], -1)
    shares = share_intervals(shown_columns[..., :_SHARES], len(table.edits))
    others = intervals(torch.cat([shown_columns[..., _SHARES:], draws.means[..., len(COLUMNS) :]], -1))
    found = torch.cat([shares, others], -1).permute(1, 2, 0).tolist()
    dropped = table.edits[..., COLUMNS.index("nan_share")].sum(0) * n_sites
    figures = {}
    for i, (method, budget) in enumerate(draws.keys):
        shown = {
            name: Figure(value=value, low=low, high=high, direction=direction)
            for (name, direction), (value, low, high) in zip(_SHOWN.items(), found[i][: len(_SHOWN)], strict=True)
        }
        measured = {
            metric.name: Figure(value=value, low=low, high=high, direction=metric.direction)
            for metric, (value, low, high) in zip(metrics, found[i][len(_SHOWN) :], strict=True)
        }
        figures[method, budget] = EditFigures(
            method=method,
            budget=budget,
            n_removed=column["n_removed"][0, i].item(),
            n_added=column["n_added"][0, i].item(),
            nan_dropped=round(dropped[i].item()),
            metrics=measured,
            **shown,
        )
    return figures


@dataclass(frozen=True)
class ScoreDraws:
    """S, S_null and the score of a cell under one method, per draw."""

    s: Float[Tensor, " draw"]
    s_null: Float[Tensor, " draw"]
    score: Float[Tensor, " draw"]


def score_draws(draws: CellDraws, method: str) -> ScoreDraws:
    """The score of a cell under a method, against the nulls that the cell was run with."""
    s = cell_value(*_of_method(draws.values, draws.keys, method))
    s_null = cell_value(*_of_method(draws.null_values, draws.null_keys, method)).mean(1)
    return ScoreDraws(s, s_null, null_normalised(s, s_null))


def _of_method(
    values: Float[Tensor, "*draw edit"], keys: Sequence[Key], method: str
) -> tuple[Float[Tensor, "*draw budget"], list[int]]:
    at = [i for i, key in enumerate(keys) if key[0] == method]
    return values[..., at], [keys[i][1] for i in at]


def cell_scores(draws: CellDraws, methods: Iterable[str]) -> tuple[dict[str, CellScore], dict[str, ScoreDraws]]:
    """Scores by method, as figures and as draws; none for a cell without nulls."""
    if not draws.null_keys:
        return {}, {}
    scores = {method: score_draws(draws, method) for method in methods}
    shown = {
        method: CellScore(
            s=figure(found.s, "higher"),
            s_null=figure(found.s_null),
            score=figure(found.score, "higher"),
            null=_null_figures(draws, method),
        )
        for method, found in scores.items()
    }
    return shown, scores


def _null_figures(draws: CellDraws, method: str) -> NullFigures:
    at = [i for i, key in enumerate(draws.null_keys) if key[0] == method]
    means = draws.null_means[0].mean(0)
    return NullFigures(
        budgets=tuple(draws.null_keys[i][1] for i in at),
        accuracy=tuple(means[at, COLUMNS.index("accuracy")].tolist()),
        weight=tuple(means[at, COLUMNS.index("weight")].tolist()),
        seeds=draws.null_means.shape[1],
    )


def headline_score(ranked: Sequence[ScoreDraws]) -> HeadlineScore:
    """The IOI score: the mean over ranked headline cells; empty without any."""
    if not ranked:
        return HeadlineScore(score=Figure(value=None, direction="higher"), n_cells=0)
    mean = torch.stack([found.score for found in ranked]).mean(0)
    return HeadlineScore(score=figure(mean, "higher"), n_cells=len(ranked))


def faithfulness(table: FaithfulTable, dead_share: float | None, boot: Bootstrap) -> Faithfulness:
    """How well reconstructions stand for activations at its sites; L0, dead share and FVU are means over these."""
    run = dict(zip(faithful.COLUMNS, boot.mean(table.runs).unbind(1), strict=True))
    active, residual, variance = boot.mean(table.parts).unbind(-1)
    recovered = ld_recovered(run["ld_sae"], run["ld_mean"], run["ld_clean"])
    return Faithfulness(
        l0=figure(active.mean(1)),
        dead_share=Figure(value=dead_share, direction="lower"),
        fvu=figure((residual / variance).mean(1), "lower"),
        ld_recovered=figure(recovered.recovered, "higher"),
        ld_recovered_reliable=bool(recovered.reliable[0]),
        sufficiency=figure(sufficiency(run["ld_sae"], run["ld_clean"]).score, "higher"),
        sufficiency_kl=figure(run["kl_sae"], "lower"),
        necessity=figure(necessity(run["ld_without"], run["ld_mean"], run["ld_clean"]).score, "higher"),
        necessity_kl=figure(run["kl_without"], "higher"),
    )
