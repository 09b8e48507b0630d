"""The file of prompts bears a card out: figures by hand, in pandas and numpy, from METHOD §6 and §7."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ioi_bench.evaluation.bootstrap import Bootstrap


@pytest.fixture(scope="module")
def small(small_card):
    return small_card


@pytest.fixture(scope="module")
def frame(small):
    return pd.read_parquet(small.prompts)


@pytest.fixture(scope="module")
def counts(frame):
    """How often each draw holds each prompt; the draws themselves are not what is tested here."""
    prompts = frame[frame["site"] == frame["site"].dropna().iloc[0]].sort_values("prompt")
    pairs = [tuple(sorted(pair)) for pair in zip(prompts["io"], prompts["s"], strict=True)]
    return Bootstrap.of(pairs, draws=1000, seed=0).weights.numpy()


def means(frame, counts, column, **keys):
    """Weighted mean of a column, per draw, over the prompts that have a value."""
    rows = frame
    for name, value in keys.items():
        rows = rows[rows[name] == value]
    values = rows.sort_values("prompt")[column].to_numpy(dtype=float)
    assert len(values) == counts.shape[1]
    known = ~np.isnan(values)
    by = counts[:, known]
    if column == "weight":  # prompts count by how far the edit moves them
        by = by * rows.sort_values("prompt")["moved"].to_numpy(dtype=float)[known]
    total = by.sum(1)
    return by @ values[known] / np.where(total > 0, total, 1)


def interval(draws):
    low, high = np.quantile(draws[1:], [0.025, 0.975])
    bias = draws[1:].mean() - draws[0]
    return [draws[0], low - 2 * bias, high] if bias > 0 else [draws[0], low, high - 2 * bias]


def shown(figure):
    return [figure.value, figure.low, figure.high]


def values_of(frame, counts, cell, dictionary):
    """v_k of budgets 1, 2, 4 under exchange, from accuracy and weight alone."""
    no = means(frame, counts, "accuracy", cell=cell, method="no-edit", budget=0)
    sky = means(frame, counts, "accuracy", cell=cell, method="skyline", budget=1)
    w_sky = means(frame, counts, "weight", cell=cell, method="skyline", budget=1)
    found = []
    for k in (1, 2, 4):
        keys = {"cell": cell, "dictionary": dictionary, "method": "exchange", "budget": k}
        y = (means(frame, counts, "accuracy", **keys) - no) / (sky - no)
        x = (means(frame, counts, "weight", **keys) - w_sky) / np.maximum(1 - w_sky, 0.1)
        found.append(y * (1 - np.clip(x, 0, 1)))
    return np.array(found)


def s_of(values):
    return np.mean([np.maximum(values[: i + 1].max(0), 0) for i in range(3)], 0)


def test_scores_and_the_headline_by_hand(small, frame, counts):
    scores = []
    for cell in small.card.cells:
        if not (cell.headline and cell.ranked):
            continue
        s = s_of(values_of(frame, counts, cell.name, "suite"))
        null = np.mean([s_of(values_of(frame, counts, cell.name, f"random {seed}")) for seed in range(3)], 0)
        above = (s - null) / (1 - np.minimum(null, 0.9))
        score = np.where(s >= null, above, (s - null) / np.maximum(null, 0.1))
        on_card = cell.scores["exchange"]
        assert shown(on_card.s) == pytest.approx(interval(s), abs=1e-6)
        assert shown(on_card.s_null) == pytest.approx(interval(null), abs=1e-6)
        assert shown(on_card.score) == pytest.approx(interval(score), abs=1e-6)
        scores.append(score)
    headline = small.card.headline["exchange"]
    assert headline.n_cells == len(scores) > 1
    assert shown(headline.score) == pytest.approx(interval(np.mean(scores, 0)), abs=1e-6)


def test_faithfulness_by_hand(small, frame, counts):
    for cell in small.card.cells:
        run = {
            name: means(frame, counts, name, cross_section=cell.cross_section)
            for name in ("ld_clean", "ld_mean", "ld_sae", "ld_without", "kl_sae", "kl_without")
        }
        parts = [
            {name: means(frame, counts, name, site=site) for name in ("active", "residual", "variance")}
            for site in cell.sites
        ]
        found = cell.faithfulness
        for figure, draws in (
            (found.l0, np.mean([part["active"] for part in parts], 0)),
            (found.fvu, np.mean([part["residual"] / part["variance"] for part in parts], 0)),
            (found.ld_recovered, (run["ld_sae"] - run["ld_mean"]) / (run["ld_clean"] - run["ld_mean"])),
            (found.sufficiency, run["ld_sae"] / run["ld_clean"]),
            (found.sufficiency_kl, run["kl_sae"]),
            (found.necessity_kl, run["kl_without"]),
            (
                found.necessity,
                1 - np.abs(run["ld_mean"] - run["ld_without"]) / np.abs(run["ld_mean"] - run["ld_clean"]),
            ),
        ):
            assert shown(figure) == pytest.approx(interval(draws), abs=1e-5, rel=1e-6)


def test_edits_by_hand(small, frame, counts):
    cell = small.card.cell("io@nm-out")
    edit, keys = cell.edit("exchange", 2), {"cell": cell.name, "dictionary": "suite", "method": "exchange", "budget": 2}
    for name in ("accuracy", "accuracy_names"):
        draws = means(frame, counts, name, **keys)
        share, n = draws[0], draws[0] * (1 - draws[0]) / draws[1:].var(ddof=1)
        ends = stats.beta(share * n + 0.5, (1 - share) * n + 0.5).ppf([0.025, 0.975])
        assert 0 < share < 1
        assert shown(getattr(edit, name)) == pytest.approx([share, *ends], abs=1e-6)
    for name in ("ld_gap", "kl", "weight", "weight_added_paper", "distance"):
        assert shown(getattr(edit, name)) == pytest.approx(interval(means(frame, counts, name, **keys)), abs=1e-6)
    ratio = means(frame, counts, "distance", **keys) / means(frame, counts, "distance_unedited", **keys)
    assert shown(edit.distance_relative) == pytest.approx(interval(ratio), abs=1e-6)
    assert edit.n_removed == pytest.approx(means(frame, counts, "n_removed", **keys)[0])
