"""`compare`, `evaluate --precision` and `study coverage`, on real cards."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ioi_bench.evaluation.card import Card

SUITES = Path(__file__).parents[2] / "reference_saes" / "ioi-mini"


def test_two_suites_are_compared_and_drawn(cli, cards, tmp_path):
    result = cli("compare", cards["topk"], cards["gated"], "--out", tmp_path / "both")
    assert result.exit_code == 0, result.stderr
    assert "topk-k12-s0 − gated-s0 (paired)" in result.stdout
    assert result.stdout.count("detectable  ") == 1  # one table; the legend says what it means
    for name in ("IOI score", "io@nm-out"):
        assert name in result.stdout
    names = {path.name for path in (tmp_path / "both").iterdir()}
    assert names == {f"comparison.{ending}" for ending in ("png", "svg", "html", "json")}
    page = (tmp_path / "both" / "comparison.html").read_text()
    assert "<script src=" not in page  # nothing is fetched
    drawn = (tmp_path / "both" / "comparison.svg").read_text()
    assert all(text in drawn for text in ("gated-s0", "group 1", "pos@si-v", "score less that of topk-k12-s0"))


def test_the_data_are_json_on_stdout(cli, cards):
    result = cli("compare", cards["topk"], cards["gated"], "--json")
    data = json.loads(result.stdout)
    first = data["differences"][0]
    a, b = (Card.read(cards[kind]).headline["exchange"].score.value for kind in ("topk", "gated"))
    assert first["what"] == "IOI score"
    assert first["value"] == pytest.approx(a - b, abs=1e-6)
    assert first["detectable"] == pytest.approx(2.8016 * first["se"], rel=1e-4)
    assert {suite["group"] for suite in data["suites"]} <= {1, 2}


def test_what_cannot_be_compared_ends_with_2(cli, cards):
    result = cli("compare", cards["topk"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "needs two" in result.stderr


@pytest.mark.slow
def test_as_many_prompts_as_a_precision_takes(cli, tmp_path):
    asked = 0.017
    options = ["--methods", "exchange", "--budgets", "1,2,4", "--train-prompts", 500, "--out", tmp_path / "card"]
    result = cli("evaluate", SUITES / "topk-k3-s0", "--precision", asked, *options)
    assert result.exit_code == 0, result.stderr
    card = Card.read(tmp_path / "card")
    score = card.headline["exchange"].score
    assert (score.high - score.low) / 2 == pytest.approx(asked, rel=0.15)
    assert card.made.n_prompts % 50 == 0
    assert f"± {asked} takes {card.made.n_prompts:,}" in result.stderr
    assert "the first 500 prompts give the IOI score ±" in result.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        pytest.param(["--precision", "0.01", "--prompts", "100"], "give one of them", id="both"),
        pytest.param(["--precision", "2"], "between 0 and 1", id="nonsense"),
        pytest.param(["--precision", "0.01", "--methods", "aware"], "name it among --methods", id="no exchange"),
        pytest.param(["--precision", "0.01", "--budgets", "8"], "needs a scored budget", id="no scored budget"),
    ],
)
def test_a_precision_that_cannot_be_reached_is_said_first(cli, options, said):
    result = cli("evaluate", SUITES / "topk-k3-s0", *options)
    assert result.exit_code == 2
    assert said in result.stderr


def test_coverage_is_counted(cli):
    result = cli("study", "coverage", "--condition", "half", "--benchmarks", 3, "--prompts", 60, "--draws", 100)
    assert result.exit_code == 0, result.stderr
    heading, _, row = result.stdout.strip().splitlines()
    assert row.startswith("| half | 60 | 3 | ")
    assert heading.count("|") == row.count("|") == len("cpn") + 7 + 1
    assert len(re.findall(r"[\d.]+%(?!\))", row)) == 3 * 3 + 4
    result = cli("study", "coverage", "--condition", "half", "--benchmarks", 2, "--prompts", 60, "--names", "--json")
    found = {one["figure"]: one for one in json.loads(result.stdout)}
    assert found["IOI score"]["others"] is not None
    assert found["S"]["others"] is None
    assert "did you mean" in cli("study", "coverage", "--condition", "hlaf").stderr
