"""From tables to the card and the files beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ioi_bench.atomic import write_files
from ioi_bench.dictionaries.supervised import SupervisedCodes
from ioi_bench.evaluation.anchor_records import CardAnchors
from ioi_bench.evaluation.bootstrap import Bootstrap
from ioi_bench.evaluation.card import Card, CardCell, CardWarning, Made
from ioi_bench.evaluation.card_cells import Scope, cell_figures
from ioi_bench.evaluation.card_records import CrossSectionFigures
from ioi_bench.evaluation.codes import SiteCodes
from ioi_bench.evaluation.cross_sections import cross_section_figures
from ioi_bench.evaluation.figure import figures
from ioi_bench.evaluation.prompts_file import Layout, prompts_bytes
from ioi_bench.evaluation.study import Study, Tables
from ioi_bench.lm.circuit import Circuit, RankedCell
from ioi_bench.sites import Cell, Site

__all__ = ["Results", "assemble", "write_results"]

_DEAD_SHARE_WARNED = 0.5
_NORM_RATIO_WARNED = (0.5, 2.0)
_OFFSET_WARNED = 0.9
_COSINE_TRAINED, _COSINE_WARNED = 0.85, 0.95  # the first measured on all reference suites: docs/trust.md


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


def assemble(results: Results, made: Made, circuit: Circuit, anchors: CardAnchors) -> Card:
    """Draw the bootstrap and write down every figure."""
    study = results.study
    scope = Scope(
        circuit=circuit,
        cells=study.cells,
        methods=study.methods,
        ranked=results.ranked,
        missing=results.missing,
        boot=results.boot,
        metrics=study.measures.metrics,
    )
    cells, headline = cell_figures(
        scope,
        results.tables,
        {name: _dead_share([study.suite[site] for site in study.sites[name]]) for name in results.tables.faithful},
    )
    sections = tuple(
        cross_section_figures(name, study.sites[name], study.suite, results.mean_codes, table, results.boot)
        for name, table in results.tables.faithful.items()
    )
    warnings = tuple(_warnings(results, made, cells, sections))
    return Card(
        track=circuit.track,
        made=made,
        headline=headline,
        cells=cells,
        cross_sections=sections,
        anchors=anchors,
        warnings=warnings,
    )


def _dead_share(sites: Sequence[SiteCodes]) -> float:
    return sum(site.dead_share for site in sites) / len(sites)


def _warnings(
    results: Results, made: Made, cells: Sequence[CardCell], sections: Sequence[CrossSectionFigures]
) -> Iterator[CardWarning]:
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
    if dense := [site for site, codes in own.items() if _dense(results, site, codes)]:
        yield CardWarning(
            code="not-sparse",
            message=f"as many features are active at {_listed(dense)} as the activation has dimensions: codes that are "
            "not sparse are easy to find edits among, and a score says little of their features",
        )
    if carried := [site for site, codes in own.items() if codes.offset_share > _OFFSET_WARNED]:
        yield CardWarning(
            code="offset-carries",
            message=f"an offset of each input's own carries the reconstruction at {_listed(carried)}: faithfulness "
            "there says nothing of the features",
        )
    if near := _supervised(sections):
        yield CardWarning(
            code="supervised-directions",
            message=f"the directions are nearer to the supervised codes ({near}, mean largest cosine over the "
            f"cross-sections) than those of any dictionary that was trained without labels ({_COSINE_TRAINED:.2f} at "
            "most): what were they fitted on?",
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


def _supervised(sections: Sequence[CrossSectionFigures]) -> str:
    """Attributes whose codes are found one for one, with the cosine."""
    told = []
    for attribute in sections[0].geometry if sections else ():
        cosines = [found.geometry[attribute].codes_to_features.value for found in sections]
        known = [cosine for cosine in cosines if cosine is not None]
        if len(known) > 1 and (mean := sum(known) / len(known)) > _COSINE_WARNED:
            told.append(f"{attribute} {mean:.2f}")
    return ", ".join(told)


def _suspicious(results: Results, site: Site, codes: SiteCodes) -> bool:
    if not _NORM_RATIO_WARNED[0] <= codes.norm_ratio <= _NORM_RATIO_WARNED[1]:
        return True
    for name, table in results.tables.faithful.items():
        sites = results.study.sites[name]
        if site in sites:
            residual, variance = table.parts[:, sites.index(site), 1:].sum(0).tolist()
            return residual > variance
    return False


def _dense(results: Results, site: Site, codes: SiteCodes) -> bool:
    """L0 on the judged prompts is at least d_in."""
    for name, table in results.tables.faithful.items():
        sites = results.study.sites[name]
        if site in sites:
            return table.parts[:, sites.index(site), 0].mean().item() >= len(codes.train_mean)
    return False


def _listed(sites: Iterator[Site] | list[Site] | frozenset[Site]) -> str:
    names = sorted(map(str, sites))
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def write_results(card: Card, results: Results, folder: Path) -> None:
    """Write ``card.json``, ``prompts.parquet``, ``card.png`` and ``card.svg``: all whole, or none.

    Raises:
        StorageError: no permission, no space.
    """
    study = results.study
    metrics = tuple(metric.name for metric in study.measures.metrics)
    layout = Layout.of(results.tables, study.sites, metrics, len(study.data))
    prompts = prompts_bytes(layout, results.tables, study.data.split.prompts)
    drawn = figures(card, folder / "card.png", folder / "card.svg")
    write_files({folder / "prompts.parquet": prompts, **drawn, folder / "card.json": card.to_bytes()})  # the card last
