"""Baselines beside the suite: fitted to train activations, and judged like any suite."""

from __future__ import annotations

from ioi_bench.dictionaries.suite import Suite
from ioi_bench.evaluation.card import BaselineCell, BaselineRow, Card
from ioi_bench.evaluation.inputs import Inputs, null_seed
from ioi_bench.plugins.records import Baseline

__all__ = ["baseline_row", "baseline_suite"]


def baseline_suite(baseline: Baseline, inputs: Inputs, seed: int) -> Suite:
    """One dictionary at every site of the circuit's cells, each with a seed of its own."""
    made = {
        site: baseline.fit(inputs.train.activations[site], null_seed(seed, "baseline", baseline.name, site))
        for site in inputs.sites_of(inputs.cells)
    }
    return Suite(baseline.name, inputs.model.name, made)


def baseline_row(baseline: Baseline, card: Card) -> BaselineRow:
    """What the suite's card shows of the card that the baseline's own suite got."""
    cells = tuple(
        BaselineCell(name=cell.name, edits=cell.edits, scores=cell.scores, faithfulness=cell.faithfulness)
        for cell in card.cells
    )
    return BaselineRow(
        name=baseline.name,
        summary=baseline.summary,
        headline=card.headline,
        cells=cells,
        cross_sections=card.cross_sections,
    )
