"""From judged suites to the audit's tables: a row a figure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from ioi_bench.evaluation.bootstrap import Interval
from ioi_bench.studies.audit.corruptions import CORRUPTIONS
from ioi_bench.studies.audit.gates import Verdict, verdict
from ioi_bench.studies.audit.measured import METRICS
from ioi_bench.studies.audit.plan import CHECKPOINTS, PLANTED, RANDOM, SUITES, TRUTH
from ioi_bench.studies.audit.reliability import coefficients_of_variation, icc_one_way, icc_two_way, spearman
from ioi_bench.studies.audit.telling_apart import family_p_values, separation
from ioi_bench.studies.audit.units import Judged

__all__ = [
    "Row",
    "Rows",
    "checkpoint_table",
    "planted_table",
    "retest_table",
    "rows_of",
    "seed_table",
    "separation_table",
    "verdicts",
]

Row = dict[str, Any]
Rows = Sequence[Row]
"""Figures of suites: the fields of `About`, and ``figures``."""


def rows_of(judged: Sequence[Judged]) -> list[Row]:
    """Judged suites as rows."""
    return [{**asdict(one.about), "suite_sha256": one.suite_sha256, "figures": one.figures} for one in judged]


def _of(row: Row, metric: str) -> float:
    value = row["figures"].get(metric)
    return math.nan if value is None else float(value)


def _metrics_of(rows: Rows) -> list[str]:
    """All figures of `METRICS`, and the scores of single cells, which are shown beside them."""
    cells = {name for row in rows for name in row["figures"] if name.startswith("score.") and name not in METRICS}
    return [*METRICS, *sorted(cells)]


def retest_table(rows: Rows) -> list[Row]:
    """Test and retest: suites as subjects, splits as measurements."""
    own = [row for row in rows if row["part"] == SUITES and row["variant"] != RANDOM]
    splits = list(dict.fromkeys(row["split"] for row in own))
    subjects = {row["suite"]: {} for row in own}  # type: dict[str, dict[str, Row]]
    for row in own:
        subjects[row["suite"]][row["split"]] = row
    whole = [by_split for by_split in subjects.values() if len(by_split) == len(splits)]
    found = []
    for metric in _metrics_of(own):
        table = np.array([[_of(by_split[split], metric) for split in splits] for by_split in whole])
        table = table[np.isfinite(table).all(1)]
        varies = coefficients_of_variation(table) if table.shape[0] else np.array([math.nan])
        found.append(
            {"metric": metric, "suites": len(table), "splits": len(splits), **_icc(table, icc_two_way)}
            | {"cv_median": _number(np.nanmedian(varies)), "cv_most": _number(np.nanmax(varies))}
        )
    return found


def seed_table(rows: Rows) -> list[Row]:
    """Variants as subjects, their seeds as measurements, on the first split."""
    own = _first_split(rows)
    by_variant: dict[str, list[Row]] = {}
    for row in own:
        by_variant.setdefault(row["variant"], []).append(row)
    seeds = max(len(some) for some in by_variant.values())
    whole = {name: some for name, some in by_variant.items() if len(some) == seeds and name != RANDOM}
    found = []
    for metric in _metrics_of(own):
        table = np.array([[_of(row, metric) for row in some] for some in whole.values()])
        table = table[np.isfinite(table).all(1)] if len(table) else np.zeros((0, 0))
        enough = min(table.shape) >= 2
        between, within = (table.mean(1).std(ddof=1), math.sqrt(table.var(1, ddof=1).mean())) if enough else (None,) * 2
        found.append(
            {"metric": metric, "variants": len(table), "seeds": seeds, **_icc(table, icc_one_way)}
            | {"sd_between": _number(between), "sd_within": _number(within)}
        )
    return found


def _icc(table: np.ndarray, of: Any) -> Row:
    nothing = Interval(math.nan, math.nan, math.nan)
    found = of(table) if table.ndim == 2 and min(table.shape) >= 2 else nothing
    return {"icc": _number(found.value), "low": _number(found.low), "high": _number(found.high)}


def _first_split(rows: Rows) -> list[Row]:
    own = [row for row in rows if row["part"] == SUITES]
    return [row for row in own if row["split"] == own[0]["split"]]


def separation_table(judged: Sequence[Judged]) -> list[Row]:
    """What each figure tells apart: pairs of suites, where it has draws over prompts, and the gate's pairs of variants.

    ``p`` is over prompts alone, ``p_over_seeds`` over prompts and seeds; of figures from train both are over seeds.
    """
    with_draws = [one for one in judged if one.draws]
    suites = [one for one in with_draws if one.about.variant != RANDOM]
    found = []
    for metric, about in METRICS.items():
        row: Row = {"metric": metric, "between": None, "within": None, "groups": None, "suites": None}
        if all(metric in one.draws for one in suites):
            draws = np.stack([one.draws[metric] for one in suites])
            row |= asdict(separation(draws, [one.about.variant for one in suites], about.sign))
        families: dict[str, list[np.ndarray]] = {}
        for one in with_draws:
            size = len(next(iter(one.draws.values())))
            families.setdefault(one.about.variant, []).append(
                one.draws.get(metric, np.full(size, one.figures.get(metric, math.nan)))
            )
        stacked = {name: np.stack(some) for name, some in families.items()}
        over_seeds = family_p_values(stacked, over_seeds=True)
        alone = row["between"] is not None  # without draws over prompts there is nothing but seeds to draw
        found.append(row | {"p": family_p_values(stacked, over_seeds=False) if alone else over_seeds})
        found[-1]["p_over_seeds"] = over_seeds
    return found


def checkpoint_table(rows: Rows) -> list[Row]:
    """Spearman's ρ of each figure (higher: better) with the epoch, by variant."""
    own = [row for row in rows if row["part"] == CHECKPOINTS]
    found = []
    for variant in dict.fromkeys(row["variant"] for row in own):
        some = sorted((row for row in own if row["variant"] == variant), key=lambda row: row["level"])
        epochs = np.array([row["level"] for row in some])
        for metric, about in METRICS.items():
            values = np.array([_of(row, metric) for row in some])
            rho = spearman(epochs, about.sign * values) if len(some) > 1 else math.nan
            ends = {"first": _number(values[0]), "last": _number(values[-1])}
            found.append({"variant": variant, "metric": metric, "checkpoints": len(some), "rho": _number(rho)} | ends)
    return found


def planted_table(rows: Rows) -> list[Row]:
    """Per figure and corruption: its mean over seeds at every share, and Spearman's ρ of that with what is unspoilt.

    ``rho`` is 1 where the figure, signed so that higher is better, falls with every step; ``rho_least`` is the least
    of the seeds alone. ``fall`` is how far it falls from the truth to the last share, and ``rise`` how far it is above
    the truth at most (0 where nowhere): what a corruption is rewarded with. Shares at which a figure is not defined
    (of an empty dictionary, the cosines) are left out.
    """
    own = [row for row in rows if row["part"] == PLANTED]
    truth = next((row for row in own if row["variant"] == TRUTH), None)
    if truth is None:
        return []
    found = []
    for metric, about in METRICS.items():
        for corruption in CORRUPTIONS:
            some = {(row["seed"], row["level"]): _of(row, metric) for row in own if row["variant"] == corruption}
            seeds, shares = (sorted({key[i] for key in some}) for i in (0, 1))
            curves = np.array([[_of(truth, metric), *(some[seed, share] for share in shares)] for seed in seeds])
            mean, kept = curves.mean(0), 1 - np.array([0.0, *shares])
            signed = about.sign * mean
            there = np.isfinite(mean)  # a dictionary of which nothing is left has no cosines
            each = [spearman(kept[there], about.sign * curve[there]) for curve in curves]
            left = signed[there] if there.any() else np.full(1, math.nan)
            found.append(
                {
                    "metric": metric,
                    "corruption": corruption,
                    "seeds": len(seeds),
                    "rho": _number(spearman(kept[there], signed[there])),
                }
                | {
                    "rho_least": _number(min(each)),
                    "shares": [0.0, *shares],
                    "values": [_number(value) for value in mean],
                }
                | {"fall": _number(left[0] - left[-1]), "rise": _number(max(0.0, left.max() - left[0]))}
            )
    return found


def verdicts(retest: Rows, apart: Rows, planted: Rows) -> dict[str, Verdict]:
    """Hold every figure against the gates."""
    icc = {row["metric"]: row["icc"] for row in retest}
    p = {row["metric"]: row["p"] for row in apart}
    return {
        metric: verdict(
            metric,
            icc.get(metric),
            p.get(metric, {}),
            {row["corruption"]: row["rho"] for row in planted if row["metric"] == metric},
        )
        for metric in METRICS
    }


def _number(value: Any) -> float | None:
    """JSON has no NaN."""
    return None if value is None or not math.isfinite(value) else float(value)
