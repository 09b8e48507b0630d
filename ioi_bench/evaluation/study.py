"""All cells of an evaluation, batch by batch: from activations to tables of what happened in each prompt."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil
from threading import Event, Lock
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from ioi_bench.editing import EDITS, EditMethod
from ioi_bench.evaluation.codes import SiteCodes
from ioi_bench.evaluation.data import Progress, SplitData
from ioi_bench.evaluation.faithful import faithfulness_runs
from ioi_bench.evaluation.measures import Measures
from ioi_bench.evaluation.runs import (
    CellBatch,
    SiteEdits,
    compare,
    edit_sites,
    exchange_codes,
    judge,
    per_effect,
    unedited,
)
from ioi_bench.evaluation.score import SCORED_BUDGETS, SCORED_METHODS
from ioi_bench.lm.patching import CleanRun, clean_run, patched_logits
from ioi_bench.sites import Cell, Site
from ioi_bench.threads import in_threads

if TYPE_CHECKING:
    from ioi_bench.lm.model import LanguageModel

__all__ = ["CellTable", "FaithfulTable", "Key", "Study", "Tables", "run_study"]

_FEATURES_AT_ONCE = 1 << 22  # of [prompt, d_sae], of which an edit holds some ten at once

Key = tuple[str, int]
"""A method and a budget; ``("no-edit", 0)`` and ``("skyline", 1)`` come first in every table."""


@dataclass(frozen=True)
class Study:
    """What is run.

    Attributes:
        sites: of each cell's cross-section.
        suite: the dictionaries that are evaluated, one for every site; empty to run the skylines and nulls alone.
        skylines: oracle codes by kind (``skyline``, ``skyline-mse``).
        nulls: random dictionaries, one mapping a seed; run in the cells of ``null_cells``.
        null_methods: the edit methods that nulls are scored under.
        edits: the edit methods by name, plugins' among them.
        measures: plugins' metrics.
        anchors: dictionaries made from the suite, by the baseline's name; run as nulls are.
    """

    model: LanguageModel
    data: SplitData
    cells: tuple[Cell, ...]
    sites: Mapping[str, tuple[Site, ...]]
    suite: Mapping[Site, SiteCodes]
    skylines: Mapping[str, Mapping[Site, SiteCodes]]
    nulls: tuple[Mapping[Site, SiteCodes], ...]
    null_cells: frozenset[Cell]
    methods: tuple[str, ...]
    budgets: tuple[int, ...]
    edits: Mapping[str, EditMethod] = field(default_factory=lambda: EDITS)
    measures: Measures = field(default_factory=Measures)
    anchors: Mapping[str, Mapping[Site, SiteCodes]] = field(default_factory=dict)

    @property
    def null_methods(self) -> tuple[str, ...]:
        """The methods that are scored."""
        return tuple(method for method in self.methods if method in SCORED_METHODS)

    @property
    def null_budgets(self) -> tuple[int, ...]:
        """The budgets that are scored."""
        return tuple(budget for budget in self.budgets if budget in SCORED_BUDGETS)


@dataclass(frozen=True)
class CellTable:
    """What happened in a cell: columns of `ioi_bench.evaluation.runs.COLUMNS` per prompt and edit.

    In ``edits``, but not in ``null``, the study's measures follow, in their order. ``anchors`` have the keys of
    ``null``, and are in the order of the study; None where results were read from a file.
    """

    keys: tuple[Key, ...]
    edits: Float[Tensor, "prompt edit column"]
    null_keys: tuple[Key, ...]
    null: Float[Tensor, "prompt seed edit column"]
    anchors: Float[Tensor, "prompt anchor edit column"] | None = None


@dataclass(frozen=True)
class FaithfulTable:
    """What reconstructions did in a cross-section: see `faithfulness_runs`."""

    runs: Float[Tensor, "prompt column"]
    parts: Float[Tensor, "prompt site part"]


@dataclass(frozen=True)
class Tables:
    """Tables by cell, and by cross-section."""

    cells: Mapping[Cell, CellTable]
    faithful: Mapping[str, FaithfulTable]


def run_study(study: Study, batch_size: int, progress: Progress) -> Tables:
    """Run all batches; memory is bounded by the batch, whatever the number of prompts.

    Batches are smaller where the dictionaries keep many features.
    """
    every = [codes for by_site in (study.suite, *study.nulls, *study.anchors.values()) for codes in by_site.values()]
    widest = max((len(codes.decoder.directions) for codes in every), default=1)
    batch_size = min(batch_size, max(1, _FEATURES_AT_ONCE // widest))
    first_layer = min(site.layer for sites in study.sites.values() for site in sites)
    done, lock, stop = 0, Lock(), Event()

    def tell(n: int) -> None:
        nonlocal done
        if stop.is_set():
            raise InterruptedError
        with lock:
            done += n
            progress("patched runs", done, len(study.data) * len(study.cells))

    def run(rows: slice) -> Tables:
        return _run_batch(study, rows, first_layer, tell)

    batches = _batches(len(study.data), batch_size)
    found = in_threads(run, batches, stop=stop) if study.model.device.type == "cpu" else [run(rows) for rows in batches]
    return Tables(
        {cell: _joined([tables.cells[cell] for tables in found]) for cell in study.cells},
        {
            name: FaithfulTable(
                torch.cat([tables.faithful[name].runs for tables in found]),
                torch.cat([tables.faithful[name].parts for tables in found]),
            )
            for name in found[0].faithful
        },
    )


def _batches(n: int, at_most: int) -> list[slice]:
    """Batches of equal sizes, so that threads end together."""
    count = ceil(n / at_most)
    bounds = [round(i * n / count) for i in range(count + 1)]
    return [slice(start, stop) for start, stop in pairwise(bounds)]


@torch.no_grad()
def _run_batch(study: Study, rows: slice, first_layer: int, tell: Callable[[int], None]) -> Tables:
    clean = clean_run(study.model, study.data.tokens.slice(rows.start, rows.stop), first_layer)
    clean_logits = patched_logits(study.model, clean, [{}])[0]
    cells: dict[Cell, CellTable] = {}
    faithful: dict[str, FaithfulTable] = {}
    for cell in study.cells:
        batch = study.data.batch(cell, study.sites[cell.cross_section], rows)
        cells[cell] = _run_cell(study, cell, clean, clean_logits, batch)
        if study.suite and cell.cross_section not in faithful:
            runs = faithfulness_runs(study.model, clean, clean_logits, batch, study.suite)
            faithful[cell.cross_section] = FaithfulTable(*runs)
        tell(rows.stop - rows.start)
    return Tables(cells, faithful)


def _joined(found: Sequence[CellTable]) -> CellTable:
    first = found[0]
    values, null = torch.cat([table.edits for table in found]), torch.cat([table.null for table in found])
    anchors = [table.anchors for table in found if table.anchors is not None]
    return CellTable(first.keys, values, first.null_keys, null, torch.cat(anchors) if anchors else None)


@torch.no_grad()
def _run_cell(study: Study, cell: Cell, clean: CleanRun, clean_logits: Tensor, batch: CellBatch) -> CellTable:
    names = batch.names.to(study.model.device)
    truth = patched_logits(study.model, clean, [batch.a_t])[0]
    edits = [edit_sites(batch, codes, {kind: exchange_codes}, (1,)) for kind, codes in study.skylines.items()]
    if study.suite:
        methods = {name: study.edits[name] for name in study.methods}
        edits.append(edit_sites(batch, study.suite, methods, study.budgets))
    nulls: list[SiteEdits] = []
    if cell in study.null_cells:
        scored = {name: study.edits[name] for name in study.null_methods}
        others = (*study.nulls, *study.anchors.values())
        nulls = [edit_sites(batch, codes, scored, study.null_budgets) for codes in others]
    written = [activations for found in edits + nulls for activations in found.activations]
    keys = (("no-edit", 0), *(key for found in edits for key in found.keys))
    measure = study.measures.of(cell, batch, clean_logits, truth)
    runs = judge(study.model, clean, written, clean_logits, truth, names, measure)
    judged = torch.cat([compare(clean_logits[None], clean_logits, truth, names), runs.judged], 1)
    moved = torch.cat([unedited(batch), *(found.moved for found in edits + nulls)], 1)
    columns = per_effect(torch.cat([judged, moved], -1))
    null_keys = nulls[0].keys if nulls else ()
    null = columns[:, len(keys) :].unflatten(1, (len(nulls), len(null_keys))) if nulls else columns[:, None, :0]
    edited = columns[:, : len(keys)]
    if measure is not None:
        measured = torch.cat([measure(clean_logits, batch.a_s)[:, None], runs.measured], 1)
        edited = torch.cat([edited, measured[:, : len(keys)]], -1)
    n = len(study.nulls) if nulls else 0
    return CellTable(keys, edited, null_keys, null[:, :n], null[:, n:])
