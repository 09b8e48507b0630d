"""A card's figures, made again from ``prompts.parquet`` by the functions that made them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ioi_bench.evaluation.bootstrap import Bootstrap, name_pairs
from ioi_bench.evaluation.card import Card, CrossSectionFigures
from ioi_bench.evaluation.card_cells import SKYLINE_KINDS, Scope, cell_figures
from ioi_bench.evaluation.cross_sections import kept_and_removed
from ioi_bench.evaluation.faithful import COLUMNS
from ioi_bench.evaluation.prompts_file import Layout
from ioi_bench.evaluation.score import NULL_SEEDS, SCORED_BUDGETS
from ioi_bench.evaluation.study import FaithfulTable, Tables
from ioi_bench.evaluation.summary import NO_EDIT
from ioi_bench.lm.circuit import Circuit, RankedCell
from ioi_bench.sites import Cell, Site
from ioi_bench.task import Split

__all__ = ["differences", "layout_of", "recomputed", "scope_of"]


def scope_of(card: Card, circuit: Circuit, split: Split) -> Scope:
    """What a card says that it was made of.

    The circuit's frozen set of ranked cells counts; where it has none, the card's own.

    Raises:
        InputError: a cell or a site whose name cannot be read.
    """
    cells = {Cell.parse(cell.name): cell for cell in card.cells}
    own = {cell: RankedCell(shown.ranked, shown.reason) for cell, shown in cells.items()}
    return Scope(
        circuit=circuit,
        cells=tuple(cells),
        methods=card.made.methods,
        ranked=own if circuit.ranked is None else circuit.ranked,
        missing=frozenset(Site.parse(text) for cell in card.cells for text in cell.missing_sites),
        boot=Bootstrap.of(name_pairs(split.prompts), draws=card.made.n_draws, seed=card.made.seed),
    )


def layout_of(card: Card, scope: Scope) -> Layout:
    """Which rows a card's ``prompts.parquet`` has; plugins' metrics are none of them."""
    made = card.made
    methods = {kind: method for method, kind in SKYLINE_KINDS.items()}
    asked = tuple((method, budget) for method in made.methods for budget in made.budgets)
    edits = {
        Cell.parse(cell.name): (NO_EDIT, *((methods[kind], 1) for kind in cell.skyline), *asked) for cell in card.cells
    }
    nulls = tuple(
        (method, budget) for method in scope.scored_methods for budget in made.budgets if budget in SCORED_BUDGETS
    )
    counts = {cell for cell in scope.cells if cell in scope.ranked and scope.ranked[cell].ranked}
    return Layout(
        n_prompts=made.n_prompts,
        edits=edits,
        nulls={cell: nulls if cell in counts & set(scope.circuit.headline) else () for cell in scope.cells},
        seeds=NULL_SEEDS,
        sites={name: scope.sites(name) for name in dict.fromkeys(cell.cross_section for cell in scope.cells)},
    )


def recomputed(card: Card, scope: Scope, tables: Tables) -> Card:
    """The card with every figure that follows from results per prompt made again.

    What does not follow stays as the card has it: dead shares, shares of explained features, cosines, warnings, and
    what made it.
    """
    dead = {cell.cross_section: cell.faithfulness.dead_share.value for cell in card.cells}
    cells, headline = cell_figures(scope, tables, dead)
    sections = {found.name: found for found in card.cross_sections}
    cross_sections = tuple(
        _section(sections[name], scope, table) for name, table in tables.faithful.items() if name in sections
    )
    return card.model_copy(update={"cells": cells, "headline": headline, "cross_sections": cross_sections})


def _section(shown: CrossSectionFigures, scope: Scope, table: FaithfulTable) -> CrossSectionFigures:
    run = dict(zip(COLUMNS, scope.boot.mean(table.runs).unbind(1), strict=True))
    explained = []
    for at in shown.explained:
        kept, removed = kept_and_removed(at.threshold, run)
        explained.append(at.model_copy(update={"kept": kept, "removed": removed}))
    sites = tuple(map(str, scope.sites(shown.name)))
    return shown.model_copy(update={"sites": sites, "explained": tuple(explained)})


def differences(given: Any, right: Any, tolerance: float, where: str = "") -> Iterator[tuple[str, Any, Any, float]]:
    """Where two values of JSON differ, with both and how far: infinitely, where they are not two numbers.

    A difference of two numbers is relative to the greater one, if that is greater than 1.

    >>> list(differences({"a": [1.0, 200.0]}, {"a": [1.0, 100.0]}, 1e-6))
    [('a.1', 200.0, 100.0, 0.5)]
    """
    if isinstance(given, Mapping) and isinstance(right, Mapping) and given.keys() == right.keys():
        for name in given:
            yield from differences(given[name], right[name], tolerance, f"{where}.{name}" if where else str(name))
    elif isinstance(given, list | tuple) and isinstance(right, list | tuple) and len(given) == len(right):
        for i, (one, other) in enumerate(zip(given, right, strict=True)):
            yield from differences(one, other, tolerance, f"{where}.{i}" if where else str(i))
    elif _is_number(given) and _is_number(right):
        far = abs(given - right) / max(1.0, abs(given), abs(right))
        if not far <= tolerance:
            yield where, given, right, far
    elif given != right:
        yield where, given, right, float("inf")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
