"""Do cheap measures rank dictionaries as edits do? Spearman's ρ, site by site (METHOD §6).

The points of a site are its checkpoints × sparsities.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ioi_bench.metrics.rank_correlation import RankCorrelation, SweepPoints, mean_correlation, rank_correlations
from ioi_bench.studies.post.chosen import AGNOSTIC

if TYPE_CHECKING:
    import pandas as pd

    from ioi_bench.sites import Site

__all__ = ["MEASURES", "mean_correlations", "served_rows", "site_correlations"]

MEASURES = {"l0": "L0", "ld_recovered": "LD recovered", "ld_recovered_off": "|1 − LD recovered|", "l2_loss": "L2 loss"}
"""The measures, and what they are called."""

_MEAN = ["seed", "group", "attribute", "measure"]
_GROUPS = {"relu": ("relu",), "gated": ("gated",), "relu + gated": ("relu", "gated"), "topk": ("topk",), "all": None}
"""Dictionaries whose points are taken together; with ``relu + gated`` the post's figures are compared."""


def served_rows(table: pd.DataFrame, served: Mapping[Site, str]) -> pd.DataFrame:
    """The candidates under ``exchange``, each with the attribute that its site serves."""
    attribute = table["site"].map({str(site): name for site, name in served.items()})
    own = table[(table["attribute"] == attribute) & (table["method"] == AGNOSTIC)]
    return own.reset_index(drop=True)


def site_correlations(rows: pd.DataFrame) -> pd.DataFrame:
    """ρ of every measure with edit distance, by seed, group of variants and site.

    Args:
        rows: of `served_rows`.

    Returns:
        Columns seed, group, site, attribute, measure, value, low, high (over dictionaries), n_points, and
        ``reliable``: False of LD recovered where ablating the site hardly moves the logit difference.
    """
    import pandas as pd

    columns = ["seed", "group", "site", "attribute", "measure", "value", "low", "high", "n_points", "reliable"]
    found = [row for seed, own in rows.groupby("seed") for row in _correlations(seed, own)]
    return pd.DataFrame(found, columns=columns)


def _correlations(seed: Any, rows: pd.DataFrame) -> Iterator[dict[str, Any]]:
    import torch

    for group, variants in _GROUPS.items():
        own = rows if variants is None else rows[rows["variant"].isin(variants)]
        if variants is not None and set(variants) - set(own["variant"]):
            continue
        for (site, attribute), some in own.groupby(["site", "attribute"], sort=False):
            columns = (some[name] for name in ("l0", "ld_recovered", "l2", "distance"))
            points = SweepPoints(*(torch.tensor(column.to_numpy(dtype=float)) for column in columns))
            for measure, found in rank_correlations(points).items():
                yield {
                    "seed": seed,
                    "group": group,
                    "site": site,
                    "attribute": attribute,
                    "measure": measure,
                    "value": found.value,
                    "low": found.low,
                    "high": found.high,
                    "n_points": found.n_points,
                    "reliable": not measure.startswith("ld_") or bool(some["ld_reliable"].all()),
                }


def mean_correlations(correlations: pd.DataFrame) -> pd.DataFrame:
    """Means over the sites at which ρ is defined and reliable.

    Columns seed, group, attribute, measure, value, n_sites, n_undefined.

    NaN where there is no such site.
    """
    import pandas as pd

    rows = []
    for key, own in correlations.groupby(_MEAN, sort=False):
        figures = own[own["reliable"]][["value", "low", "high", "n_points"]].to_dict("records")
        sites = [RankCorrelation(r["value"], r["low"], r["high"], r["n_points"], 0, 0) for r in figures]
        found = mean_correlation(sites)
        about = dict(zip(_MEAN, key, strict=True))
        rows.append({**about, "value": found.value, "n_sites": found.n_sites, "n_undefined": found.n_undefined})
    return pd.DataFrame(rows)
