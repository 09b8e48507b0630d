"""From tables to the card and the files beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ioi_bench.atomic import write_file
from ioi_bench.dictionaries.supervised import SupervisedCodes
from ioi_bench.evaluation.bootstrap import Bootstrap
from ioi_bench.evaluation.card import Card, CardCell, CardWarning, Faithfulness, Made
from ioi_bench.evaluation.codes import SiteCodes
from ioi_bench.evaluation.cross_sections import cross_section_figures
from ioi_bench.evaluation.figure import write_figures
from ioi_bench.evaluation.runs import COLUMNS
from ioi_bench.evaluation.study import Study, Tables
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
from ioi_bench.sites import Cell, Site

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Results", "assemble", "prompts_frame", "write_results"]

_DEAD_SHARE_WARNED = 0.5
_NORM_RATIO_WARNED = (0.5, 2.0)
_KINDS = {"skyline": "mean", "skyline-mse": "mse"}
_FURTHER = "a further cell: reported, never scored"


@dataclass(frozen=True)
class Results:
    """All that was found about a suite.

    Attributes:
        mean_codes: the skyline's.
        missing: sites at which the suite has no dictionary.
        frozen_ranking: whether the track had its ranked cells already.
    """

    study: Study
    tables: Tables
    boot: Bootstrap
    mean_codes: Mapping[Site, SupervisedCodes]
    ranked: Mapping[Cell, RankedCell]
    missing: frozenset[Site]
    frozen_ranking: bool


def assemble(results: Results, made: Made, circuit: Circuit) -> Card:
    """Draw the bootstrap and write down every figure."""
    study = results.study
    faithful = {
        name: faithfulness(table, [study.suite[site] for site in study.sites[name]], results.boot)
        for name, table in results.tables.faithful.items()
    }
    cells, ranked = [], []
    for cell in study.cells:
        shown, scores = _card_cell(results, cell, faithful[cell.cross_section], headline=cell in circuit.headline)
        cells.append(shown)
        if shown.headline and shown.ranked:
            ranked.append(scores)
    headline = {method: headline_score([scores[method] for scores in ranked]) for method in study.null_methods}
    warnings = tuple(_warnings(results, made, cells))
    return Card(
        track=circuit.track,
        made=made,
        headline=headline,
        cells=tuple(cells),
        cross_sections=tuple(
            cross_section_figures(name, study.sites[name], study.suite, results.mean_codes, table, results.boot)
            for name, table in results.tables.faithful.items()
        ),
        warnings=warnings,
    )


def _card_cell(
    results: Results, cell: Cell, faithful: Faithfulness, *, headline: bool
) -> tuple[CardCell, dict[str, ScoreDraws]]:
    study, table = results.study, results.tables.cells[cell]
    sites = study.sites[cell.cross_section]
    draws = cell_draws(table, results.boot)
    figures = edit_figures(draws, table, len(sites), study.measures.metrics)
    shown, scores = cell_scores(draws, study.null_methods)
    ranked = results.ranked.get(cell) if headline else None
    reason = ranked.reason if ranked else "the track's ranking does not name it" if headline else _FURTHER
    return CardCell(
        name=str(cell),
        attribute=cell.edit,
        cross_section=cell.cross_section,
        sites=tuple(map(str, sites)),
        missing_sites=tuple(str(site) for site in sites if site in results.missing),
        headline=headline,
        ranked=ranked is not None and ranked.ranked,
        reason=reason,
        no_edit=figures[NO_EDIT].accuracy,
        skyline={_KINDS[method]: found for (method, _), found in figures.items() if method in _KINDS},
        edits=tuple(found for (method, _), found in figures.items() if method in study.methods),
        scores=shown,
        faithfulness=faithful,
    ), scores


def _warnings(results: Results, made: Made, cells: list[CardCell]) -> Iterator[CardWarning]:
    own = {site: codes for site, codes in results.study.suite.items() if site not in results.missing}
    if results.missing:
        yield CardWarning(
            code="missing-sites",
            message=f"no dictionary for {_listed(results.missing)}: random ones stand there, and score about 0",
        )
    dead = {site: codes.dead_share for site, codes in own.items()}
    if many := [site for site, share in dead.items() if share > _DEAD_SHARE_WARNED]:
        yield CardWarning(
            code="dead-features",
            message=f"more than half of the features never fire on train at {_listed(many)} "
            f"(at worst {max(dead.values()):.0%})",
        )
    if nan := sum(max(edit.nan_dropped for edit in cell.edits) for cell in cells):
        yield CardWarning(
            code="nan-weights",
            message=f"{nan} weights (over all cells, prompts and sites) had no value and were left out: the "
            "reconstruction there has norm zero",
        )
    if odd := [site for site, codes in own.items() if _suspicious(results, site, codes)]:
        yield CardWarning(
            code="suspicious-scale",
            message=f"reconstructions at {_listed(odd)} are worse than the mean activation or differ from the "
            "activations in norm by more than a factor of two: was the input scale lost?",
        )
    for message in results.study.measures.failed.values():
        yield CardWarning(code="plugin", message=f"{message}; its figures are empty")
    if not made.full_train:
        yield CardWarning(
            code="few-train-prompts",
            message=f"F1 rankings, means and the skyline come from {made.n_train_prompts:,} train prompts only",
        )
    if not results.frozen_ranking:
        yield CardWarning(
            code="unknown-ranking",
            message="the track has no frozen set of ranked cells: it was found on these prompts, so compare with care",
        )


def _suspicious(results: Results, site: Site, codes: SiteCodes) -> bool:
    if not _NORM_RATIO_WARNED[0] <= codes.norm_ratio <= _NORM_RATIO_WARNED[1]:
        return True
    for name, table in results.tables.faithful.items():
        sites = results.study.sites[name]
        if site in sites:
            residual, variance = table.parts[:, sites.index(site), 1:].sum(0).tolist()
            return residual > variance
    return False


def _listed(sites: Iterator[Site] | list[Site] | frozenset[Site]) -> str:
    names = sorted(map(str, sites))
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def prompts_frame(results: Results) -> pd.DataFrame:
    """Results per prompt: one row per cell, prompt and edit; columns `COLUMNS`, and ``metrics.NAME`` of plugins."""
    import pandas as pd

    names = (*COLUMNS, *(f"metrics.{metric.name}" for metric in results.study.measures.metrics))
    prompts = results.study.data.split.prompts
    n, parts = len(prompts), []
    for cell, table in results.tables.cells.items():
        keys = len(table.keys)
        columns = {name: column.flatten().numpy() for name, column in zip(names, table.edits.unbind(-1), strict=True)}
        for name in ("accuracy", "accuracy_names"):
            columns[name] = columns[name] != 0
        rows = torch.arange(n).repeat_interleave(keys).numpy()
        about = {
            "cell": pd.Categorical([str(cell)]).repeat(n * keys),
            "prompt": rows,
            "method": [key[0] for key in table.keys] * n,
            "budget": [key[1] for key in table.keys] * n,
        }
        parts.append(pd.DataFrame(about | columns))
    frame = pd.concat(parts, ignore_index=True)
    fields = {"template": "template", "prefix": "prefix", "pattern": "pattern", "io": "io", "s": "s"}
    index = pd.DataFrame({name: [getattr(prompt, field) for prompt in prompts] for name, field in fields.items()})
    return frame.join(index, on="prompt")


def write_results(card: Card, results: Results, folder: Path) -> None:
    """Write ``card.json``, ``prompts.parquet``, ``card.png`` and ``card.svg``, each whole or not at all.

    Raises:
        StorageError: no permission, no space.
    """
    buffer = BytesIO()
    prompts_frame(results).to_parquet(buffer, index=False)
    write_file(folder / "prompts.parquet", buffer.getvalue())
    write_figures(card, folder / "card.png", folder / "card.svg")
    card.write(folder / "card.json")
