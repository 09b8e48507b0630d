"""`ioi-bench calibrate`: a figure passes where it is reproduced, and not where it comes out by doing nothing."""

from __future__ import annotations

import json
import math

import pytest

from ioi_bench.evaluation.calibrate import SUPERVISED_ACCURACY, CalibrationRow, supervised_row
from ioi_bench.evaluation.card import EditFigures, Figure
from ioi_bench.evaluation.skyline import SkylineCell
from ioi_bench.sites import Cell

SMALL = ["--prompts", "20", "--train-prompts", "100"]


def planted(name, accuracy, no_edit, gain_low=None):
    """A cell of a made-up skyline; the gain's interval begins 0.05 below it unless it is said to begin elsewhere."""
    gain = accuracy - no_edit
    nothing = Figure(value=None)
    figures = {key: nothing for key, field in EditFigures.model_fields.items() if field.annotation is Figure}
    figures["accuracy"] = Figure(value=accuracy)
    counts = {"n_removed": 1.0, "n_added": 1.0, "nan_dropped": 0}
    mean = EditFigures(method="skyline", budget=1, metrics={}, **figures, **counts)
    low = gain - 0.05 if gain_low is None else gain_low
    return SkylineCell(Cell.parse(name), True, Figure(value=no_edit), Figure(value=gain, low=low), {"mean": mean})


@pytest.mark.parametrize("name", SUPERVISED_ACCURACY)
def test_the_published_figures_pass_with_answers_that_no_edit_gives_seldom(name):
    row = supervised_row(planted(name, SUPERVISED_ACCURACY[name] - 0.025, 0.2))
    assert (row.passed, row.reason, row.no_edit) == (True, "", 0.2)


@pytest.mark.parametrize(
    ("accuracy", "no_edit", "gain_low", "reasons"),
    [
        (0.96, 1.0, None, ["gains only -0.040 over no edit (0.10 needed)"]),
        (0.96, 0.96, None, ["gains only 0.000 over no edit"]),
        (0.96, 0.85, 0.04, ["its interval begins at 0.040 (0.05 needed)"]),
        (0.92, 0.2, None, ["off by 0.040"]),
        (1.0, 1.0, None, ["off by 0.040", "gains only 0.000"]),
        (math.nan, 0.2, None, ["not defined here", "gains only nan"]),
        (0.96, math.nan, None, ["gains only nan"]),
        (0.96, 0.2, math.nan, ["its interval begins at nan"]),
    ],
)
def test_a_row_that_fails_says_why(accuracy, no_edit, gain_low, reasons):
    row = supervised_row(planted("io@nm-out", accuracy, no_edit, gain_low))
    assert not row.passed
    found = row.reason.split("; ")
    assert len(found) == len(reasons)
    assert all(expected in text for expected, text in zip(reasons, found, strict=True))


def test_a_figure_of_the_model_needs_its_tolerance_alone():
    assert CalibrationRow("x", 0.9, 0.03, 0.925).passed
    assert not CalibrationRow("x", 0.9, 0.03, 0.935).passed
    assert not CalibrationRow("x", 0.9, 0.03, math.nan).passed


def test_without_edit_a_random_model_answers_as_the_true_patch_does_and_no_row_passes(cli, tiny_model, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    printed = cli("calibrate", "--model", tiny_model, *SMALL)
    assert printed.exit_code == 1
    assert (printed.stdout.count("PASS"), printed.stdout.count("FAIL")) == (0, 9)
    assert "9 of 9 figures are not reproduced" in printed.stderr
    assert max(map(len, printed.stdout.splitlines())) <= 80
    assert "…" not in printed.stdout
    rows = json.loads(cli("calibrate", "--model", tiny_model, "--json", *SMALL).stdout)
    _all_fail(rows)


@pytest.mark.slow
def test_no_row_passes_on_a_random_gpt2_of_the_true_size(cli, gpt2_dir):
    result = cli("calibrate", "--model", gpt2_dir, "--prompts", 32, "--train-prompts", 128, "--json")
    assert result.exit_code == 1, result.stderr
    _all_fail(json.loads(result.stdout))


def _all_fail(rows):
    """The model's figures are off; of the edits' it also says that they are worth nothing."""
    assert [row["name"] for row in rows[3:]] == list(SUPERVISED_ACCURACY)
    for row in rows:
        assert not row["passed"]
        assert ("off by" in row["reason"]) == (abs(row["found"] - row["expected"]) > row["tolerance"])
    assert all(row["no_edit"] is row["gain"] is row["gain_low"] is None for row in rows[:3])
    for row in rows[3:]:
        assert row["gain"] == pytest.approx(row["found"] - row["no_edit"])
        assert "over no edit" in row["reason"]


def test_the_command_succeeds_where_every_row_passes(cli, tiny_model, monkeypatch):
    rows = (CalibrationRow("accuracy", 0.91, 0.03, 0.92), supervised_row(planted("io@nm-out", 0.95, 0.1)))
    monkeypatch.setattr("ioi_bench.evaluation.calibrate.calibrate", lambda *args, **kwargs: rows)
    result = cli("calibrate", "--model", tiny_model)
    assert (result.exit_code, result.stdout.count("PASS")) == (0, 2)
    assert ".100" in result.stdout


def test_what_is_not_defined_is_null_in_json(cli, tiny_model, monkeypatch):
    rows = (supervised_row(planted("io@nm-out", math.nan, math.nan)),)
    monkeypatch.setattr("ioi_bench.evaluation.calibrate.calibrate", lambda *args, **kwargs: rows)
    (row,) = json.loads(cli("calibrate", "--model", tiny_model, "--json").stdout)
    assert row["found"] is row["no_edit"] is row["gain"] is row["gain_low"] is None
    assert row["passed"] is False


def test_calibrate_is_for_gpt2(cli):
    result = cli("calibrate", "--model", "ioi-mini")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "the published figures are GPT-2's: give --model gpt2" in result.stderr
