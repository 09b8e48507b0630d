"""Baselines: dictionaries and edits beside the suite, judged like any suite on the same prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ioi_bench.dictionaries.suite import Suite
from ioi_bench.dictionary import Dictionary
from ioi_bench.editing import EDITS, EditMethod
from ioi_bench.evaluation.bootstrap import Bootstrap
from ioi_bench.evaluation.card import BaselineCell, BaselineRow
from ioi_bench.evaluation.card_cells import Scope, cell_figures
from ioi_bench.evaluation.codes import SiteCodes
from ioi_bench.evaluation.cross_sections import cross_section_figures
from ioi_bench.evaluation.data import Progress
from ioi_bench.evaluation.fitting import fitted_dictionaries, make_study
from ioi_bench.evaluation.inputs import Inputs, inputs_on
from ioi_bench.evaluation.measures import Measures
from ioi_bench.evaluation.study import FaithfulTable, Tables, run_study
from ioi_bench.lm.circuit import RankedCell
from ioi_bench.plugins.records import Baseline
from ioi_bench.sites import Cell, Site

__all__ = ["OWN_EDIT", "Asked", "Judged", "baseline_row", "judge_baseline"]


OWN_EDIT = "own"
"""What the edit of a baseline that brings one is called in place of a method's name."""

_PICKS_AT_ONCE = 1 << 25  # every pick of a prompt is compared with every other


@dataclass(frozen=True)
class Asked:
    """How baselines are judged.

    Attributes:
        scored: ranked headline cells, where matched nulls are run too.
        suite: the dictionaries that are judged, for baselines that are made from them.
    """

    scored: tuple[Cell, ...]
    methods: tuple[str, ...]
    budgets: tuple[int, ...]
    batch_size: int
    seed: int
    edits: Mapping[str, EditMethod] = field(default_factory=lambda: EDITS)
    measures: Measures = field(default_factory=Measures)
    suite: Mapping[Site, Dictionary] = field(default_factory=dict)


@dataclass(frozen=True)
class Judged:
    """What a baseline did.

    Attributes:
        inputs: those of its own model.
        methods: the edit methods, or its own edit alone.
        tables: of all cells.
        suites: its dictionaries by cross-section: of the first cell there, where each cell has its own.
        measures: what was measured beside.
    """

    inputs: Inputs
    methods: tuple[str, ...]
    tables: Tables
    suites: Mapping[str, Mapping[Site, SiteCodes]]
    measures: Measures


def judge_baseline(baseline: Baseline, inputs: Inputs, asked: Asked, progress: Progress) -> Judged:
    """Fit a baseline and run it in all cells of the inputs.

    Raises:
        DictionaryError, PluginError: a dictionary breaks its contract, or what makes it fails.
    """

    def tell(what: str, done: int, total: int) -> None:
        progress(f"{baseline.name}: {what}", done, total)

    if baseline.model is not None:
        inputs = inputs_on(baseline.model, inputs, asked.seed, asked.batch_size, tell)
    methods, budgets, edits, scored = asked.methods, asked.budgets, asked.edits, asked.scored
    batch_size = asked.batch_size
    if baseline.edit is not None:  # the same at every budget, and without a match among random dictionaries
        methods, edits, scored = (OWN_EDIT,), {OWN_EDIT: baseline.edit}, ()
        budgets = (max(inputs.train_at(site).shape[1] for site in inputs.sites_of(inputs.cells)),)
        batch_size = min(batch_size, max(1, _PICKS_AT_ONCE // budgets[0] ** 2))
    groups = [(cell,) for cell in inputs.cells] if baseline.per_cell else [inputs.cells]
    found = Tables({}, {})
    suites: dict[str, Mapping[Site, SiteCodes]] = {}
    for cells in groups:
        part = replace(inputs, cells=cells)
        cell = cells[0] if baseline.per_cell else None
        made = fitted_dictionaries(baseline, part, part.sites_of(cells), cell, asked.suite, asked.seed)
        study, _ = make_study(
            Suite(baseline.name, inputs.model.name, made),
            part,
            [cell for cell in scored if cell in cells],
            methods,
            budgets,
            edits=edits,
            measures=asked.measures,
            seed=asked.seed,
            progress=tell,
        )
        tables = run_study(study, batch_size, tell)
        found = Tables({**found.cells, **tables.cells}, {**tables.faithful, **found.faithful})
        suites = dict.fromkeys(tables.faithful, study.suite) | suites
    faithful: dict[str, FaithfulTable] = {name: found.faithful[name] for name in inputs.sites}
    return Judged(inputs, methods, Tables(found.cells, faithful), suites, asked.measures)


def baseline_row(baseline: Baseline, judged: Judged, ranked: Mapping[Cell, RankedCell], boot: Bootstrap) -> BaselineRow:
    """What the suite's card shows of a baseline."""
    inputs, tables = judged.inputs, judged.tables
    scope = Scope(
        circuit=inputs.circuit,
        cells=inputs.cells,
        methods=judged.methods,
        ranked=ranked,
        missing=frozenset(),
        boot=boot,
        metrics=judged.measures.metrics,
    )
    dead = {name: _dead_share(judged.suites[name], sites) for name, sites in inputs.sites.items()}
    cells, headline = cell_figures(scope, tables, dead)
    return BaselineRow(
        name=baseline.name,
        summary=baseline.summary,
        headline=headline,
        cells=tuple(
            BaselineCell(name=cell.name, edits=cell.edits, scores=cell.scores, faithfulness=cell.faithfulness)
            for cell in cells
        ),
        cross_sections=tuple(
            cross_section_figures(name, inputs.sites[name], judged.suites[name], inputs.mean_codes, table, boot)
            for name, table in tables.faithful.items()
        ),
    )


def _dead_share(codes: Mapping[Site, SiteCodes], sites: Sequence[Site]) -> float:
    return sum(codes[site].dead_share for site in sites) / len(sites)
