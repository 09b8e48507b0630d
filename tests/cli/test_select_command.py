"""`ioi-bench select` on a run in memory, over ioi-mini's circuit."""

from __future__ import annotations

import json
import re
import sys
from types import ModuleType

import pandas as pd
import pytest
import torch
from selection_examples import Member, MemoryRun

from ioi_bench.dictionaries.architectures import Relu, TopK
from ioi_bench.dictionaries.suite import load_suite
from ioi_bench.errors import DictionaryError, InputError
from ioi_bench.lm.circuit import load_circuit
from ioi_bench.task import TaskSpec

SMALL = ["--prompts", "6", "--train-prompts", "40"]
SITES = load_circuit("ioi-mini").sites


def random_run():
    weights = {}
    for i, site in enumerate(SITES):
        for seed in (0, 1):
            for variant, sparsity in (("gated", 0.5), ("gated", 1.0), ("topk", 3.0)):
                for epoch in (1, 2):
                    g = torch.Generator().manual_seed(1000 * i + 100 * seed + 10 * int(2 * sparsity) + epoch)
                    rows = torch.randn(12, 32, generator=g)
                    own = {"W_enc": rows.T.clone(), "W_dec": rows / 32, "b_enc": torch.zeros(12)}
                    own["b_dec"] = torch.zeros(32)
                    weights[Member(variant, site, sparsity, seed), epoch] = (
                        TopK(**own, k=3) if variant == "topk" else Relu(**own)
                    )
    return MemoryRun(weights)


@pytest.fixture(scope="module")
def memory():
    return random_run()


@pytest.fixture
def folder(tmp_path, monkeypatch, memory):
    """The folder of a run that is in memory: the command opens it as it would one on disk."""

    def opened(path):
        if path.name != "sweep":
            raise InputError(f"{str(path)!r} is no training run")
        return memory

    module = ModuleType("ioi_bench.training.runs")
    module.Run = opened
    monkeypatch.setitem(sys.modules, "ioi_bench.training.runs", module)
    (tmp_path / "sweep").mkdir()
    return tmp_path / "sweep"


def test_suites_a_table_and_what_was_chosen(cli, folder, tmp_path):
    result = cli("select", folder, "--out", tmp_path / "out", *SMALL)
    assert result.exit_code == 0, result.stderr
    names = ["gated-s0", "gated-s1", "topk-k3-s0", "topk-k3-s1"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted([*names, "selection.csv"])
    table = pd.read_csv(tmp_path / "out" / "selection.csv")
    assert len(table) == 2 * 3 * 2 * 44 * 4  # seeds × members × checkpoints × (site, attribute) × methods
    for name in names:
        suite = load_suite(tmp_path / "out" / name)
        assert set(suite.sites) == set(SITES)
        for site, one in suite.metadata["selection"]["chosen"].items():
            assert one["attribute"] == ("io" if re.fullmatch(r"z\.4\.\d@end", site) else "pos")
            rows = table[(table["site"] == site) & (table["attribute"] == one["attribute"])]
            rows = rows[(rows["method"] == "exchange") & (rows["variant"] == suite.metadata["variant"])]
            rows = rows[rows["seed"] == suite.metadata["seed"]]
            assert one["distance"] == pytest.approx(rows["distance"].min())
            assert rows.loc[rows["distance"].idxmin(), "chosen"]
    assert "wrote 4 suites and selection.csv" in result.stderr
    lines = result.stdout.splitlines()
    assert sum("@" in line for line in lines) == 4 * len(SITES)
    assert "…" not in result.stdout  # nothing is cut off at 100 columns
    places = {line.index("@") - len(re.search(r"\S*(?=@)", line).group()) for line in lines if "@" in line}
    assert len(places) == 1  # aligned


def test_json_the_last_epoch_and_another_method(cli, folder, tmp_path):
    result = cli("select", folder, "--out", tmp_path / "out", *SMALL, "--last-epoch", "--method", "aware", "--json")
    assert result.exit_code == 0, result.stderr
    shown = json.loads(result.stdout)
    assert len(shown) == 4 * len(SITES)
    assert {row["epoch"] for row in shown} == {2}
    assert {row["method"] for row in shown} == {"aware"}
    assert load_suite(tmp_path / "out" / "gated-s0").metadata["selection"]["last_epoch"] is True


def test_the_default_folder_lies_in_the_run(cli, folder):
    assert cli("select", folder, *SMALL).exit_code == 0
    assert (folder / "selected" / "topk-k3-s0" / "suite.json").is_file()
    again = cli("select", folder, *SMALL)
    assert again.exit_code == 2
    assert "selected exists already" in again.stderr


def test_half(cli, folder, tmp_path):
    assert cli("select", folder, "--out", tmp_path / "out", *SMALL, "--half").exit_code == 0
    suite = load_suite(tmp_path / "out" / "topk-k3-s1")
    assert {t.dtype for d in suite.dictionaries.values() for t in d.tensors.values()} == {torch.float16}


def test_judged_dictionaries_are_kept_in_the_run(cli, folder, tmp_path, monkeypatch):
    cli("select", folder, "--out", tmp_path / "one", *SMALL)
    assert [path.suffix for path in (folder / "selection").iterdir()] == [".parquet"]

    def never(*_):
        raise AssertionError("judged again")

    monkeypatch.setattr("ioi_bench.evaluation.candidate_figures.SiteView.judge", never)
    result = cli("select", folder, "--out", tmp_path / "two", *SMALL)
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "one" / "selection.csv").read_text() == (tmp_path / "two" / "selection.csv").read_text()


def test_an_estimate_judges_a_few_and_writes_nothing(cli, folder, tmp_path):
    printed = cli("select", folder, "--out", tmp_path / "out", *SMALL, "--estimate")
    assert (printed.exit_code, printed.stdout) == (0, ""), printed.stderr
    total = f"{2 * 3 * 2 * len(SITES):,}"
    assert f"{total} dictionaries, {total} of them to be judged: about" in printed.stderr
    assert not (tmp_path / "out").exists()
    assert not list(folder.iterdir())
    assert cli("select", folder, "--out", tmp_path / "out", *SMALL).exit_code == 0
    done = cli("select", folder, "--out", tmp_path / "out", *SMALL, "--estimate", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout) == {"dictionaries": 2 * 3 * 2 * len(SITES), "left": 0, "seconds": 0.0}


def test_a_suite_that_cannot_be_made_is_named_and_the_others_are_written(cli, folder, tmp_path, memory, monkeypatch):
    spoilt = dict(memory.weights)
    for member, epoch in memory.weights:
        if (member.variant, member.seed, member.site) == ("topk", 1, SITES[0]):
            spoilt[member, epoch] = DictionaryError("W_enc has 7 NaN or Inf in it")
    monkeypatch.setattr(memory, "weights", spoilt)
    result = cli("select", folder, "--out", tmp_path / "out", *SMALL)
    assert result.exit_code == 1
    assert "no suite topk-k3-s1" in result.stderr
    assert "1 suites could not be made" in result.stderr
    assert sorted(p.name for p in (tmp_path / "out").glob("*-s*")) == ["gated-s0", "gated-s1", "topk-k3-s0"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["{sweep}", "--method", "exchang"], "did you mean 'exchange'"),
        (["{sweep}", "--prompts", "0"], "0 prompts were asked for"),
        (["nowhere"], "no training run"),
        (["{sweep}", "--out", "{sweep}"], "exists already"),
    ],
)
def test_bad_input_ends_with_2_and_says_what_to_do(cli, folder, tmp_path, args, said):
    (folder / "file").touch()
    filled = [word.format(sweep=folder) for word in args]
    result = cli("select", "--out", tmp_path / "out", *filled)
    assert result.exit_code == 2
    assert said in result.stderr
    assert not (tmp_path / "out").exists()


def test_the_command_never_asks_for_the_test_split(cli, folder, tmp_path, monkeypatch):
    split, asked = TaskSpec.split, set()

    def guarded(self, name):
        asked.add(name)
        assert name in ("train", "validation")
        return split(self, name)

    monkeypatch.setattr(TaskSpec, "split", guarded)
    assert cli("select", folder, "--out", tmp_path / "out", *SMALL).exit_code == 0
    assert asked == {"train", "validation"}
