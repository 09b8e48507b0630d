"""`anchors`, and anchors on the printed card."""

from __future__ import annotations

import json
from pathlib import Path

from ioi_bench.evaluation.anchor_files import read_anchors
from ioi_bench.evaluation.anchors import OF_SUITE, OF_TRACK

SUITE = Path(__file__).parents[2] / "reference_saes" / "ioi-mini" / "topk-k3-s0"
SMALL = ("--prompts", "20", "--train-prompts", "200")


def test_anchors_of_a_directory_are_written_and_shown_on_its_cards(cli, tiny_model, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    file = tmp_path / "anchors.json"
    two = ("--baseline", "full-patch", "--baseline", "untrained")
    result = cli("anchors", "--model", tiny_model, *two, *SMALL, "--out", file)
    assert result.exit_code == 0, result.stderr
    assert "full-patch" in result.stdout
    assert str(file) in result.stderr
    assert [row.name for row in read_anchors(file).rows] == ["full-patch", "untrained"]
    sky = tmp_path / "sky"
    assert cli("skyline", "--model", tiny_model, "--export", sky, "--train-prompts", 200).exit_code == 0
    asked = ("evaluate", sky, "--model", tiny_model, *SMALL, "--methods", "exchange", "--budgets", "1")
    without = cli(*asked, "--out", tmp_path / "one")
    assert without.exit_code == 0, without.stderr
    assert "no anchors of the track: none ship with the track 'gpt2'" in without.stdout
    card = json.loads(cli(*asked, "--out", tmp_path / "two", "--anchors", file, "--json").stdout)
    assert card["anchors"]["track"] == json.loads(file.read_text())
    refused = cli("evaluate", SUITE, *SMALL, "--anchors", file, "--out", tmp_path / "three")
    assert refused.exit_code == 2
    assert "of another model" in refused.stderr


def test_a_printed_card_has_a_line_for_each_anchor(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    args = ("evaluate", SUITE, *SMALL, "--methods", "exchange", "--budgets", "1,2,4", "--out", tmp_path / "card")
    result = cli(*args)
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    for name in (*OF_SUITE, *OF_TRACK):
        assert any(line.strip().startswith(name) for line in lines), name


def test_an_unknown_baseline_is_bad_input(cli):
    result = cli("anchors", "--baseline", "dass", *SMALL)
    assert result.exit_code == 2
    assert "did you mean 'das'" in result.stderr
