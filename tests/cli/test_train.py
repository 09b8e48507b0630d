from __future__ import annotations

import json

import pytest

from ioi_bench.lm.circuit import load_circuit
from ioi_bench.training import Run, chunk, trainer


def test_train_makes_one_dictionary_a_site_and_talks_on_stderr(tiny_run):
    run = Run(tiny_run.path)
    assert {member.site for member in run.members} == set(load_circuit("gpt2").sites)
    assert {run.dictionary(member, epoch).k for member in run.members for epoch in (1, 2)} == {2}
    assert run.provenance["train_prompts"] == 100
    assert tiny_run.stdout == ""
    assert "55 SAEs in 3 chunks: about" in tiny_run.stderr
    assert "ioi-bench select" in tiny_run.stderr


def test_a_stopped_training_goes_on_to_the_same_bytes(cli, tiny_recipe, tiny_run, tmp_path, monkeypatch):
    folder = tmp_path / "again"
    command = ("train", tiny_recipe, "--out", folder, "--chunk", 20)

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(chunk, "EpochReport", stop)  # after the first epoch
        stopped = cli(*command)
    assert stopped.exit_code == 130
    again = cli(*command)
    assert again.exit_code == 2
    assert "--resume" in again.stderr
    assert cli(*command, "--resume").exit_code == 0
    for path in tiny_run.path.rglob("epoch-*.safetensors"):
        assert (folder / path.relative_to(tiny_run.path)).read_bytes() == path.read_bytes()


def test_an_estimate_trains_nothing_and_stops_nothing(cli, tiny_recipe, tmp_path):
    folder = tmp_path / "run"
    printed = cli("train", tiny_recipe, "--out", folder, "--estimate")
    assert (printed.exit_code, "as measured here" in printed.stderr) == (0, True)
    assert not (folder / "chunks").exists()
    assert cli("train", tiny_recipe, "--out", folder).exit_code == 0


def test_an_estimate_of_a_stopped_run_takes_off_what_is_done(cli, tiny_recipe, tmp_path, monkeypatch):
    command = ("train", tiny_recipe, "--out", tmp_path / "run", "--chunk", 20)

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(chunk, "EpochReport", stop)  # after the first of two epochs
        cli(*command)
    run = Run(tmp_path / "run")
    assert {run.epochs_done(one) for one in run.chunks} <= {0, 1}
    monkeypatch.setattr(trainer, "_step_seconds", lambda run, chunk, device, steps: float(len(chunk.members)))
    whole, left = (trainer.estimate(run, resumed=resumed) for resumed in (False, True))
    done = sum(run.epochs_done(one) * len(one.members) for one in run.chunks) / (2 * len(run.members))
    assert 0 < done < 1
    assert left == pytest.approx(whole * (1 - done))
    printed = cli(*command, "--resume", "--estimate")
    assert f"for the rest ({done:.0%} is done)" in printed.stderr
    assert cli(*command, "--resume").exit_code == 0
    assert trainer.estimate(Run(tmp_path / "run"), resumed=True) == 0


def test_json_says_what_a_run_holds(cli, tiny_recipe, tiny_run, tmp_path):
    about = json.loads(cli("train", tiny_recipe, "--out", tmp_path / "run", "--estimate", "--json").stdout)
    assert (about["members"], about["checkpoints"], about["finished"]) == (55, [1, 2], False)
    assert about["estimated_seconds"] > 0
    done = json.loads(cli("train", tiny_recipe, "--out", tiny_run.path, "--json").stdout)
    assert (done["finished"], done["estimated_seconds"], done["identity"]) == (True, None, about["identity"])


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("[variants]\ntopkk = [3]", "did you mean 'topk'"),
        ("[variants]\nrelu = []", "relu has no lam"),
        ("[variants]\ntopk = [0]", "k is 0"),
        ("epochs = 0\n[variants]\ntopk = [3]", "epochs"),
        ("[variants]\ntopk = 3", "variants.topk"),
        ("topk = 3", "unknown setting 'topk': expected one of: variants"),
    ],
)
def test_bad_recipes_are_found_before_the_work(cli, tmp_path, text, hint):
    (tmp_path / "bad.toml").write_text(text)
    result = cli("train", tmp_path / "bad.toml", "--out", tmp_path / "run")
    assert (result.exit_code, result.stdout) == (2, "")
    assert hint in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["bad.toml"]


def test_train_refuses_no_recipe_and_a_folder_that_is_taken(cli, tiny_recipe, tiny_suite, tmp_path):
    result = cli("train", tmp_path / "none.toml")
    assert (result.exit_code, "there is no recipe" in result.stderr) == (2, True)
    result = cli("train", tiny_recipe, "--out", tiny_suite.path)
    assert (result.exit_code, "exists already" in result.stderr) == (2, True)
    result = cli("train", tiny_recipe, "--out", tmp_path / "run", "--device", "cuda:7")
    assert (result.exit_code, "--device" in result.stderr) == (2, True)
