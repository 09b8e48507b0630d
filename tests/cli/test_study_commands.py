"""`study attention`."""

from __future__ import annotations

import json

import pytest

SMALL = ["--prompts", "20", "--train-prompts", "100"]


def test_attention_prints_a_row_a_head_and_target(cli, tiny_model, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    printed = cli("study", "attention", "--model", tiny_model, "--head", "9.9", "--head", "10.0", *SMALL)
    assert printed.exit_code == 0, printed.stderr
    for text in ("9.9", "10.0", "mean, IO − S1", "variance, both keys", "pos×pos"):
        assert text in printed.stdout
    assert printed.stdout.count("skyline") == 2
    assert "Single features" not in printed.stdout


def test_attention_takes_the_circuit_s_name_movers_and_a_suite(cli, tiny_model, tiny_suite, tmp_path):
    args = ["--model", tiny_model, "--suite", tiny_suite.path, "--out", tmp_path / "found", *SMALL]
    printed = cli("study", "attention", "--json", *args)
    assert printed.exit_code == 0, printed.stderr
    study = json.loads(printed.stdout)
    movers = ["9.9", "9.6", "10.0"]
    assert [(one["head"], one["features"]) for one in study["heads"]] == [
        (head, features) for features in ("skyline", tiny_suite.path.name) for head in movers
    ]
    for head in study["heads"]:
        for found in head["targets"].values():
            assert sum(map(sum, found["share"])) == pytest.approx(1)
            assert sum(map(sum, found["mean"])) == pytest.approx(found["score"])
    written = tmp_path / "found"
    assert json.loads((written / "attention.json").read_text()) == study
    assert {path.name for path in written.iterdir()} == {
        "attention.json",
        *(f"attention-{which}.{kind}" for which in ("skyline", "suite") for kind in ("png", "svg")),
    }
    again = cli("study", "attention", *args)
    assert (again.exit_code, again.stdout) == (2, "")
    assert "exists already" in again.stderr
    table = cli("study", "attention", *args[:4], *SMALL)
    assert "Single features" in table.stdout


@pytest.mark.parametrize(
    ("args", "hint"),
    [
        (["--head", "9.9"], "layers are 0 to"),
        (["--head", "nine"], "layer.head"),
        (["--suite", "no-such-suite"], "there is nothing at"),
        (["--prompts", "0"], "0 prompts"),
    ],
)
def test_attention_says_what_is_wrong(cli, args, hint):
    result = cli("study", "attention", *args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert hint in result.stderr
