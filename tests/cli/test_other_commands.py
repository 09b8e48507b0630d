"""`skyline` and `model`."""

from __future__ import annotations

import json

from ioi_bench.evaluation.calibrate import SUPERVISED_ACCURACY
from ioi_bench.lm.circuit import load_circuit

SMALL = ["--prompts", "20", "--train-prompts", "100"]


def test_skyline_prints_every_cell_with_both_codes(cli, tiny_model, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    result = cli("skyline", "--model", tiny_model, *SMALL)
    assert result.exit_code == 0, result.stderr
    circuit = load_circuit("gpt2")
    for cell in circuit.headline + circuit.further:
        assert str(cell) in result.stdout
    assert result.stdout.count("mean") == result.stdout.count("mse") == len(circuit.headline + circuit.further)
    assert "…" not in result.stdout


def test_skyline_json_has_intervals(cli, tiny_model):
    cells = json.loads(cli("skyline", "--model", tiny_model, "--json", *SMALL).stdout)
    assert [cell["cell"] for cell in cells if cell["headline"]] == list(SUPERVISED_ACCURACY)
    for cell in cells:
        for figures in (cell["no_edit"], cell["codes"]["mean"]["accuracy"], cell["codes"]["mse"]["accuracy"]):
            assert 0 <= figures["low"] <= figures["value"] <= figures["high"] <= 1


def test_an_exported_skyline_is_a_suite_that_can_be_scored(cli, tiny_model, tmp_path):
    exported = cli("skyline", "--model", tiny_model, "--export", tmp_path / "sky", "--train-prompts", 100)
    assert (exported.exit_code, exported.stdout) == (0, "")
    args = ["--model", tiny_model, *SMALL, "--methods", "exchange", "--budgets", "1", "--out", tmp_path / "card"]
    card = json.loads(cli("evaluate", tmp_path / "sky", *args, "--json").stdout)
    assert card["made"]["suite"] == "skyline-encoded"
    assert all(not cell["missing_sites"] for cell in card["cells"])
    assert cli("skyline", "--model", tiny_model, "--export", tmp_path / "sky").exit_code == 2


def test_describe_shows_heads_and_cells(cli):
    printed = cli("model", "describe", "gpt2").stdout
    circuit = load_circuit("gpt2")
    for heads in circuit.heads.values():
        assert " ".join(heads) in printed
    for cell in circuit.headline:
        assert str(cell) in printed
    record = json.loads(cli("model", "describe", "gpt2", "--json").stdout)
    assert record["sha256"] == circuit.sha256
    assert len(record["cross_sections"]["nm-qk"]) == 30


def test_describe_of_an_unknown_circuit_names_those_that_exist(cli):
    result = cli("model", "describe", "gtp2")
    assert result.exit_code == 2
    assert "did you mean 'gpt2'" in result.stderr


def test_discover_proposes_cross_sections_and_draws_them(cli, tmp_path):
    printed = cli("model", "discover", "ioi-mini", "--prompts", 8, "--out", tmp_path / "heat.png")
    assert printed.exit_code == 0, printed.stderr
    assert (tmp_path / "heat.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads(cli("model", "discover", "ioi-mini", "--prompts", 8, "--json").stdout)
    movers = {f"z.{head}@end" for head in load_circuit("ioi-mini").heads["name-mover"]}
    moving = found["cross_sections"]["io"]["z@end"]
    assert moving[0] in movers
    assert f"io  z@end      {' '.join(moving)}" in printed.stdout


def test_discover_refuses_another_ending(cli, tmp_path):
    result = cli("model", "discover", "ioi-mini", "--prompts", 2, "--out", tmp_path / "heat.pdf")
    assert result.exit_code == 2
    assert not list(tmp_path.iterdir())


def test_train_mini_keeps_its_state_beside_the_folder(cli, tmp_path, monkeypatch):
    seen = []

    def make(folder, *, recipe, checkpoint, training, progress):
        seen.append((recipe.seed, checkpoint))
        checkpoint.write_bytes(b"state")
        training(1, 10, {"loss_task": 0.5})
        raise KeyboardInterrupt

    monkeypatch.setattr("ioi_bench.evaluation.mini_track.make_mini_track", make)
    command = ("model", "train-mini", "--out", tmp_path / "mini", "--seed", 3)
    assert cli(*command).exit_code == 130
    again = cli(*command)
    assert (again.exit_code, "--resume" in again.stderr) == (2, True)
    assert cli(*command, "--resume").exit_code == 130
    assert seen == [(3, tmp_path / "mini.training.pt")] * 2
