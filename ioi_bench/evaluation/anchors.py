"""The anchors of a track, computed once and shown on every card; and those that a suite has of its own.

Where they are kept: `ioi_bench.evaluation.anchor_files`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ioi_bench.evaluation.anchor_records import (
    Anchor,
    AnchorCell,
    AnchorEdits,
    AnchorsMade,
    TrackAnchors,
    TrackCell,
)
from ioi_bench.evaluation.baselines import Asked, Judged, judge_baseline
from ioi_bench.evaluation.bootstrap import Bootstrap, interval, name_pairs
from ioi_bench.evaluation.data import Capture, Progress, silent, split_of
from ioi_bench.evaluation.inputs import gather
from ioi_bench.evaluation.provenance import versions
from ioi_bench.evaluation.ranking import rank_cells
from ioi_bench.evaluation.runs import COLUMNS
from ioi_bench.evaluation.score import SCORED_METHODS, SCORING, cell_value, gain_reason, null_normalised
from ioi_bench.evaluation.study import CellTable
from ioi_bench.evaluation.summary import NO_EDIT, SKYLINE, CellDraws, cell_draws, figure, score_draws
from ioi_bench.lm.circuit import Circuit, RankedCell
from ioi_bench.plugins.manager import Plugins
from ioi_bench.plugins.records import Baseline
from ioi_bench.sites import Cell

if TYPE_CHECKING:
    from torch import Tensor

    from ioi_bench.lm.model import LanguageModel

__all__ = [
    "BUDGETS",
    "MATCHED",
    "OF_SUITE",
    "OF_TRACK",
    "anchor_of",
    "suite_anchors",
    "suite_baselines",
    "track_anchors",
    "track_baselines",
]

BUDGETS = (1, 2, 4, 8, 16)
OF_TRACK = (
    *("no-edit", "mean-ablation", "full-patch", "untrained"),
    *("random", "shuffled-skyline", "frozen-decoder", "codebook", "neurons", "pca"),
    *("das", "skyline-encoded"),
)
"""The baselines that every track is given: edits, nulls, what knows the data, what knows the labels."""
OF_SUITE = ("matched-random", "permuted-decoder")
"""The rows that every card has of its own suite."""
MATCHED = OF_SUITE[0]
"""The suite's row that the null of its score is: its figures are on the card already."""


def track_baselines(plugins: Plugins) -> tuple[Baseline, ...]:
    """The anchors of every track, in the order of `OF_TRACK`."""
    return tuple(plugins.find(Baseline, name) for name in OF_TRACK)


def suite_baselines(plugins: Plugins) -> tuple[Baseline, ...]:
    """What is made from a suite and run with every card; its nulls run already."""
    return tuple(plugins.find(Baseline, name) for name in OF_SUITE if name != MATCHED)


# -- computing ----------------------------------------------------------------------------------------------------


def track_anchors(
    model: LanguageModel,
    circuit: Circuit,
    *,
    plugins: Plugins | None = None,
    only: Sequence[str] | None = None,
    prompts: int | None = 1000,
    train_prompts: int | None = None,
    batch_size: int = 512,
    seed: int = 0,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
) -> TrackAnchors:
    """Judge every baseline of the track in its headline cells, at the budgets 1 to 16 under all scored methods.

    Args:
        model, circuit: the track.
        plugins: where the baselines are found; by default the installed ones.
        only: names of baselines; by default all of `track_baselines`.
        prompts: the first so many of the test split; None takes all.
        train_prompts: the first so many train prompts; None takes all.
        batch_size: prompts at once.
        seed: of bootstrap and draws.
        cache_dir: where captures are kept.
        progress: called as ``progress(what, done, total)``.

    Raises:
        UnknownNameError: no such baseline.
        InputError: more prompts than there are.
    """
    tell, plugins = progress or silent, plugins or Plugins.load()
    baselines = track_baselines(plugins) if only is None else tuple(plugins.find(Baseline, name) for name in only)
    judged, train = split_of(circuit, "test", prompts), split_of(circuit, "train", train_prompts)
    inputs = gather(Capture(model, batch_size, cache_dir, tell), circuit, judged, train, cells=circuit.headline)
    boot = Bootstrap.of(name_pairs(judged.prompts), seed=seed)
    ranked = circuit.ranked or rank_cells(inputs, boot, batch_size=batch_size, progress=tell)
    asked = Asked(
        scored=tuple(cell for cell in circuit.headline if ranked[cell].ranked),
        methods=SCORED_METHODS,
        budgets=BUDGETS,
        batch_size=batch_size,
        seed=seed,
    )
    rows: list[Anchor] = []
    cells: tuple[TrackCell, ...] = ()
    for baseline in baselines:
        found = judge_baseline(baseline, inputs, asked, tell)
        rows.append(anchor_of(baseline, found, boot))
        if baseline.model is None:
            cells = _track_cells(found, ranked, boot)
    made = AnchorsMade(
        scoring=SCORING,
        model=model.name,
        model_sha256=model.sha256,
        circuit=circuit.track,
        circuit_sha256=circuit.sha256,
        spec=judged.spec.name,
        spec_sha256=judged.spec.sha256,
        split="test",
        n_prompts=len(judged),
        n_train_prompts=len(train),
        seed=seed,
        n_draws=len(boot.weights) - 1,
        versions=versions(),
    )
    return TrackAnchors(made=made, cells=cells, rows=tuple(rows))


def anchor_of(baseline: Baseline, judged: Judged, boot: Bootstrap) -> Anchor:
    """The row of a baseline."""
    cells: list[AnchorCell] = []
    scores: dict[str, list[Tensor]] = {}
    for cell, table in judged.tables.cells.items():
        draws = cell_draws(table, boot)
        gap = interval(draws.gap)
        bounded = baseline.edit is None and not gain_reason(gap.value, gap.low)
        edits = {method: _edits(draws, method, scores, bounded=bounded) for method in judged.methods}
        cells.append(AnchorCell(name=str(cell), edits=edits))
    other = baseline.model is not None
    return Anchor(
        name=baseline.name,
        summary=baseline.summary,
        headline={method: figure(torch.stack(found).mean(0), "higher") for method, found in scores.items()},
        cells=tuple(cells),
        model=judged.inputs.model.name if other else None,
        track=_track_cells(judged, {}, boot) if other else (),
    )


def _edits(draws: CellDraws, method: str, scores: dict[str, list[Tensor]], *, bounded: bool) -> AnchorEdits:
    """Figures of one method in one cell; where it has a score, its draws are added to ``scores``.

    Without ``bounded`` it has neither S nor score: no budget bounds the edit, or there is too little to gain.
    """
    at = [i for i, key in enumerate(draws.keys) if key[0] == method]
    budgets = tuple(draws.keys[i][1] for i in at)
    score = score_draws(draws, method) if bounded and draws.null_keys else None
    if score is not None:
        scores.setdefault(method, []).append(score.score)
    return AnchorEdits(
        budgets=budgets,
        accuracy=_means(draws.means[0, at], "accuracy"),
        weight=_means(draws.means[0, at], "weight"),
        s=figure(cell_value(draws.values[:, at], budgets), "higher") if bounded else None,
        score=None if score is None else figure(score.score, "higher"),
    )


def _means(rows: Tensor, column: str) -> tuple[float, ...]:
    return tuple(rows[:, COLUMNS.index(column)].tolist())


def _track_cells(judged: Judged, ranked: Mapping[Cell, RankedCell], boot: Bootstrap) -> tuple[TrackCell, ...]:
    """No edit and the skyline in every cell; ``ranked`` is empty for another model than the track's."""
    found = []
    for cell, table in judged.tables.cells.items():
        draws, own = cell_draws(table, boot), ranked.get(cell, RankedCell(False, "another model"))
        found.append(
            TrackCell(
                name=str(cell),
                ranked=own.ranked,
                reason=own.reason,
                no_edit=figure(draws.column(NO_EDIT, "accuracy")),
                skyline=figure(draws.column(SKYLINE, "accuracy")),
                skyline_weight=figure(draws.column(SKYLINE, "weight")),
            )
        )
    return tuple(found)


# -- of a suite ---------------------------------------------------------------------------------------------------


def suite_anchors(
    anchors: Mapping[str, str], tables: Mapping[Cell, CellTable], methods: Sequence[str], boot: Bootstrap
) -> tuple[Anchor, ...]:
    """The rows that a suite has of its own, in its ranked cells: its matched nulls, then what is made from it.

    Args:
        anchors: summaries by name: `MATCHED`, then the study's anchors in its order.
        tables: of all cells, with the anchors' results.
        methods: those that are scored.
        boot: of the card's prompts.
    """
    drawn = {cell: cell_draws(table, boot) for cell, table in tables.items() if table.null_keys}
    rows = []
    for i, (name, summary) in enumerate(anchors.items(), start=-1):
        scores: dict[str, list[Tensor]] = {}
        cells = tuple(
            AnchorCell(name=str(cell), edits={method: _suite_edits(draws, method, i, scores) for method in methods})
            for cell, draws in drawn.items()
        )
        headline = {method: figure(torch.stack(found).mean(0), "higher") for method, found in scores.items()}
        rows.append(Anchor(name=name, summary=summary, headline=headline, cells=cells))
    return tuple(rows)


def _suite_edits(draws: CellDraws, method: str, i: int, scores: dict[str, list[Tensor]]) -> AnchorEdits:
    """Of the i-th anchor of the study; of the matched nulls for -1, whose score is 0 by what a score is."""
    at = [j for j, key in enumerate(draws.null_keys) if key[0] == method]
    budgets, s_null = tuple(draws.null_keys[j][1] for j in at), score_draws(draws, method).s_null
    if i < 0:
        means, s, score = draws.null_means[0].mean(0), s_null, None
    else:
        assert draws.anchor_means is not None
        assert draws.anchor_values is not None
        means, s = draws.anchor_means[0, i], cell_value(draws.anchor_values[:, i, at], budgets)
        score = null_normalised(s, s_null)
        scores.setdefault(method, []).append(score)
    return AnchorEdits(
        budgets=budgets,
        accuracy=_means(means[at], "accuracy"),
        weight=_means(means[at], "weight"),
        s=figure(s, "higher"),
        score=None if score is None else figure(score, "higher"),
    )
