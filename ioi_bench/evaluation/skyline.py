"""The skyline of a track, without any suite: what supervised dictionaries reach in every cell (METHOD §3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ioi_bench.activations import capture_split
from ioi_bench.dictionaries.suite import Suite
from ioi_bench.evaluation.bootstrap import Bootstrap, name_pairs
from ioi_bench.evaluation.card import EditFigures, Figure
from ioi_bench.evaluation.data import Capture, Progress, silent, split_of
from ioi_bench.evaluation.inputs import gather
from ioi_bench.evaluation.score import HEADLINE_METHOD
from ioi_bench.evaluation.shipped import fit_codes, skyline_suite
from ioi_bench.evaluation.study import Study, run_study
from ioi_bench.evaluation.summary import NO_EDIT, cell_draws, edit_figures, figure
from ioi_bench.sites import Cell

if TYPE_CHECKING:
    from ioi_bench.lm.circuit import Circuit
    from ioi_bench.lm.model import LanguageModel

__all__ = ["KINDS", "SkylineCell", "export_skyline", "skyline"]

KINDS = {"mean": "skyline", "mse": "skyline-mse"}
"""The codes, and under which name a study runs them."""


@dataclass(frozen=True)
class SkylineCell:
    """One cell.

    Attributes:
        no_edit: accuracy without an edit.
        gain: how much more accurate the mean codes' edit is than none, prompt by prompt.
        codes: the figures of the supervised edits by kind of codes.
    """

    cell: Cell
    headline: bool
    no_edit: Figure
    gain: Figure
    codes: Mapping[str, EditFigures]


def skyline(
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
) -> tuple[SkylineCell, ...]:
    """Fit mean and MSE codes on train and edit with them in every cell, headline cells first.

    Args:
        split: the prompts that are edited.
        prompts, train_prompts: only the first so many.
        cache_dir: where captures are kept; ``None`` keeps none.
        progress: called as ``progress(what, done, total)``.

    Raises:
        InputError: more prompts than there are, or no such split (`UnknownNameError`).
    """
    tell = progress or silent
    judged = split_of(circuit, split, prompts)
    capture = Capture(model, batch_size, None if cache_dir is None else Path(cache_dir), tell)
    inputs = gather(capture, circuit, judged, split_of(circuit, "train", train_prompts))
    study = Study(
        model=model,
        data=inputs.data,
        cells=inputs.cells,
        sites=inputs.sites,
        suite={},
        skylines=inputs.skylines,
        nulls=(),
        null_cells=frozenset(),
        methods=(HEADLINE_METHOD,),
        budgets=(1,),
    )
    boot = Bootstrap.of(name_pairs(judged.prompts), seed=seed)
    found = []
    for cell, table in run_study(study, batch_size, tell).cells.items():
        draws = cell_draws(table, boot)
        figures = edit_figures(draws, table, len(inputs.sites[cell.cross_section]))
        codes = {kind: figures[name, 1] for kind, name in KINDS.items()}
        no_edit, gain = figures[NO_EDIT].accuracy, figure(draws.gap, "higher")
        found.append(SkylineCell(cell, cell in circuit.headline, no_edit, gain, codes))
    return tuple(found)


def export_skyline(
    model: LanguageModel,
    circuit: Circuit,
    *,
    train_prompts: int | None = None,
    batch_size: int = 512,
    cache_dir: str | Path | None = None,
    progress: Progress | None = None,
) -> Suite:
    """The mean codes of all sites of the circuit with their linear encoder: the suite ``skyline-encoded``.

    Raises:
        InputError: more prompts than there are.
    """
    tell = progress or silent
    train = split_of(circuit, "train", train_prompts)
    activations = capture_split(
        model,
        train.spec,
        train.prompts,
        circuit.sites,
        batch_size=batch_size,
        cache_dir=None if cache_dir is None else Path(cache_dir),
        progress=lambda done, total: tell("train activations", done, total),
    )
    fitter = fit_codes(train, activations)
    return skyline_suite("skyline-encoded", fitter.mean_codes(), fitter, model, train)
