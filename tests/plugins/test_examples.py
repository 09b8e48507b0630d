"""The examples in the docstrings of the hooks and on the page about plugins are whole, and do what they say."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import pytest
import safetensors.torch
import torch
import typer
from plugin_examples import HOOKS, example

from ioi_bench.cli.app import app
from ioi_bench.dictionaries.nulls import codebook
from ioi_bench.dictionaries.suite import Suite, save_suite
from ioi_bench.evaluation.evaluate import evaluate
from ioi_bench.plugins import LoadOptions, Plugins
from ioi_bench.plugins.loading import load_source
from ioi_bench.plugins.manager import KINDS
from ioi_bench.plugins.sources import open_source
from ioi_bench.sites import HookPoint, Role, Site

PAGE = Path(__file__).parents[2] / "docs" / "plugins.md"
SMALL = {"prompts": 20, "train_prompts": 200, "budgets": (1, 2), "methods": ("exchange",)}


@pytest.fixture
def plugins(plugin_file):
    """All examples at once, each in a file of its own."""
    return Plugins.load([plugin_file(example(hook), hook) for hook in HOOKS], packages=False)


@pytest.mark.parametrize("hook", HOOKS)
def test_each_example_is_a_plugin_of_its_own(plugin_file, hook):
    plugins = Plugins.load([plugin_file(example(hook))], packages=False)
    assert plugins.check() == ()
    kind = next(kind for kind, named in KINDS.items() if named.hook == hook)
    assert "mine" in {plugins.owner(kind, name) for name in plugins.all(kind)}


def test_the_page_shows_these_examples_and_what_else_it_shows_is_a_plugin(plugin_file):
    shown = {
        canonical(code): code for code in re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), flags=re.M | re.S)
    }
    known = {canonical(example(hook)) for hook in HOOKS}
    assert known <= shown.keys()
    for i, code in enumerate(code for form, code in shown.items() if form not in known):
        plugins = Plugins.load([plugin_file(code, f"other{i}")], packages=False)
        assert plugins.check() == ()
        assert any(plugins.owner(kind, name).endswith(f"other{i}") for kind in KINDS for name in plugins.all(kind))


def canonical(code):
    """Without its blank lines, which formatters set as they like."""
    return ast.unparse(ast.parse(code))


def test_every_command_on_the_page_parses():
    found = 0
    for block in re.findall(r"^```console\n(.*?)^```", PAGE.read_text(), flags=re.M | re.S):
        for line in block.splitlines():
            words = shlex.split(line.removeprefix("$ "))[1:]
            command = typer.main.get_command(app)
            while hasattr(command, "commands"):
                command = command.commands[words.pop(0)]
            command.make_context(command.name, words)
            found += 1
    assert found >= 8


def test_the_loader_reads_its_file(plugins, tmp_path):
    g = torch.Generator().manual_seed(0)
    shapes = {"encoder": (4, 8), "threshold": (8,), "decoder": (8, 4), "mean": (4,)}
    w = {name: torch.randn(*shape, generator=g) for name, shape in shapes.items()}
    (tmp_path / "saes").mkdir()
    safetensors.torch.save_file(w, tmp_path / "saes" / "my_sae.safetensors")
    hook = HookPoint.parse("resid_pre.1")
    loaded = load_source(open_source(tmp_path / "saes"), LoadOptions(hook=hook), plugins=plugins)
    assert loaded.claim.loader.name == "mine"
    assert set(loaded.suite.sites) == {hook.at(role) for role in Role}
    x = torch.randn(5, 4, generator=g)
    expected = torch.relu((x - w["mean"]) @ w["encoder"] + w["threshold"])
    torch.testing.assert_close(loaded.suite.dictionaries[hook.at(Role.END)].encode(x), expected)


def test_the_architecture_is_stored_and_loaded(plugins, tmp_path):
    cls = plugins.architectures["threshold"]
    eye, zero = torch.eye(3), torch.zeros(3)
    sae = cls(W_enc=eye, b_enc=zero, W_dec=eye, b_dec=zero, threshold=0.5)
    save_suite(Suite("t", "ioi-mini", {Site.parse("z.0.0@end"): sae}), tmp_path / "t")
    (found,) = load_source(open_source(tmp_path / "t"), plugins=plugins).suite.dictionaries.values()
    assert found.encode(torch.tensor([[0.5, 0.75, -2.0]])).tolist() == [[0.0, 0.75, 0.0]]


def test_metric_edit_baseline_model_and_reporter_take_part_in_an_evaluation(plugins, tmp_path):
    sites = [Site.parse(f"z.3.{head}@end") for head in (0, 1)]
    train = torch.randn(100, 32, generator=torch.Generator().manual_seed(0))
    suite = Suite("codes", "ioi-mini", {site: codebook(train, 20, i) for i, site in enumerate(sites)})
    settings = {**SMALL, "methods": ("exchange", "strongest")}
    card = evaluate(
        suite,
        model="my-mini",
        baselines=("rotated",),
        reports=("ranked",),
        plugins=plugins,
        out=tmp_path / "card",
        **settings,
    )
    assert (card.track, card.made.model) == ("my-mini", "my-mini")
    cell = card.cell("io@nm-out")
    assert {edit.method for edit in cell.edits} == {"exchange", "strongest"}
    assert all(set(edit.metrics) == {"top-logit-gap"} for edit in cell.edits)
    assert [row.name for row in card.baselines] == ["rotated"]
    assert card.baselines[0].cells[0].faithfulness.fvu.value == pytest.approx(0, abs=1e-6)
    lines = (tmp_path / "card" / "report-ranked.tsv").read_text().splitlines()
    assert lines[0] == "io@nm-out\tTrue"
    assert len(lines) == len(card.cells)
    assert set(card.made.plugins) == {
        "edit method strongest",
        "metric top-logit-gap",
        "baseline rotated",
        "model my-mini",
    }
