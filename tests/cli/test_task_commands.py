"""`ioi-bench task`: what is shown and exported is what the split holds."""

from __future__ import annotations

import errno
import json

import pandas as pd
import pytest
from rich.console import Console

from ioi_bench.cli import task as task_commands
from ioi_bench.task import IOI_V1, IOI_V1_MINI


def test_show_prints_each_prompt_with_its_counterfactuals(cli):
    shown = " ".join(cli("task", "show", "--n", 2, "--split", "train").stdout.split())
    split = IOI_V1_MINI.split("train").head(2)
    for prompt in split.prompts:
        assert f"{prompt.io}⟨io⟩" in shown
        assert f"{prompt.s}⟨s2⟩" in shown
        assert f"→ {prompt.io}" in shown
    for prompt in split.counterfactual(("io",)):
        assert f"→ {prompt.io}" in shown


def test_show_colours_exactly_the_roles(monkeypatch, cli):
    monkeypatch.setattr(task_commands, "out", lambda: Console(force_terminal=True, color_system="truecolor", width=200))
    coloured = cli("task", "show", "--n", 1).stdout
    prompt = IOI_V1_MINI.split("test").prompts[0]
    assert f"\x1b[1;32m{prompt.io}\x1b[0m" in coloured
    assert f"\x1b[1;31m{prompt.s}\x1b[0m" in coloured
    assert "⟨" not in coloured


def test_show_json_has_the_roles_where_they_stand(cli):
    rows = json.loads(cli("task", "show", "--n", 3, "--json", "--model", "gpt2").stdout)
    assert [row["text"] for row in rows] == [IOI_V1.text(prompt) for prompt in IOI_V1.split("test").prompts[:3]]
    for row in rows:
        assert row["text"][row["io_start"] : row["io_stop"]] == row["io"]
        assert row["text"][row["s2_start"] : row["s2_stop"]] == row["s"]
        assert row["text"][row["end_start"] : row["end_stop"]] == "to"
        assert row["io_target"] in row["counterfactual_io"]
        assert row["s_target"] in row["counterfactual_pos+s"]


READERS = {
    "parquet": pd.read_parquet,
    "csv": lambda path: pd.read_csv(path, keep_default_na=False),
    "jsonl": lambda path: pd.read_json(path, lines=True, dtype=False, convert_dates=False),
}


@pytest.mark.parametrize("format", READERS)
def test_export_round_trips(cli, tmp_path, format):
    file = tmp_path / f"new/split.{format}"
    result = cli("task", "export", "--split", "validation", "--format", format, "--out", file)
    assert (result.exit_code, result.stdout) == (0, "")
    frame = READERS[format](file)
    split = IOI_V1_MINI.split("validation")
    assert frame["text"].tolist() == [split.spec.text(prompt) for prompt in split.prompts]
    assert frame["counterfactual_pos"].tolist() == [
        split.spec.text(prompt) for prompt in split.counterfactual(("pos",))
    ]
    assert set(frame["pattern"]) == {"ABB", "BAB"}
    assert frame["object"].tolist() == [prompt.object for prompt in split.prompts]


def test_hash_names_every_spec(cli):
    assert json.loads(cli("task", "hash", "--json").stdout) == {
        "ioi-v1": IOI_V1.sha256,
        "ioi-v1-mini": IOI_V1_MINI.sha256,
    }
    assert f"{IOI_V1.sha256}  ioi-v1\n" in cli("task", "hash").stdout


@pytest.mark.parametrize(
    ("args", "hint"),
    [
        (["show", "--split", "tset"], "did you mean 'test'"),
        (["show", "--model", "ioi-mimi"], "did you mean 'ioi-mini'"),
        (["show", "--n", "0"], "1 to 5000"),
        (["show", "--n", "5001"], "1 to 5000"),
    ],
)
def test_bad_input_exits_2_and_says_what_to_do(cli, args, hint):
    result = cli("task", *args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert hint in result.stderr


def test_a_place_that_cannot_be_written_leaves_nothing(cli, tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("not a folder")
    result = cli("task", "export", "--out", blocker / "split.parquet")
    assert result.exit_code == 1
    assert "cannot write" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_leaves_nothing(cli, tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("ioi_bench.atomic.os.fsync", full)
    result = cli("task", "export", "--format", "csv", "--out", tmp_path / "split.csv")
    assert result.exit_code == 1
    assert "No space left on device" in result.stderr
    assert list(tmp_path.iterdir()) == []
