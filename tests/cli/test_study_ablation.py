"""`study ablation`, on ioi-mini with one variant."""

from __future__ import annotations

import json
import re

import pytest

from ioi_bench.training import Tactics

TINY = """
d_sae = 8
epochs = 2
batch_size = 20
resampling = { after = [1], warmup = 1 }
checkpoints = [1]
[variants]
topk = [2]
"""
SMALL = ["--train-prompts", "40", "--prompts", "6"]
TACTICS = list(Tactics.model_fields)


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


def test_an_estimate_a_table_a_page_and_going_on(cli, recipe, tmp_path):
    args = ("study", "ablation", recipe, "--out", tmp_path / "out", *SMALL)
    estimated = cli(*args, "--estimate")
    assert (estimated.exit_code, estimated.stdout) == (0, ""), estimated.stderr
    assert "8 runs of 14 SAEs" in estimated.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["full"]
    result = cli(*args)
    assert result.exit_code == 0, result.stderr
    assert "8 runs of 14 SAEs" in result.stderr
    for tactic in TACTICS:
        assert re.search(rf"^  {tactic} .*\[.*\]", result.stdout, flags=re.M)
    written = {path.name for path in (tmp_path / "out").iterdir() if path.is_file()}
    assert written == {"ABLATION.md", "ablation.png", "ablation.json"}
    record = json.loads((tmp_path / "out" / "ablation.json").read_text())
    assert record["provenance"]["train_prompts"] == 40
    assert record["n_prompts"] == 6
    begun = cli(*args)
    assert (begun.exit_code, begun.stdout) == (2, "")
    assert "--resume" in begun.stderr
    again = cli(*args, "--resume", "--json")
    assert again.exit_code == 0, again.stderr
    assert json.loads(again.stdout) == record


def test_what_is_wrong_is_said_before_any_work(cli, recipe, tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").write_text("mine")
    for args, hint in (
        ((recipe, "--out", tmp_path / "taken"), "exists already"),
        ((tmp_path / "none.toml", "--out", tmp_path / "out"), "there is no recipe"),
        ((recipe, "--out", tmp_path / "out", "--prompts", "0"), "0 prompts"),
    ):
        result = cli("study", "ablation", *args, "--train-prompts", "40")
        assert (result.exit_code, result.stdout) == (2, "")
        assert hint in result.stderr
