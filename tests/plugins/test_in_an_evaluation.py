"""What plugins give is measured, shown and written like our own; what fails is said."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from ioi_bench.dictionaries.nulls import codebook
from ioi_bench.dictionaries.suite import Suite
from ioi_bench.errors import InputError, PluginError, UnknownNameError
from ioi_bench.evaluation.card import Card
from ioi_bench.evaluation.evaluate import evaluate
from ioi_bench.evaluation.recompute import differences
from ioi_bench.plugins import LoadOptions, Plugins
from ioi_bench.sites import Site
from ioi_bench.testing.plugins import plugin_cases

SMALL = {"prompts": 30, "train_prompts": 300, "budgets": (1, 2), "methods": ("exchange",)}

SAME = """
    from ioi_bench.editing import exchange as ours
    from ioi_bench.metrics import divergence, edit_distance
    from ioi_bench.plugins import EditRecord, MetricRecord

    def kl(inputs):
        return divergence(inputs.edited_logits, inputs.counterfactual_logits).nats

    def distance(inputs):
        pairs = [(inputs.edited[s] - inputs.counterfactual[s]).norm(dim=1) for s in inputs.clean]
        return sum(pairs) / len(pairs)

    def own_move(inputs):
        return (inputs.edited_logits - inputs.clean_logits).abs().sum(-1)

    def ioi_bench_metrics():
        return [
            MetricRecord("kl", "the divergence, once more", kl, "lower"),
            MetricRecord("distance", "the distance, once more", distance, "lower"),
            MetricRecord("moved", "how far the logits went", own_move),
        ]

    def ioi_bench_edits():
        return [EditRecord("again", "exchange under another name", ours)]
"""


@pytest.fixture(scope="module")
def suite():
    train = torch.randn(100, 32, generator=torch.Generator().manual_seed(0))
    sites = [Site.parse(f"z.3.{head}@end") for head in (0, 1)]
    return Suite("codes", "ioi-mini", {site: codebook(train, 20, i) for i, site in enumerate(sites)})


def test_metrics_and_edits_of_plugins_agree_with_ours_where_they_are_the_same(suite, plugin_file, tmp_path):
    plugins = Plugins.load([plugin_file(SAME)], packages=False)
    settings = {**SMALL, "methods": ("exchange", "again")}
    card = evaluate(suite, plugins=plugins, out=tmp_path / "card", **settings)
    assert Card.read(tmp_path / "card") == card
    for cell in card.cells:
        for edit in (*cell.edits, *cell.skyline.values()):
            for name, ours in (("kl", edit.kl), ("distance", edit.distance)):
                theirs = edit.metrics[name]
                assert theirs.direction == "lower"
                found, expected = (theirs.value, theirs.low, theirs.high), (ours.value, ours.low, ours.high)
                assert found == pytest.approx(expected, rel=1e-5, abs=1e-6)
        for budget in (1, 2):
            ours, theirs = cell.edit("exchange", budget), cell.edit("again", budget)
            for name in ("accuracy", "weight", "weight_added", "distance", "kl"):
                assert getattr(theirs, name).value == pytest.approx(getattr(ours, name).value, rel=1e-5, abs=1e-6)
    assert set(card.headline) == {"exchange"}, "the score stays with the methods of METHOD §7"
    frame = card.to_frame().query("cell == 'io@nm-out' and method == 'exchange' and budget == 1")
    assert {"kl", "metrics.kl", "metrics.moved"} <= set(frame["metric"])
    prompts = pd.read_parquet(tmp_path / "card" / "prompts.parquet")
    assert (prompts.query("method == 'no-edit'")["metrics.moved"] == 0).all()
    assert (prompts["metrics.kl"] - prompts["kl"]).abs().max() < 1e-5


def test_plugins_leave_our_own_figures_as_they_are(suite, plugin_file):
    plain = evaluate(suite, plugins=Plugins.load(packages=False), **SMALL)
    with_metrics = evaluate(suite, plugins=Plugins.load([plugin_file(SAME)], packages=False), **SMALL)
    frame = with_metrics.to_frame()
    frame = frame[~frame["metric"].str.startswith("metrics.")].reset_index(drop=True)
    pd.testing.assert_frame_equal(frame, plain.to_frame())


BROKEN_METRIC = """
    from ioi_bench.plugins import MetricRecord

    def ioi_bench_metrics():
        return [MetricRecord("odd", "has a value too many", lambda inputs: inputs.edited_logits[:, :2])]
"""


def test_a_metric_that_fails_is_empty_and_said_to_be(suite, installed):
    installed("metrics", BROKEN_METRIC.replace("\n    ", "\n"))
    card = evaluate(suite, plugins=Plugins.load(), **SMALL)
    said = [warning.message for warning in card.warnings if warning.code == "plugin"]
    assert len(said) == 1
    assert "the metric 'odd' of the plugin 'metrics' returned values of shape [30, 2]" in said[0]
    assert card.cells[0].edits[0].metrics["odd"].value is None
    assert card.cells[0].edits[0].accuracy.value is not None


def test_a_metric_that_fails_ends_the_run_where_its_file_was_asked_for(suite, plugin_file):
    with pytest.raises(PluginError, match="the metric 'odd' of the plugin 'mine' returned values of shape"):
        evaluate(suite, plugins=Plugins.load([plugin_file(BROKEN_METRIC)], packages=False), **SMALL)


BAD_EDITS = {
    "raises": ("raise ValueError('no')", "failed: ValueError: no"),
    "returns activations": ("return inputs.a_s", "returned something of type Tensor, expected Edit"),
    "forgets a budget": ("return ours(inputs, budgets[:1])", r"an edit of shape \[1, .* expected \[2, "),
    "gives NaN": (
        "e = ours(inputs, budgets); return replace(e, edited=e.edited * float('nan'))",
        "edited activations with NaN",
    ),
}


@pytest.mark.parametrize("case", BAD_EDITS)
def test_an_edit_that_breaks_its_contract_names_its_plugin(suite, plugin_file, case):
    body, says = BAD_EDITS[case]
    code = (
        "from dataclasses import replace\nfrom ioi_bench.editing import exchange as ours\n"
        "from ioi_bench.plugins import EditRecord\n"
        f"def bad(inputs, budgets):\n    {body}\n"
        "def ioi_bench_edits(): return [EditRecord('bad', 'x', bad)]\n"
    )
    plugins = Plugins.load([plugin_file(code)], packages=False)
    with pytest.raises(PluginError, match=f"the edit method 'bad' of the plugin 'mine'.*{says}"):
        evaluate(suite, plugins=plugins, **{**SMALL, "methods": ("bad",)})


def test_baselines_are_judged_like_suites():
    settings = {**SMALL, "plugins": Plugins.load(packages=False)}
    path = "reference_saes/ioi-mini/topk-k3-s0"
    card = evaluate(path, baselines=("random", "neurons", "pca", "codebook"), **settings)
    rows = {row.name: row for row in card.baselines}
    assert list(rows) == ["random", "neurons", "pca", "codebook"]
    by_cell = {name: {cell.name: cell for cell in row.cells} for name, row in rows.items()}
    assert set(by_cell["pca"]) == {cell.name for cell in card.cells}
    at = by_cell["random"]["io@nm-out"]
    assert at.faithfulness.l0.value == pytest.approx(3, abs=0.01)  # the standard null: top 3
    for exact in ("neurons", "pca"):  # both span the space
        assert by_cell[exact]["io@nm-out"].faithfulness.fvu.value == pytest.approx(0, abs=1e-6)
    assert by_cell["neurons"]["io@nm-out"].faithfulness.l0.value == pytest.approx(32, abs=0.01)
    assert by_cell["codebook"]["io@nm-out"].faithfulness.l0.value == pytest.approx(1)
    alone = evaluate(path, **settings)
    assert alone.cells == card.cells, "baselines change nothing of the suite"
    assert alone.headline == card.headline
    assert (card.made.source, card.made.loader, card.made.plugins) == (path, "native", {})


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch, request):
    monkeypatch.chdir(request.config.rootpath)


def differs(row, card):
    """Where a baseline's row is not what a card shows; a run beside others may differ in the last bits."""
    names = {"headline", "cells"}
    cells = {"name", "edits", "scores", "faithfulness"}
    given = row.model_dump(include=names)
    found = card.model_dump(include={"headline": True, "cells": {"__all__": cells}})
    return list(differences(given, found, 1e-4))


def test_a_row_of_a_baseline_is_the_card_that_its_dictionaries_would_get(suite):
    """The oracle: the identity as a suite of its own."""
    from ioi_bench.dictionaries.nulls import Linear
    from ioi_bench.lm.circuit import load_circuit

    plugins = Plugins.load(packages=False)
    card = evaluate(suite, baselines=("neurons",), plugins=plugins, **SMALL)
    made = {site: Linear(torch.eye(32), torch.zeros(32)) for site in load_circuit("ioi-mini").sites}
    own = evaluate(Suite("identity", "ioi-mini", made), plugins=plugins, **SMALL)
    assert not differs(card.baselines[0], own)


LABELLED = """
    import torch

    from ioi_bench.dictionaries.nulls import Linear
    from ioi_bench.plugins import Baseline

    def difference(inputs):
        # the direction between the means of the two patterns, as one feature
        first = inputs.values["pos"] == 0
        made = {}
        for site in inputs.sites:
            a = inputs.activations[site]
            d = a[first].mean(0) - a[~first].mean(0)
            made[site] = Linear((d / d.norm())[None], a.mean(0))
        return made

    def ioi_bench_baselines():
        return [
            Baseline("pos-difference", "the difference of means by pos", fit_all=difference),
            Baseline("lacking", "x", fit_all=lambda inputs: {}),
            Baseline("copy", "the suite itself", fit_all=lambda inputs: dict(inputs.suite), needs_suite=True),
        ]
"""


def test_an_outsiders_baseline_may_know_labels(plugin_file):
    """One supervised direction: exchanged, it is about the skyline's edit where pos alone is edited."""
    plugins = Plugins.load([plugin_file(LABELLED)], packages=False)
    settings = {**SMALL, "train_prompts": 1000, "cells": ("pos@si-out", "pos@nm-q")}
    card = evaluate("reference_saes/ioi-mini/topk-k3-s0", baselines=("pos-difference",), plugins=plugins, **settings)
    for cell, own in zip(card.baselines[0].cells, card.cells, strict=True):
        assert cell.edits[0].accuracy.value > own.skyline["mean"].accuracy.value - 0.15
    assert card.made.plugins == {"baseline pos-difference": card.made.plugins["baseline pos-difference"]}


def test_an_outsiders_baseline_may_know_the_suite(plugin_file, suite):
    plugins = Plugins.load([plugin_file(LABELLED)], packages=False)
    card = evaluate("reference_saes/ioi-mini/topk-k3-s0", baselines=("copy",), plugins=plugins, **SMALL)
    assert not differs(card.baselines[0], card)


def test_a_baseline_without_a_dictionary_for_a_site_is_named(plugin_file, suite):
    plugins = Plugins.load([plugin_file(LABELLED)], packages=False)
    with pytest.raises(PluginError, match="the baseline 'lacking' of the plugin 'mine' returned no dictionary for"):
        evaluate(suite, baselines=("lacking",), plugins=plugins, **SMALL)


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        ({"baselines": ("pcs",)}, "unknown baseline 'pcs': did you mean 'pca'"),
        ({"baselines": ("pca", "pca")}, "baselines by distinct names"),
        ({"reports": ("markdwn",), "out": "x"}, "unknown reporter 'markdwn': did you mean 'markdown'"),
        ({"reports": ("markdown",)}, "nowhere to go"),
        ({"model": "ioi-mimi"}, "unknown model 'ioi-mimi': did you mean 'ioi-mini'"),
    ],
)
def test_names_that_do_not_exist_are_found_before_the_work(suite, choice, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((UnknownNameError, InputError), match=says):
        evaluate(suite, plugins=Plugins.load(packages=False), **{**SMALL, **choice})
    assert not list(tmp_path.iterdir())


def test_a_suite_for_a_model_that_is_not_known_asks_for_one(suite):
    stray = Suite("stray", "pythia", suite.dictionaries)
    with pytest.raises(UnknownNameError, match=r"--model overrules.*'pythia'"):
        evaluate(stray, plugins=Plugins.load(packages=False), **SMALL)


def test_sqrt_d_undoes_a_scale_that_was_lost(suite):
    """A dictionary trained on inputs of mean norm √d is as good as new once inputs are scaled again."""
    from ioi_bench.dictionaries.nulls import Linear
    from ioi_bench.evaluation.choices import to_sqrt_d
    from ioi_bench.evaluation.data import Capture, silent, split_of
    from ioi_bench.evaluation.inputs import gather
    from ioi_bench.lm.circuit import load_circuit
    from ioi_bench.lm.model import load_model

    circuit = load_circuit("ioi-mini")
    inputs = gather(
        Capture(load_model("ioi-mini"), 256, None, silent),
        circuit,
        split_of(circuit, "test", 10),
        split_of(circuit, "train", 200),
    )
    made = {site: Linear(torch.eye(32), torch.zeros(32)) for site in circuit.sites}
    scaled = to_sqrt_d(Suite("identity", "ioi-mini", made), inputs)
    for site in (Site.parse("z.3.0@end"), Site.parse("z.1.0@s2")):
        x = inputs.train.activations[site]
        assert scaled.dictionaries[site].encode(x).norm(dim=1).mean().item() == pytest.approx(32**0.5, rel=1e-4)
        torch.testing.assert_close(scaled.dictionaries[site].decode(scaled.dictionaries[site].encode(x)), x)
    card = evaluate(suite, options=LoadOptions(scale="sqrt-d"), plugins=Plugins.load(packages=False), **SMALL)
    assert card.made.suite_sha256 != suite.sha256


def test_the_kit_checks_a_baseline_that_needs_labels_or_the_suite(plugin_file):
    """`ioi-bench plugins check` fits it to a head of ioi-mini; without a dictionary there, it says so."""
    sound = LABELLED.replace('            Baseline("lacking", "x", fit_all=lambda inputs: {}),\n', "")
    cases = {case.name: case for case in plugin_cases(Plugins.load([plugin_file(sound)], packages=False), "mine")}
    assert set(cases) == {"baseline pos-difference", "baseline copy"}
    assert cases["baseline pos-difference"].dictionary.d_sae == 1
    assert cases["baseline copy"].dictionary.d_sae == 8 * 32
    with pytest.raises(PluginError, match=r"the baseline 'lacking' .* returned no dictionary"):
        list(plugin_cases(Plugins.load([plugin_file(LABELLED)], packages=False), "mine"))
