"""The card of a reference suite: figures that an independent program found, and the rest locked.

The independent program is `tests/oracles/independent_card.py`, which says how to run it: after a change of the model,
the suite or the task. After a change that is meant, ``python tests/evaluation/test_golden_card.py`` writes the
locked figures anew.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pandas as pd
import pytest

from ioi_bench import evaluate
from ioi_bench.dictionaries.suite import Suite, load_suite
from ioi_bench.sites import Site

ROOT = Path(__file__).parents[2]
SUITE = ROOT / "reference_saes" / "ioi-mini" / "topk-k3-s0"
GOLDEN = ROOT / "tests" / "golden" / "card-topk-200.csv"
INDEPENDENT = json.loads((ROOT / "tests" / "golden" / "independent-topk-200.json").read_text())
CELLS = ["io@nm-out", "pos@si-out"]
KEYS = ["cell", "method", "budget", "metric"]


def make_card():
    return evaluate(SUITE, prompts=INDEPENDENT["prompts"], budgets=(1, 2, 4), batch_size=200)


def figures(card):
    """All figures of the two cells, one a row."""
    frame = card.to_frame()
    return frame[frame["cell"].isin(CELLS)].reset_index(drop=True)


@pytest.fixture(scope="module")
def card():
    return make_card()


def test_the_independent_figures_belong_to_what_is_shipped(card):
    """They must be computed anew when the model, its circuit, the suite or the prompts change."""
    weights = ROOT / "ioi_bench" / "lm" / "mini" / "weights"
    shipped = [path for folder in (weights, SUITE) for path in folder.iterdir() if path.suffix != ".md"]
    shipped.append(ROOT / "ioi_bench" / "lm" / "circuits" / "ioi-mini.toml")
    hashes = {path.relative_to(ROOT).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in shipped}
    assert INDEPENDENT["files"] == hashes
    assert INDEPENDENT["spec_sha256"] == card.made.spec_sha256
    assert set(INDEPENDENT["cells"]) >= set(CELLS)


@pytest.mark.parametrize("name", INDEPENDENT["cells"])
def test_an_independent_program_finds_the_same_figures(card, name):
    cell, known = next(cell for cell in card.cells if cell.name == name), INDEPENDENT["cells"][name]
    edits = [edit for edit in cell.edits if edit.method == "exchange"]
    score = cell.scores["exchange"]
    close = {"abs": 2e-4}
    assert cell.skyline["mean"].weight.value == pytest.approx(known["skyline_weight"], **close)
    assert [edit.accuracy.value for edit in edits] == pytest.approx(known["accuracy"], abs=0.0051)  # one prompt of 200
    assert [edit.weight.value for edit in edits] == pytest.approx(known["weight"], **close)
    assert [edit.distance.value for edit in edits] == pytest.approx(known["distance"], rel=1e-4)
    assert score.s.value == pytest.approx(known["s"], abs=5e-3)
    assert score.s_null.value == pytest.approx(known["s_null"], abs=2e-3)
    assert score.score.value == pytest.approx(known["score"], abs=5e-3)


def test_an_independent_program_finds_the_same_ioi_score(card):
    assert card.headline["exchange"].score.value == pytest.approx(INDEPENDENT["ioi_score"], abs=5e-3)


def test_every_figure_is_locked(card):
    locked, found = pd.read_csv(GOLDEN), figures(card)
    rows, expected = (frame[KEYS].astype(object).fillna("").to_numpy().tolist() for frame in (found, locked))
    assert rows == expected
    for column in ("value", "low", "high"):
        pd.testing.assert_series_equal(
            found[column].astype(float), locked[column].astype(float), rtol=0.01, atol=0.006, check_names=False
        )


def test_a_missing_site_is_judged_as_a_random_dictionary():
    """Not as the identity, and not as anything that reconstructs."""
    whole = load_suite(SUITE)
    lost = Site.parse("z.1.1@s2")
    rest = {site: dictionary for site, dictionary in whole.dictionaries.items() if site != lost}
    suite = Suite("part", whole.model, rest, whole.model_sha256, whole.metadata)
    settings = {"prompts": 100, "train_prompts": 3000, "budgets": (1, 2, 4), "methods": ("exchange",)}
    full, part = (
        next(cell for cell in evaluate(each, **settings).cells if cell.name == "pos@ind-dt-out")
        for each in (whole, suite)
    )
    assert part.missing_sites == (str(lost),)
    assert part.faithfulness.l0.value == pytest.approx(3, abs=0.01)  # the standard null: top 3
    assert part.faithfulness.fvu.value > full.faithfulness.fvu.value + 0.2
    assert part.scores["exchange"].score.value < full.scores["exchange"].score.value - 0.1


if __name__ == "__main__":
    figures(make_card())[[*KEYS, "value", "low", "high"]].round(5).to_csv(GOLDEN, index=False)
