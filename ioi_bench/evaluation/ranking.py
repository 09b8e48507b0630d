"""Which cells of a track are ranked (METHOD §7): a property of the track, the same for every dictionary."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ioi_bench.dictionaries.nulls import standard_null
from ioi_bench.evaluation.bootstrap import Bootstrap, interval, name_pairs
from ioi_bench.evaluation.data import Capture, Progress, silent, split_of
from ioi_bench.evaluation.inputs import Inputs, gather, null_seed
from ioi_bench.evaluation.score import HEADLINE_METHOD, NULL_SEEDS, SCORED_BUDGETS, ranking_reason
from ioi_bench.evaluation.study import Study, run_study
from ioi_bench.evaluation.summary import cell_draws, score_draws
from ioi_bench.lm.circuit import Circuit, RankedCell
from ioi_bench.sites import Cell

if TYPE_CHECKING:
    from ioi_bench.lm.model import LanguageModel

__all__ = ["rank_cells", "rank_track"]


def rank_cells(inputs: Inputs, boot: Bootstrap, *, batch_size: int, progress: Progress) -> dict[Cell, RankedCell]:
    """Apply METHOD §7's rule to the headline cells: the skyline's gain, and the standard null's S (mean of 3 seeds)."""
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
    return ranked


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
