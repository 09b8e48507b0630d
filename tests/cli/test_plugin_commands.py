"""`ioi-bench plugins`, `ioi-bench inspect`, and plugins in `ioi-bench evaluate`."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from ioi_bench.dictionaries.architectures import Relu
from ioi_bench.dictionaries.suite import Suite, save_suite
from ioi_bench.plugins import ModelRecord, Plugins
from ioi_bench.sites import Site

ROOT = Path(__file__).parents[2]
TOPK = ROOT / "reference_saes" / "ioi-mini" / "topk-k3-s0"

SOUND = """
from ioi_bench.plugins import Baseline, Loader, Reporter
from ioi_bench.dictionaries.nulls import pca

def ioi_bench_reporters():
    return [Reporter("names", "one line", ".txt", lambda card, path: path.write_text(card.made.suite))]

def ioi_bench_baselines():
    return [Baseline("axes", "one more line", lambda train, seed: pca(train))]

def ioi_bench_loaders():
    return [Loader("mine", "none", lambda s, o: None, lambda s, o: None, {"fold": "what it folds"})]
"""


@pytest.fixture
def sound(tmp_path):
    (tmp_path / "sound.py").write_text(SOUND)
    return tmp_path / "sound.py"


@pytest.fixture
def broken(tmp_path):
    (tmp_path / "broken.py").write_text("def ioi_bench_loader(): return []")
    return tmp_path / "broken.py"


@pytest.fixture
def installed_broken(tmp_path, monkeypatch):
    folder = tmp_path / "site"
    info = folder / "faulty-3.0.dist-info"
    info.mkdir(parents=True)
    (folder / "faulty_module.py").write_text("1 / 0")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty\nVersion: 3.0\n")
    (info / "entry_points.txt").write_text("[ioi_bench]\nfaulty = faulty_module\n")
    monkeypatch.syspath_prepend(folder)


def test_the_list_shows_plugins_and_what_they_give(cli, sound):
    result = cli("plugins", "list", "--plugin", sound)
    assert result.exit_code == 0, result.stderr
    for text in ("built in", "sound.py", "native", "exchange", "markdown", "names", "one more line"):
        assert text in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 100
    table = result.stdout.partition("what it is")[2].splitlines()
    starts = {line.index(text) for text in ("axes", "mine", "native") for line in table if text in line.split()}
    assert len(starts) == 1, "the columns stand under each other"


def test_the_list_as_json(cli, sound):
    data = json.loads(cli("plugins", "list", "--plugin", sound, "--json").stdout)
    assert {"name": "sound", "hooks": ["ioi_bench_baselines", "ioi_bench_loaders", "ioi_bench_reporters"]}.items() <= (
        next(plugin for plugin in data["plugins"] if plugin["name"] == "sound").items()
    )
    record = next(record for record in data["records"] if record["name"] == "names")
    assert record == {"kind": "reporter", "name": "names", "plugin": "sound", "summary": "one line"}


def test_a_broken_plugin_is_a_warning_in_the_list_and_fatal_where_it_is_asked_for(cli, installed_broken):
    listed = cli("plugins", "list")
    assert listed.exit_code == 0
    assert "warning: the plugin 'faulty' (faulty 3.0) cannot be imported: ZeroDivisionError" in listed.stderr
    assert "broken" in listed.stdout
    assert "exchange" in listed.stdout
    assert json.loads(cli("plugins", "list", "--json").stdout)["problems"][0]["plugin"] == "faulty"
    for args in (("show", "faulty"), ("check", "faulty")):
        asked = cli("plugins", *args)
        assert (asked.exit_code, asked.stdout) == (2, "")
        assert "error: the plugin 'faulty' (faulty 3.0) cannot be imported" in asked.stderr
    everything = cli("plugins", "check")
    assert everything.exit_code == 1
    assert "ioi-bench is sound" in everything.stdout
    assert "error: the plugin 'faulty'" in everything.stderr
    data = json.loads(cli("plugins", "check", "--json").stdout)
    assert data["sound"] is False
    assert data["problems"][0]["plugin"] == "faulty"


def test_show_tells_of_a_plugin_and_of_a_thing(cli, sound):
    whole = cli("plugins", "show", "sound", "--plugin", sound)
    assert whole.exit_code == 0
    assert "imported in" in whole.stdout
    assert {"axes", "mine", "names"} <= set(whole.stdout.split())
    assert "exchange" not in whole.stdout
    loader = cli("plugins", "show", "mine", "--plugin", sound)
    assert "--set fold=…  what it folds" in loader.stdout
    assert json.loads(cli("plugins", "show", "mine", "--plugin", sound, "--json").stdout)[0]["keys"] == {
        "fold": "what it folds"
    }
    wrong = cli("plugins", "show", "excange")
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    assert "did you mean 'exchange'" in wrong.stderr


def test_check_of_a_file(cli, sound, broken):
    result = cli("plugins", "check", sound)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("sound is sound: it gives 1 loader, 1 baseline, 1 reporter; ")
    assert int(result.stdout.split("; ")[1].split()[0]) >= 10
    result = cli("plugins", "check", broken)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "did you mean 'ioi_bench_loaders'?" in result.stderr
    result = cli("plugins", "check", sound.with_name("soumd.py"))
    assert result.exit_code == 2
    assert "did you mean" in result.stderr


FAULTY = """
import torch
from ioi_bench.plugins import Baseline, EditRecord, Loader, MetricRecord, Recognised
from ioi_bench.dictionaries.architectures import Relu
from ioi_bench.dictionaries.suite import Suite
from ioi_bench.editing import exchange

class Stateful(Relu):
    name = "stateful"
    calls = []

    def encode(self, x):
        self.calls.append(1)
        return super().encode(x) + (len(self.calls) > 1)

def sae(n):
    return Stateful(W_enc=torch.eye(n), b_enc=torch.zeros(n), W_dec=torch.eye(n), b_dec=torch.zeros(n))

def batch_mean(inputs):
    return (inputs.edited_logits - inputs.edited_logits.mean(0)).norm(dim=-1)

def ioi_bench_baselines():
    return [Baseline("remembering", "x", lambda train, seed: sae(train.shape[1]))]

def ioi_bench_metrics():
    return [MetricRecord("of-the-batch", "x", batch_mean)]

def recognise(source, options):
    return Recognised("relu", (options.hook,), 8, 8) if source.has("mine.txt") else None

def load(source, options):
    w = torch.eye(16)
    return Suite.at_hook("m", "ioi-mini", options.hook, Relu(W_enc=w, b_enc=w[0], W_dec=w, b_dec=w[0]))

def ioi_bench_loaders():
    return [Loader("mine", "x", recognise, load)]
"""


def test_check_runs_the_conformance_kit_on_what_a_plugin_gives(cli, tmp_path):
    file = tmp_path / "faulty.py"
    file.write_text(FAULTY)
    (tmp_path / "mine.txt").write_text("x")
    source = ("--source", tmp_path / "mine.txt", "--hook", "blocks.1.hook_resid_pre")
    result = cli("plugins", "check", file, *source)
    assert (result.exit_code, result.stdout) == (1, "")
    for said in (
        "baseline remembering: checked that",
        "metric of-the-batch: checked that",
        "loader mine: checked that",
    ):
        assert said in result.stderr, said
    data = json.loads(cli("plugins", "check", file, "--json").stdout)
    assert data["sound"] is False
    assert {"baseline remembering", "metric of-the-batch"} == {
        check["subject"] for check in data["checks"] if check["outcome"] == "failed"
    }


def test_a_loader_is_checked_on_a_source_of_its_format(cli):
    result = cli("plugins", "check", "ioi-bench", "--source", TOPK)
    assert result.exit_code == 0, result.stderr
    without = cli("plugins", "check", "ioi-bench")
    counts = [int(found.stdout.split("; ")[1].split()[0]) for found in (result, without)]
    assert counts[0] > counts[1]


def test_inspect_tells_what_a_suite_is_without_model_or_weights(cli, monkeypatch):
    def never(*_, **__):
        raise AssertionError("it loaded something")

    monkeypatch.setattr("ioi_bench.lm.model.load_weights", never)
    monkeypatch.setattr("ioi_bench.dictionaries.suite._build", never)
    result = cli("inspect", TOPK)
    assert result.exit_code == 0, result.stderr
    for text in ("native", "topk", "blocks.1.attn.hook_z[0]", "d_in 32, d_sae 256", "io@nm-out", "2 of 2", "ioi-mini"):
        assert text in result.stdout
    data = json.loads(cli("inspect", TOPK, "--json").stdout)
    assert (data["loader"], data["architecture"], data["d_sae"]) == ("native", "topk", 256)
    assert {"cell": "io@nm-out", "headline": True, "ranked": True, "sites": 2, "covered": 2} in data["cells"]
    other = cli("inspect", TOPK, "--model", "gpt2")
    assert "track          gpt2" in other.stdout


@pytest.mark.parametrize(
    ("model", "site", "says"),
    [
        ("ioi-mini", "z.9.1@end", "z.9.1@end does not exist in ioi-mini: its layers are 0 to 4"),
        ("ioi-mini", "z.3.9@end", "z.3.9@end does not exist in ioi-mini: a layer's heads are 0 to 3"),
        ("gpt2", "resid_pre.12@end", "resid_pre.12@end does not exist in gpt2: its layers are 0 to 11"),
    ],
)
def test_inspect_refuses_sites_that_the_model_lacks(cli, tmp_path, model, site, says):
    w = torch.eye(4)
    sae = Relu(W_enc=w, b_enc=w[0], W_dec=w, b_dec=w[0])
    save_suite(Suite("s", model, {Site.parse(site): sae}), tmp_path / "suite")
    result = cli("inspect", tmp_path / "suite")
    assert (result.exit_code, result.stdout) == (2, "")
    assert says in result.stderr


def test_inspect_knows_the_size_of_a_model_in_a_directory(cli, tmp_path, tiny_model):
    w = torch.eye(4)
    suite = Suite("s", "gpt2", {Site.parse("z.11.11@end"): Relu(W_enc=w, b_enc=w[0], W_dec=w, b_dec=w[0])})
    save_suite(suite, tmp_path / "suite")
    assert cli("inspect", tmp_path / "suite", "--model", tiny_model).exit_code == 0
    smaller = json.loads((tiny_model / "config.json").read_text()) | {"n_head": 6}
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(json.dumps(smaller))
    result = cli("inspect", tmp_path / "suite", "--model", tmp_path / "model")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "a layer's heads are 0 to 5" in result.stderr


def test_the_sizes_that_the_models_are_listed_with_are_theirs():
    from transformers import GPT2Config

    from ioi_bench.lm.model import load_model

    sizes = {name: (record.layers, record.heads) for name, record in Plugins.load().all(ModelRecord).items()}
    mini, small = load_model("ioi-mini"), GPT2Config()
    assert sizes["ioi-mini"] == (mini.n_layers, mini.n_heads)
    assert sizes["gpt2"] == (small.n_layer, small.n_head)


def test_inspect_refuses_what_nobody_knows(cli, tmp_path):
    (tmp_path / "notes.txt").write_text("")
    result = cli("inspect", tmp_path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "it holds notes.txt" in result.stderr
    result = cli("inspect", TOPK.with_name("topkk"))
    assert "did you mean" in result.stderr


SMALL = ["--prompts", "20", "--train-prompts", "200", "--budgets", "1,2", "--methods", "exchange"]


def test_evaluate_takes_plugins_baselines_and_reports(cli, sound, tmp_path):
    args = ["--plugin", sound, "--baseline", "axes", "--baseline", "pca", "--report", "names", "--report", "markdown"]
    result = cli("evaluate", TOPK, *SMALL, *args, "--loader", "native", "--out", tmp_path / "card")
    assert result.exit_code == 0, result.stderr
    rows = {line.split()[0]: line.split()[1:] for line in result.stdout.splitlines() if line.strip()}
    assert rows["axes"] == rows["pca"], "they are the same dictionaries"
    assert (tmp_path / "card" / "report-names.txt").read_text() == TOPK.name
    assert f"| {TOPK.name} |" in (tmp_path / "card" / "report-markdown.md").read_text()
    card = json.loads((tmp_path / "card" / "card.json").read_text())
    assert [row["name"] for row in card["baselines"]] == ["axes", "pca"]
    assert card["made"]["plugins"] == {"baseline axes": f"sound ({sound})"}
    assert "report-names.txt, report-markdown.md" in result.stderr  # as the files are called


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--loader", "nativ"], "did you mean 'native'"),
        (["--hook", "block one"], "not a hook point"),
        (["--set", "x"], "expected KEY=VALUE"),
        (["--set", "x=1"], "setting of the loader 'native'"),
        (["--scale", "big"], "expected a number or sqrt-d"),
        (["--scale", "-1"], "expected a positive number"),
        (["--baseline", "pcaa"], "did you mean 'pca'"),
        (["--report", "markdow"], "did you mean 'markdown'"),
        (["--plugin", "no.py"], "there is no plugin file 'no.py'"),
    ],
)
def test_evaluate_refuses_choices_that_do_not_exist(cli, tmp_path, args, says):
    result = cli("evaluate", TOPK, *SMALL, *args, "--out", tmp_path / "card")
    assert (result.exit_code, result.stdout) == (2, "")
    assert says in result.stderr
    assert not (tmp_path / "card").exists()


def test_importing_the_package_and_its_help_look_for_no_plugins(tmp_path):
    code = """
        import sys, importlib.metadata
        importlib.metadata.entry_points = None
        import ioi_bench
        from ioi_bench.cli import main
        sys.argv = ["ioi-bench", "--help"]
        try:
            main()
        except SystemExit:
            pass
        print([m for m in sys.modules if m.startswith("ioi_bench.plugins") or m == "pluggy"], file=sys.stderr)
    """

    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr.strip() == "[]"
