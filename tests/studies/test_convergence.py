"""Convergence: the rule and the tables on planted curves and candidates, and the command on two small runs."""

from __future__ import annotations

import json
import math

import pandas as pd
import pytest
from typer.testing import CliRunner

from ioi_bench.cli.app import app
from ioi_bench.errors import InputError
from ioi_bench.evaluation.selection import headline_attributes
from ioi_bench.lm.circuit import load_circuit
from ioi_bench.studies.convergence import compared, ends_table
from ioi_bench.studies.post.training_tables import curve_table

RECIPE = """
model = "ioi-mini"
d_sae = 24
epochs = {epochs}
learning_rate = 3e-3
batch_size = 100
train_prompts = 300

[variants]
topk = [{k}]
"""
SMALL = ["--prompts", "12", "--train-prompts", "300"]


def curves(loss, error):
    """Two sites of one variant, at epochs 10, 15 and 20: what moves does so from 10 to 15."""
    rows = []
    for site, share in (("a", 0.5), ("b", 1.5)):
        for epoch, one, other in ((10, 1.0, 1.0), (15, 1 + loss, 1 + error), (20, 0.1, 0.1)):
            about = {"variant": "relu", "site": site, "sparsity": 1.0, "seed": 0, "epoch": epoch}
            rows.append({**about, "loss": 4 * share * one, "error": share * other, "l0": 3.0, "dead": 0.0})
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("loss", "error", "converged"),
    [
        (0.0, 0.0, True),
        (0.019, -0.019, True),
        (-0.021, 0.0, False),
        (0.0, 0.021, False),
        (0.5, -0.5, False),
        (math.nan, 0.0, False),
    ],
)
def test_a_run_has_converged_if_neither_loss_nor_error_moves(loss, error, converged):
    table = curve_table(curves(loss, error), (10, 15)).set_index("epoch")
    assert table.loc[20, "converged"] == converged
    assert table.loc[20, "change"] == pytest.approx(error)
    assert table.loc[20, "loss_change"] == pytest.approx(loss, nan_ok=True)
    assert table.loc[[10, 15], "converged"].isna().all()  # what falls after the span decides nothing


def candidates(epochs, *, seeds=(0,), sites=("a", "b"), factor=1.0):
    rows = []
    for epoch in epochs:
        for seed in seeds:
            for i, site in enumerate(sites):
                value = factor * (1 + i) / epoch
                about = {"variant": "relu", "sparsity": 1.0, "seed": seed, "site": site, "epoch": epoch}
                rows.append({**about, "l2": value, "l0": 10 * value, "distance_relative": value / 10})
    return pd.DataFrame(rows)


def test_the_last_doubling_is_shown_beside_the_rule():
    row = ends_table(curve_table(curves(0.0, 0.01), (10, 15)), candidates((10, 20))).iloc[0]
    assert (row["half"], row["end"], row["n"]) == (10, 20, 2)
    assert (row["l2_half"], row["l2_end"]) == (pytest.approx(0.15), pytest.approx(0.075))
    assert row["l0_end"] == pytest.approx(0.75)
    assert row["distance_relative_half"] == pytest.approx(0.015)
    assert row["converged"]


def test_runs_are_compared_over_what_they_share():
    few = candidates((2, 4), sites=("b",))
    found = compared({"short": candidates((10, 20), seeds=(0, 1)), "long": few})
    assert found[["run", "n", "end", "l2"]].to_numpy().tolist() == [["short", 1, 20, 0.1], ["long", 1, 4, 0.25]]
    assert compared({"short": few}).empty
    with pytest.raises(InputError, match="no SAE in common"):
        compared({"short": few, "long": candidates((2, 4), sites=("c",))})


def invoke(*args):
    return CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run, one twice as long, and one of another k."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IOI_BENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        folder = tmp_path_factory.mktemp("convergence")
        for name, epochs, k in (("short", 4, 3), ("long", 8, 3), ("other", 4, 2)):
            (folder / f"{name}.toml").write_text(RECIPE.format(epochs=epochs, k=k))
            made = invoke("train", folder / f"{name}.toml", "--out", folder / name)
            assert made.exit_code == 0, made.stderr
        yield folder


def test_the_command_says_what_selection_and_the_curves_say(runs):
    result = invoke("study", "convergence", runs / "short", runs / "long", *SMALL, "--out", runs / "out", "--json")
    assert result.exit_code == 0, result.stderr
    assert "long: 28 dictionaries, 28 of them to be judged: about" in result.stderr  # at half, and at the end
    found = json.loads(result.stdout)
    assert [(row["run"], row["half"], row["end"], row["n"]) for row in found["ends"]] == [
        ("short", 2, 4, 14),
        ("long", 4, 8, 14),
    ]
    selected = invoke("select", runs / "long", *SMALL, "--out", runs / "selected")
    assert selected.exit_code == 0, selected.stderr
    table = pd.read_csv(runs / "selected" / "selection.csv")
    served = {str(site): attribute for site, attribute in headline_attributes(load_circuit("ioi-mini")).items()}
    table = table[(table["attribute"] == table["site"].map(served)) & (table["method"] == "exchange")]
    for row in found["compared"]:
        assert row["n"] == 14
    for name in ("l2", "l0", "distance_relative"):
        own = table[table["epoch"] == 8][name].mean()
        assert found["compared"][1][name] == pytest.approx(own)
        assert found["ends"][1][f"{name}_end"] == pytest.approx(own)
        assert found["ends"][1][f"{name}_half"] == pytest.approx(table[table["epoch"] == 4][name].mean())
    page = (runs / "out" / "CONVERGENCE.md").read_text()
    assert "4 (short) → 8 (long) epochs" in page
    assert (runs / "out" / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((runs / "out" / "convergence.json").read_text()) == found
    printed = invoke("study", "convergence", runs / "short", *SMALL)
    assert printed.exit_code == 0, printed.stderr
    assert "all are judged" in printed.stderr  # a second time nothing is judged again
    assert "of 1 have converged: loss and error move by less than 2%" in printed.stdout.replace("\n", " ")


def test_bad_input_ends_with_2_and_says_what_to_do(runs, tmp_path):
    (tmp_path / "short").mkdir()
    for args, said in (
        ((runs / "short", runs / "other"), "no SAE in common"),
        ((runs / "short", tmp_path / "short"), "have one in common"),
        ((tmp_path / "short",), "no training run"),
        ((runs / "short", "--out", runs / "long"), "exists already"),
    ):
        result = invoke("study", "convergence", *args, *SMALL)
        assert (result.exit_code, result.stdout) == (2, ""), result.stderr
        assert said in result.stderr
