"""Which cells of a track are ranked (METHOD §7): a property of the track, the same for every dictionary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ioi_bench.dictionaries.nulls import standard_null
from ioi_bench.evaluation.bootstrap import Bootstrap, Interval, interval, name_pairs
from ioi_bench.evaluation.data import Capture, Progress, silent, split_of
from ioi_bench.evaluation.inputs import Inputs, gather, inputs_on, null_seed
from ioi_bench.evaluation.score import HEADLINE_METHOD, NULL_SEEDS, SCORED_BUDGETS, ranking_reason, untrained_reason
from ioi_bench.evaluation.study import Study, run_study
from ioi_bench.evaluation.summary import cell_draws, score_draws
from ioi_bench.lm.circuit import Circuit, RankedCell
from ioi_bench.lm.untrained import untrained_model
from ioi_bench.sites import Cell

if TYPE_CHECKING:
    from ioi_bench.lm.model import LanguageModel

__all__ = ["UNTRAINED_SEEDS", "rank_cells", "rank_track", "untrained_gains"]


UNTRAINED_SEEDS = 3
"""Untrained models on which a cell must fail before a track's ranking is frozen."""


def rank_cells(
    inputs: Inputs, boot: Bootstrap, *, batch_size: int, progress: Progress, untrained_seeds: int = UNTRAINED_SEEDS
) -> dict[Cell, RankedCell]:
    """Apply METHOD §7's rule to the headline cells.

    The skyline must gain enough; the standard null's S (mean of 3 seeds) must be small; and the skyline must not gain
    as much on an untrained model of the same shape, whatever the seed: it would say nothing of what was trained.
    """
    cells, rounds = inputs.circuit.headline, SCORED_BUDGETS[-1]
    nulls = tuple(
        {
            site: inputs.codes(
                site, standard_null(inputs.train_at(site), null_seed("standard", i, site)), cells, rounds
            )
            for site in inputs.sites_of(cells)
        }
        for i in range(NULL_SEEDS)
    )
    study = Study(
        model=inputs.model,
        data=inputs.data,
        cells=cells,
        sites=inputs.sites,
        suite={},
        skylines={"skyline": inputs.skylines["skyline"]},
        nulls=nulls,
        null_cells=frozenset(cells),
        methods=(HEADLINE_METHOD,),
        budgets=SCORED_BUDGETS,
    )
    ranked = {}
    for cell, table in run_study(study, batch_size, progress).cells.items():
        draws = cell_draws(table, boot)
        gap = interval(draws.gap)
        reason = ranking_reason(gap.value, gap.low, score_draws(draws, HEADLINE_METHOD).s_null[0].item())
        ranked[cell] = RankedCell(not reason, reason)
    left = [cell for cell, found in ranked.items() if found.ranked]
    for seed in range(untrained_seeds if left else 0):
        for cell, gap in untrained_gains(inputs, left, boot, seed, batch_size=batch_size, progress=progress).items():
            if ranked[cell].ranked and (reason := untrained_reason(gap.value, gap.low, seed)):
                ranked[cell] = RankedCell(False, reason)
    return ranked


def untrained_gains(
    inputs: Inputs, cells: Sequence[Cell], boot: Bootstrap, seed: int, *, batch_size: int, progress: Progress
) -> dict[Cell, Interval]:
    """What the skyline, fitted anew there, gains over no edit on an untrained model, in some of the inputs' cells."""

    def tell(what: str, done: int, total: int) -> None:
        progress(f"untrained model {seed}: {what}", done, total)

    part = inputs_on(untrained_model, replace(inputs, cells=tuple(cells)), seed, batch_size, tell)
    study = Study(
        model=part.model,
        data=part.data,
        cells=part.cells,
        sites=part.sites,
        suite={},
        skylines=part.skylines,
        nulls=(),
        null_cells=frozenset(),
        methods=(HEADLINE_METHOD,),
        budgets=(1,),
    )
    tables = run_study(study, batch_size, tell).cells
    return {cell: interval(cell_draws(table, boot).gap) for cell, table in tables.items()}


def rank_track(
    model: LanguageModel,
    circuit: Circuit,
    *,
    split: str = "test",
    prompts: int | None = None,
    train_prompts: int | None = None,
    batch_size: int = 512,
    seed: int = 0,
    cache_dir: str | Path | None = None,
    progress: Progress | None = None,
) -> dict[Cell, RankedCell]:
    """Find the ranked cells of a track, to be frozen in its circuit file.

    Raises:
        UnknownNameError: no such split.
        InputError: more prompts than there are.
    """
    progress = progress or silent
    judged, train = split_of(circuit, split, prompts), split_of(circuit, "train", train_prompts)
    capture = Capture(model, batch_size, None if cache_dir is None else Path(cache_dir), progress)
    inputs = gather(capture, circuit, judged, train, mse=False)
    boot = Bootstrap.of(name_pairs(judged.prompts), seed=seed)
    return rank_cells(inputs, boot, batch_size=batch_size, progress=progress)
