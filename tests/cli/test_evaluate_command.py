"""`ioi-bench evaluate`: a card for a suite, and a clear refusal of everything else."""

from __future__ import annotations

import errno
import json
import shutil

import jsonschema
import pandas as pd
import pytest
import safetensors.torch
import torch

from ioi_bench.dictionaries.architectures import Relu
from ioi_bench.dictionaries.suite import Suite, load_suite, save_suite
from ioi_bench.evaluation.card import Card, card_schema
from ioi_bench.sites import HookPoint

SMALL = ["--prompts", "20", "--train-prompts", "100", "--budgets", "1,2", "--methods", "exchange,universal"]


@pytest.fixture
def evaluate(cli, tiny_model):
    def run(suite, *args):
        return cli("evaluate", suite, "--model", tiny_model, *SMALL, *args)

    return run


def test_a_card_is_printed_and_written(evaluate, tiny_suite, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    result = evaluate(tiny_suite.path, "--out", tmp_path / "card")
    assert result.exit_code == 0, result.stderr
    card = Card.read(tmp_path / "card")
    for cell in card.cells:
        assert cell.name in result.stdout
    assert "IOI score  exchange" in result.stdout
    told = result.stdout.partition("mean ablation moves it too little")[2]
    named = told.partition("not ranked: ")[2].replace(",", " ").split()
    for cell in card.cells:
        assert (cell.name in named) == (cell.headline and not cell.ranked)
    assert max(len(line) for line in result.stdout.splitlines()) <= 80
    assert "…" not in result.stdout, "a column was cut"
    assert "100 train prompts only" in result.stderr
    assert {path.name for path in (tmp_path / "card").iterdir()} == {
        "card.json",
        "card.png",
        "card.svg",
        "prompts.parquet",
    }
    assert (tmp_path / "card" / "card.png").read_bytes().startswith(b"\x89PNG")
    assert set(pd.read_parquet(tmp_path / "card" / "prompts.parquet")["cell"].dropna()) == {
        cell.name for cell in card.cells
    }


def test_json_is_the_card_and_nothing_else(evaluate, tiny_suite, tmp_path):
    result = evaluate(tiny_suite.path, "--json", "--out", tmp_path / "card")
    data = json.loads(result.stdout)
    jsonschema.validate(data, card_schema())
    assert data == json.loads((tmp_path / "card" / "card.json").read_text())
    assert "wrote" in result.stderr


def test_the_default_folder_bears_the_suites_name_and_hash_and_stays_below_runs(
    evaluate, tiny_suite, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    wicked = tmp_path / "suite"
    shutil.copytree(tiny_suite.path, wicked)
    header = json.loads((wicked / "suite.json").read_text())
    header["name"] = "../../a suite"
    del header["sha256"]
    (wicked / "suite.json").write_text(json.dumps(header))
    assert evaluate(wicked).exit_code == 0
    folders = [path.name for path in (tmp_path / "runs").iterdir()]
    assert folders == [f"a-suite-{load_suite(wicked).sha256[:8]}"]


def edited(suite, folder, **changes):
    shutil.copytree(suite, folder)
    header = json.loads((folder / "suite.json").read_text())
    header.update(changes)
    header.pop("sha256", None)
    (folder / "suite.json").write_text(json.dumps(header))
    return folder


def truncated(suite, folder):
    shutil.copytree(suite, folder)
    weights = folder / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    return folder


def lying(suite, folder):
    shutil.copytree(suite, folder)
    weights = folder / "weights.safetensors"
    weights.write_bytes((2**60).to_bytes(8, "little") + weights.read_bytes()[8:])
    return folder


def not_finite(suite, folder):
    folder = edited(suite, folder)
    weights = folder / "weights.safetensors"
    tensors = safetensors.torch.load_file(weights)
    next(iter(tensors.values())).view(-1)[0] = torch.nan
    safetensors.torch.save_file(tensors, weights)
    return folder


def pickled(_, folder):
    folder.mkdir()
    torch.save({"W": torch.zeros(1)}, folder / "weights.pt")
    return folder


def empty(_, folder):
    folder.mkdir()
    return folder


def at_an_unknown_site(suite, folder):
    dictionaries = json.loads((suite / "suite.json").read_text())["dictionaries"]
    return edited(suite, folder, dictionaries={"z.9.9@ned": next(iter(dictionaries.values()))})


def of_an_unknown_architecture(suite, folder):
    dictionaries = json.loads((suite / "suite.json").read_text())["dictionaries"]
    return edited(suite, folder, dictionaries={k: v | {"architecture": "topkk"} for k, v in dictionaries.items()})


BAD_SUITES = {
    "missing": (lambda suite, folder: folder, "there is nothing at"),
    "empty": (empty, "empty"),
    "truncated": (truncated, "truncated"),
    "header that lies": (lying, "corrupt"),
    "NaN": (not_finite, "NaN"),
    "pickle": (pickled, "no loader knows"),
    "leaves its folder": (lambda s, f: edited(s, f, weights=["../weights.safetensors"]), "leave the folder"),
    "another model": (lambda s, f: edited(s, f, model="gpt3", model_sha256="0" * 64), "model"),
    "unknown site": (at_an_unknown_site, "did you mean"),
    "unknown architecture": (of_an_unknown_architecture, "did you mean 'topk'"),
}


@pytest.mark.parametrize("case", BAD_SUITES)
def test_a_bad_suite_exits_2_and_leaves_nothing(evaluate, tiny_suite, tmp_path, case):
    make, hint = BAD_SUITES[case]
    result = evaluate(make(tiny_suite.path, tmp_path / "suite"), "--out", tmp_path / "card")
    assert result.exit_code == 2, result.stderr
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert hint in result.stderr
    assert not (tmp_path / "card").exists()


@pytest.mark.parametrize(
    ("args", "hint"),
    [
        (["--model", "ioi-mimi"], "did you mean 'ioi-mini'"),
        (["--split", "tset"], "did you mean 'test'"),
        (["--methods", "exchnage"], "did you mean 'exchange'"),
        (["--methods", ""], "edit methods"),
        (["--budgets", "1,two"], "--budgets"),
        (["--budgets", "0"], "budget"),
        (["--prompts", "0"], "1 to 5000"),
        (["--train-prompts", "30000"], "1 to 20000"),
        (["--batch-size", "0"], "batch size"),
        (["--device", "cdua"], "--device"),
        (["--device", "cuda:77"], "--device"),
    ],
)
def test_bad_options_exit_2_and_leave_nothing(evaluate, tiny_suite, tmp_path, args, hint):
    result = evaluate(tiny_suite.path, "--out", tmp_path / "card", *args)
    assert result.exit_code == 2, result.stderr
    assert result.stdout == ""
    assert hint in result.stderr
    assert not (tmp_path / "card").exists()


def test_a_folder_that_cannot_be_written_is_found_before_the_work(evaluate, tiny_suite, tmp_path, monkeypatch):
    def work(*_):
        raise AssertionError("it began to work")

    monkeypatch.setattr("ioi_bench.evaluation.evaluate.run_study", work)
    (tmp_path / "file").write_text("not a folder")
    result = evaluate(tiny_suite.path, "--out", tmp_path / "file" / "card")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "cannot write" in result.stderr


def test_a_full_disk_leaves_no_half_file(evaluate, tiny_suite, tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    evaluate(tiny_suite.path, "--out", tmp_path / "warm")  # the cache is filled
    monkeypatch.setattr("ioi_bench.atomic.os.fsync", full)
    result = evaluate(tiny_suite.path, "--out", tmp_path / "card")
    assert result.exit_code == 1
    assert "No space left on device" in result.stderr
    assert not list((tmp_path / "card").glob("*"))


def test_an_interrupt_midway_exits_130_and_leaves_nothing(evaluate, tiny_suite, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("ioi_bench.evaluation.evaluate.run_study", interrupted)
    result = evaluate(tiny_suite.path, "--out", tmp_path / "card")
    assert (result.exit_code, result.stdout) == (130, "")
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.rglob("*.json"))


def test_a_suite_that_lacks_sites_is_scored_and_warned_about(evaluate, tiny_suite, tmp_path):
    suite = load_suite(tiny_suite.path)
    kept = {site: dictionary for site, dictionary in suite.dictionaries.items() if site.layer != 9}
    save_suite(type(suite)("partial", suite.model, kept, suite.model_sha256), tmp_path / "partial")
    result = evaluate(tmp_path / "partial", "--out", tmp_path / "card")
    assert result.exit_code == 0
    assert "sites have no dictionary and count as random" in result.stdout
    assert "warning: no dictionary for" in result.stderr


def test_a_stream_dictionary_at_its_own_hook_and_across_sites(evaluate, tmp_path):
    """The identity on the stream before layer 9: its own track, or the name movers' q and k of that layer."""
    suite = Suite.at_hook("identity", "tiny", HookPoint.parse("resid_pre.9"), _identity(0.0))
    save_suite(suite, tmp_path / "suite")
    result = evaluate(tmp_path / "suite", "--json", "--out", tmp_path / "own")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["track"] == "tiny/blocks.9.hook_resid_pre"
    result = evaluate(tmp_path / "suite", "--cross-site", "--json", "--out", tmp_path / "across")
    assert result.exit_code == 0, result.stderr
    card = json.loads(result.stdout)
    assert card["track"] == "gpt2/cross-site"
    assert "q.9.9@end" in card["cells"][0]["sites"]
    assert "q.9.9@end" not in card["cells"][0]["missing_sites"]


def test_cells_that_are_not_ranked_are_grouped_by_reason(evaluate, tmp_path):
    suite = Suite.at_hook("identity", "tiny", HookPoint.parse("resid_pre.9"), _identity(0.0))
    save_suite(suite, tmp_path / "suite")
    result = evaluate(tmp_path / "suite", "--out", tmp_path / "card")
    cells = [cell for cell in Card.read(tmp_path / "card").cells if not cell.ranked]
    kinds = {cell.reason.partition(":")[0] if "uncertain" in cell.reason else cell.reason[:24] for cell in cells}
    groups = result.stdout.split("\nnot ranked: ")[1:]
    assert len(groups) == len(kinds) < len(cells)
    named = [name for group in groups for name in group.rpartition(": ")[2].replace(",", " ").split()]
    assert sorted(named) == sorted(cell.name for cell in cells)


def test_the_preflight_stops_and_is_overruled(evaluate, tmp_path):
    suite = Suite.at_hook("far", "tiny", HookPoint.parse("resid_pre.9"), _identity(0.3))
    save_suite(suite, tmp_path / "suite")
    result = evaluate(tmp_path / "suite", "--out", tmp_path / "card")
    assert result.exit_code == 2
    assert "add --scale sqrt-d" in " ".join(result.stderr.split())
    assert not (tmp_path / "card" / "card.json").exists()
    result = evaluate(tmp_path / "suite", "--no-preflight", "--out", tmp_path / "card")
    assert result.exit_code == 0, result.stderr


def _identity(threshold):
    """Every dimension by two features, for its two signs; what is below the threshold is lost."""
    rows = torch.cat([torch.eye(48), -torch.eye(48)])
    return Relu(W_enc=rows.T.contiguous(), b_enc=torch.full((96,), -threshold), W_dec=rows, b_dec=torch.zeros(48))
