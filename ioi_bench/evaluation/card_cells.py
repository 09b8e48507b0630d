"""Every figure of cells and of the headline that follows from results per prompt: for a card, and to check one.

`assemble` makes cards of these; `ioi_bench.evaluation.recompute` makes them again from ``prompts.parquet``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ioi_bench.evaluation.bootstrap import Bootstrap
from ioi_bench.evaluation.card import CardCell, Faithfulness, HeadlineScore
from ioi_bench.evaluation.score import SCORED_METHODS
from ioi_bench.evaluation.study import Tables
from ioi_bench.evaluation.summary import (
    NO_EDIT,
    ScoreDraws,
    cell_draws,
    cell_scores,
    edit_figures,
    faithfulness,
    headline_score,
)
from ioi_bench.lm.circuit import Circuit, RankedCell
from ioi_bench.plugins.records import MetricRecord
from ioi_bench.sites import Cell, Site

__all__ = ["SKYLINE_KINDS", "Scope", "cell_figures"]

SKYLINE_KINDS = {"skyline": "mean", "skyline-mse": "mse"}
"""What the card calls the codes of a table's skyline methods."""

_FURTHER = "a further cell: reported, never scored"


@dataclass(frozen=True)
class Scope:
    """What decides figures beside the tables.

    Attributes:
        cells: in the card's order.
        methods: edit methods that were asked for.
        ranked: of headline cells, whether they count.
        missing: sites at which the suite has no dictionary.
        metrics: plugins' metrics, in the order of the tables' columns.
    """

    circuit: Circuit
    cells: tuple[Cell, ...]
    methods: tuple[str, ...]
    ranked: Mapping[Cell, RankedCell]
    missing: frozenset[Site]
    boot: Bootstrap
    metrics: Sequence[MetricRecord] = ()

    @property
    def scored_methods(self) -> tuple[str, ...]:
        """The methods that nulls are scored under."""
        return tuple(method for method in self.methods if method in SCORED_METHODS)

    def sites(self, cross_section: str) -> tuple[Site, ...]:
        """The sites of a cross-section."""
        return self.circuit.cross_sections[cross_section].sites


def cell_figures(
    scope: Scope, tables: Tables, dead_shares: Mapping[str, float | None]
) -> tuple[tuple[CardCell, ...], dict[str, HeadlineScore]]:
    """Cells as a card shows them, and the IOI score by method.

    Args:
        scope: what was evaluated.
        tables: results per prompt.
        dead_shares: by cross-section; they do not follow from results per prompt.
    """
    faithful = {name: faithfulness(table, dead_shares[name], scope.boot) for name, table in tables.faithful.items()}
    cells, ranked = [], []
    for cell in scope.cells:
        shown, scores = _card_cell(scope, tables, cell, faithful[cell.cross_section])
        cells.append(shown)
        if shown.headline and shown.ranked:
            ranked.append(scores)
    counts = {cell for cell in scope.circuit.headline if cell in scope.ranked and scope.ranked[cell].ranked}
    if not counts <= set(scope.cells):  # the mean of some would be taken for the IOI score
        ranked = []
    headline = {method: headline_score([scores[method] for scores in ranked]) for method in scope.scored_methods}
    return tuple(cells), headline


def _card_cell(
    scope: Scope, tables: Tables, cell: Cell, faithful: Faithfulness
) -> tuple[CardCell, dict[str, ScoreDraws]]:
    table, sites = tables.cells[cell], scope.sites(cell.cross_section)
    draws = cell_draws(table, scope.boot)
    figures = edit_figures(draws, table, len(sites), scope.metrics)
    shown, scores = cell_scores(draws, scope.scored_methods)
    headline = cell in scope.circuit.headline
    ranked = scope.ranked.get(cell) if headline else None
    reason = ranked.reason if ranked else "the track's ranking does not name it" if headline else _FURTHER
    return CardCell(
        name=str(cell),
        attribute=cell.edit,
        cross_section=cell.cross_section,
        sites=tuple(map(str, sites)),
        missing_sites=tuple(str(site) for site in sites if site in scope.missing),
        headline=headline,
        ranked=ranked is not None and ranked.ranked,
        reason=reason,
        no_edit=figures[NO_EDIT].accuracy,
        skyline={SKYLINE_KINDS[method]: found for (method, _), found in figures.items() if method in SKYLINE_KINDS},
        edits=tuple(found for (method, _), found in figures.items() if method in scope.methods),
        scores=shown,
        faithfulness=faithful,
    ), scores
