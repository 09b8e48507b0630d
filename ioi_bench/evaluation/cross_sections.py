"""What the features of each cross-section mean, and where they point: figures of the card (METHOD §6).

Shares and cosines come from train and have no interval over prompts; what the explained features do has one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jaxtyping import Float
from torch import Tensor

from ioi_bench.dictionaries.codes import SupervisedCodes
from ioi_bench.evaluation.bootstrap import Bootstrap
from ioi_bench.evaluation.card_records import (
    CrossSectionFigures,
    Direction,
    ExplainedFigures,
    Figure,
    GeometryFigures,
)
from ioi_bench.evaluation.codes import SiteCodes
from ioi_bench.evaluation.faithful import COLUMNS, KEPT, REMOVED
from ioi_bench.evaluation.study import FaithfulTable
from ioi_bench.evaluation.summary import figure
from ioi_bench.metrics import Explanations, Geometry, geometry, necessity, sufficiency
from ioi_bench.metrics.interpretability import KINDS, THRESHOLDS
from ioi_bench.sites import Site

__all__ = ["cross_section_figures", "kept_and_removed"]


def cross_section_figures(
    name: str,
    sites: Sequence[Site],
    suite: Mapping[Site, SiteCodes],
    codes: Mapping[Site, SupervisedCodes],
    table: FaithfulTable,
    boot: Bootstrap,
) -> CrossSectionFigures:
    """All figures of one cross-section.

    Args:
        suite: the dictionaries, with explanations.
        codes: the skyline's mean codes.
        table: what `faithfulness_runs` found.
    """
    explained = [found for site in sites if (found := suite[site].explanations) is not None]
    run = dict(zip(COLUMNS, boot.mean(table.runs).unbind(1), strict=True))
    return CrossSectionFigures(
        name=name,
        sites=tuple(map(str, sites)),
        explained=tuple(_explained_at(threshold, explained, run) for threshold in THRESHOLDS),
        geometry=_geometry([(suite[site], codes[site]) for site in sites]),
    )


def _explained_at(
    threshold: float, sites: Sequence[Explanations], run: Mapping[str, Float[Tensor, " draw"]]
) -> ExplainedFigures:
    shares = [found.shares(threshold) for found in sites]
    kept, removed = kept_and_removed(threshold, run)
    return ExplainedFigures(
        threshold=threshold,
        share=_mean([sum(share.values()) for share in shares], "higher"),
        kinds={kind: _mean([share[kind] for share in shares]) for kind in KINDS},
        kept=kept,
        removed=removed,
    )


def kept_and_removed(threshold: float, run: Mapping[str, Float[Tensor, " draw"]]) -> tuple[Figure, Figure]:
    """What the explained features do alone, and what is lost without them.

    Args:
        threshold: of F1.
        run: means of the columns of `faithfulness_runs`, per draw.
    """
    kept, removed = run[KEPT[threshold]], run[REMOVED[threshold]]
    return (
        figure(sufficiency(kept, run["ld_clean"]).score, "higher"),
        figure(necessity(removed, run["ld_mean"], run["ld_clean"]).score, "higher"),
    )


def _geometry(pairs: Sequence[tuple[SiteCodes, SupervisedCodes]]) -> dict[str, GeometryFigures]:
    found: dict[str, list[Geometry]] = {}
    for own, supervised in pairs:
        for block, codes in supervised.blocks.items():
            found.setdefault("+".join(block), []).append(geometry(own.decoder.directions, own.fires, codes))
    return {
        attribute: GeometryFigures(
            codes_to_features=_mean([site.codes_to_features for site in sites], "higher"),
            features_to_codes=_mean([site.features_to_codes for site in sites], "higher"),
        )
        for attribute, sites in found.items()
    }


def _mean(sites: Sequence[float], direction: Direction = "none") -> Figure:
    """The mean over sites that have a value (one without a living feature has none)."""
    known = [value for value in sites if value == value]
    return Figure(value=sum(known) / len(known) if known else None, direction=direction)
