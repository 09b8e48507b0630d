"""Which loader reads a source: exactly one, and where none or several know it, the message says how to go on."""

from __future__ import annotations

import json
import os
import re

import numpy as np
import pytest
import safetensors.torch
import torch

from ioi_bench.dictionaries.architectures import Relu, TopK
from ioi_bench.dictionaries.nulls import Linear
from ioi_bench.dictionaries.scaled import ScaledPerInput, rescaled
from ioi_bench.dictionaries.source import Source
from ioi_bench.dictionaries.suite import Suite, check_fits, load_suite, save_suite
from ioi_bench.dictionary import PerInputOffset
from ioi_bench.errors import InputError, PluginError, SuiteError, UnknownNameError
from ioi_bench.lm.model import load_model
from ioi_bench.plugins import LoadOptions, Plugins
from ioi_bench.plugins.inspection import inspect_source, model_name
from ioi_bench.plugins.loading import load_source
from ioi_bench.plugins.sources import open_source
from ioi_bench.sites import HookPoint, Role, Site

HOOK = HookPoint.parse("resid_pre.1")

LOADERS = """
import torch
from ioi_bench.dictionaries.nulls import Linear
from ioi_bench.dictionaries.suite import Suite
from ioi_bench.errors import SuiteError
from ioi_bench.plugins import Loader, Recognised

def loader(name, file, *, generic=False, refuses="", keys=()):
    def recognise(source, options):
        if not source.has(file):
            return None
        if refuses:
            raise SuiteError(refuses)
        return Recognised("linear", (options.hook,) if options.hook else (), 3, 3)

    def load(source, options):
        assert options.scale is None
        dictionary = Linear(torch.eye(3), torch.full((3,), float(options.settings.get("shift", 0))))
        return Suite.at_hook(name, "ioi-mini", options.hook, dictionary)

    return Loader(name, "a test", recognise, load, dict.fromkeys(keys, "help"), generic)
"""


@pytest.fixture
def plugins_with(plugin_file):
    def load(*calls):
        code = LOADERS + f"\ndef ioi_bench_loaders():\n    return [{', '.join(calls)}]\n"
        return Plugins.load([plugin_file(code)], packages=False)

    return load


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "saes"
    folder.mkdir()
    (folder / "a.txt").write_text("")
    (folder / "b.txt").write_text("")
    return folder


def native(d_in=3, **settings):
    w = {"W_enc": torch.eye(d_in), "b_enc": torch.zeros(d_in), "W_dec": torch.eye(d_in), "b_dec": torch.zeros(d_in)}
    return Relu(**w, **settings) if "k" not in settings else TopK(**w, **settings)


def test_the_one_loader_that_knows_a_source_reads_it(plugins_with, folder):
    plugins = plugins_with("loader('one', 'a.txt')", "loader('other', 'c.txt')")
    loaded = load_source(open_source(folder), LoadOptions(hook=HOOK), plugins=plugins)
    assert (loaded.claim.loader.name, loaded.suite.name) == ("one", "one")
    assert set(loaded.suite.sites) == {HOOK.at(role) for role in Role}


def test_two_that_know_it_are_named_and_one_can_be_chosen(plugins_with, folder):
    plugins = plugins_with("loader('one', 'a.txt')", "loader('two', 'b.txt')")
    with pytest.raises(SuiteError, match=r"2 loaders know .*: one \(a test\), two \(a test\); .*--loader one"):
        load_source(open_source(folder), LoadOptions(hook=HOOK), plugins=plugins)
    assert load_source(open_source(folder), LoadOptions(hook=HOOK), "two", plugins=plugins).suite.name == "two"


def test_a_generic_loader_is_asked_only_where_no_other_knows_it(plugins_with, folder):
    plugins = plugins_with("loader('any', 'a.txt', generic=True)", "loader('two', 'b.txt')")
    assert load_source(open_source(folder), LoadOptions(hook=HOOK), plugins=plugins).suite.name == "two"
    (folder / "b.txt").unlink()
    assert load_source(open_source(folder), LoadOptions(hook=HOOK), plugins=plugins).suite.name == "any"


def test_a_refusal_with_a_reason_stands_and_no_generic_loader_gets_round_it(plugins_with, folder):
    plugins = plugins_with("loader('any', 'a.txt', generic=True)", "loader('two', 'b.txt', refuses='a transcoder')")
    with pytest.raises(SuiteError, match=r"^a transcoder$"):
        load_source(open_source(folder), LoadOptions(hook=HOOK), plugins=plugins)


def test_a_refusal_beside_a_claim_is_shown(plugins_with, folder):
    plugins = plugins_with("loader('one', 'a.txt')", "loader('two', 'b.txt', refuses='a transcoder')")
    with pytest.raises(SuiteError, match=r"one \(a test\), two \(refuses it: a transcoder\)"):
        load_source(open_source(folder), LoadOptions(hook=HOOK), plugins=plugins)


def test_none_that_knows_it_lists_what_there_is(plugins_with, folder):
    plugins = plugins_with("loader('one', 'c.txt')")
    with pytest.raises(SuiteError, match=r"no loader knows .*holds a\.txt, b\.txt\. ") as caught:
        load_source(open_source(folder), plugins=plugins)
    lines = str(caught.value).splitlines()
    assert [line.split()[0] for line in lines if line.startswith("  ")] == ["native", "one"]
    assert lines[-2:] == ["  one     a test", "A plugin may add one: --plugin FILE.py"]
    with pytest.raises(SuiteError, match=r"is not in the format of the loader 'one': it holds a\.txt"):
        load_source(open_source(folder), None, "one", plugins=plugins)
    with pytest.raises(UnknownNameError, match="unknown loader 'ome': did you mean 'one'"):
        load_source(open_source(folder), None, "ome", plugins=plugins)


BROKEN = """
from ioi_bench.plugins import Loader

def ioi_bench_loaders():
    return [Loader("aaa", "breaks", lambda source, options: 1 / 0, None)]
"""


def test_a_loader_that_breaks_does_not_stand_in_the_way_of_others(plugin_file, tmp_path):
    plugins = Plugins.load([plugin_file(BROKEN)], packages=False)
    save_suite(Suite("s", "ioi-mini", {HOOK.at(Role.END): native()}), tmp_path / "s")
    source = open_source(tmp_path / "s")
    assert load_source(source, plugins=plugins).claim.loader.name == "native"
    with pytest.raises(PluginError, match="the loader 'aaa' of the plugin 'mine' failed: ZeroDivisionError"):
        load_source(source, None, "aaa", plugins=plugins)
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        SuiteError, match=r"(?s)the folder is empty\. .*\nAlso, the loader 'aaa' of the plugin 'mine' failed"
    ):
        load_source(open_source(tmp_path / "empty"), plugins=plugins)


def test_what_the_source_does_not_say_is_asked_for(plugins_with, folder):
    plugins = plugins_with("loader('one', 'a.txt', keys=('shift',))")
    with pytest.raises(InputError, match="does not say where its dictionary reads: add --hook") as caught:
        load_source(open_source(folder), plugins=plugins)
    mini = load_model("ioi-mini")
    examples = [HookPoint.parse(text) for text in re.findall(r"--hook '?(blocks[^ ',]+)", str(caught.value))]
    assert len(examples) == 2
    assert all(mini.width(example.at(Role.END)) for example in examples), "the default model has them"
    with pytest.raises(UnknownNameError, match="unknown setting of the loader 'one' 'shft': did you mean 'shift'"):
        load_source(open_source(folder), LoadOptions(hook=HOOK, settings={"shft": "1"}), plugins=plugins)
    loaded = load_source(open_source(folder), LoadOptions(hook=HOOK, settings={"shift": "2"}), plugins=plugins)
    assert loaded.suite.dictionaries[HOOK.at(Role.END)].offset.tolist() == [2.0, 2.0, 2.0]


def test_a_scale_is_applied_once_whatever_the_loader(plugins_with, folder, tmp_path):
    plugins = plugins_with("loader('one', 'a.txt')")
    save_suite(Suite("s", "ioi-mini", {HOOK.at(Role.END): native(scale=3.0)}), tmp_path / "s")
    x = torch.tensor([[1.0, 2.0, 4.0]])
    for path, factor in ((folder, 2.0), (tmp_path / "s", 6.0)):
        suite = load_source(open_source(path), LoadOptions(hook=HOOK, scale=2.0), plugins=plugins).suite
        scaled = suite.dictionaries[HOOK.at(Role.END)]
        torch.testing.assert_close(scaled.encode(x), factor * x)
        torch.testing.assert_close(scaled.decode(factor * x), x)
    for bad in (0.0, -1.0, float("nan")):
        with pytest.raises(InputError, match="expected a positive number"):
            load_source(open_source(folder), LoadOptions(hook=HOOK, scale=bad), plugins=plugins)
    with pytest.raises(InputError, match="expected a number or 'sqrt-d'"):
        load_source(open_source(folder), LoadOptions(hook=HOOK, scale="sqrt"), plugins=plugins)


class Normed(Linear):
    """Its offset is half of the input."""

    def offset_for(self, x):
        return x / 2


def test_scaling_keeps_what_a_dictionary_says_of_its_offset():
    site = HOOK.at(Role.END)
    plain, normed = (cls(torch.eye(3), torch.zeros(3)) for cls in (Linear, Normed))
    found = [rescaled(Suite("s", "m", {site: inner}), {site: 4.0}).dictionaries[site] for inner in (plain, normed)]
    assert [isinstance(each, PerInputOffset) for each in found] == [False, True]
    assert isinstance(found[1], ScaledPerInput)
    x = torch.tensor([[1.0, 2.0, 3.0]])
    torch.testing.assert_close(found[1].offset_for(x), x / 2)


def test_a_path_that_does_not_exist_names_near_misses(folder):
    with pytest.raises(SuiteError, match=r"there is nothing at .*; did you mean '.*saes'"):
        open_source(folder.with_name("sae"))
    with pytest.raises(SuiteError, match=r"did you mean '.*/saes/a\.txt'"):
        open_source(folder.with_name("seas") / "a.txt")
    with pytest.raises(SuiteError, match=r"there is nothing at '.*quite-other'$"):
        open_source(folder / "quite-other")
    with pytest.raises(InputError, match="'ftp://x/y' is a ftp address"):
        open_source("ftp://x/y")
    assert open_source(str(folder)) == Source(folder, str(folder))


def test_a_native_file_and_a_native_folder_are_known_without_their_weights(tmp_path, monkeypatch):
    suite = Suite("s", "gpt2", {Site.parse("z.9.9@end"): native(64, k=3, scale=1.5)})
    save_suite(suite, tmp_path / "one.safetensors")
    save_suite(suite, tmp_path / "folder")
    monkeypatch.setattr("ioi_bench.dictionaries.suite._build", None)  # who reads weights fails
    for name in ("one.safetensors", "folder"):
        found = inspect_source(open_source(tmp_path / name), plugins=Plugins.load(packages=False))
        assert (found.loader, found.model, found.track) == ("native", "gpt2", "gpt2")
        what = found.recognised
        assert (what.architecture, what.d_in, what.d_sae, what.normalisation) == ("topk", 64, 64, "inputs × 1.5")
        assert [str(hook) for hook in what.hooks] == ["blocks.9.attn.hook_z[9]"]
        covers = {cell.cell: (cell.covered, cell.sites) for cell in found.cells}
        assert covers == {"io@nm-out": (1, 10)}


def test_what_is_damaged_is_said_to_be(tmp_path):
    plugins = Plugins.load(packages=False)
    (tmp_path / "cut.safetensors").write_bytes((400).to_bytes(8, "little") + b"{")
    with pytest.raises(SuiteError, match="truncated, corrupt"):
        load_source(open_source(tmp_path / "cut.safetensors"), plugins=plugins)
    safetensors.torch.save_file({"W": torch.zeros(2, 2)}, tmp_path / "plain.safetensors")
    with pytest.raises(SuiteError, match=r"no loader knows .*plain\.safetensors"):
        load_source(open_source(tmp_path / "plain.safetensors"), plugins=plugins)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "suite.json").write_text(json.dumps({"schema_version": 1}))
    with pytest.raises(SuiteError, match="is not a suite header"):
        load_source(open_source(tmp_path / "bad"), plugins=plugins)


class Payload:
    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_a_pickle_that_wants_code_is_refused_by_name_where_no_loader_knows_it(tmp_path):
    torch.save({"w": Payload(tmp_path / "made")}, tmp_path / "w.pt")
    with pytest.raises(SuiteError, match=r"'w\.pt' .* is a pickle that wants to run code \(\w+\.mkdir\)"):
        load_source(open_source(tmp_path / "w.pt"), plugins=Plugins.load(packages=False))
    assert not (tmp_path / "made").exists()
    np.savez(tmp_path / "w.npz", w=np.zeros(9))
    (tmp_path / "w.npz").write_bytes((tmp_path / "w.npz").read_bytes()[:-20])
    with pytest.raises(SuiteError, match=r"is no \.npz of plain arrays"):
        load_source(open_source(tmp_path / "w.npz"), plugins=Plugins.load(packages=False))


def test_what_would_be_scored_is_the_track_that_an_evaluation_takes(tmp_path):
    point = HookPoint.parse("blocks.2.hook_resid_pre")
    save_suite(Suite.at_hook("s", "ioi-mini", point, native(128)), tmp_path / "one")
    found = inspect_source(open_source(tmp_path / "one"), plugins=Plugins.load(packages=False))
    assert found.track == "ioi-mini/blocks.2.hook_resid_pre"
    assert len(found.cells) == 15
    assert {(cell.headline, cell.ranked, cell.covered) for cell in found.cells} == {(True, None, 1)}
    head = HookPoint.parse("blocks.4.attn.hook_z[0]")
    save_suite(Suite.at_hook("s", "ioi-mini", head, native(32)), tmp_path / "head")
    tracks = [
        inspect_source(open_source(tmp_path / "head"), plugins=Plugins.load(packages=False), track=track).track
        for track in (None, "hook", "circuit")
    ]
    assert tracks == ["ioi-mini/blocks.4.attn.hook_z[0]"] * 2 + ["ioi-mini"]
    with pytest.raises(UnknownNameError, match="did you mean 'circuit'"):
        inspect_source(open_source(tmp_path / "head"), plugins=Plugins.load(packages=False), track="cirquit")
    several = {HookPoint("resid_pre", layer).at(Role.END): native(128) for layer in (1, 2)}
    save_suite(Suite("s", "ioi-mini", several), tmp_path / "two")
    assert inspect_source(open_source(tmp_path / "two"), plugins=Plugins.load(packages=False)).cells == ()


def test_architectures_of_plugins_are_known_where_they_are_given_and_nowhere_else(tmp_path):
    class Mine(Relu):
        name = "mine"

    w = native()
    save_suite(Suite("s", "m", {HOOK.at(Role.END): Mine(**w.tensors)}), tmp_path / "s")
    assert type(load_suite(tmp_path / "s", architectures={"mine": Mine}).dictionaries[HOOK.at(Role.END)]) is Mine
    with pytest.raises(UnknownNameError, match="unknown architecture 'mine'"):
        load_suite(tmp_path / "s")
    with pytest.raises(UnknownNameError, match="unknown architecture 'mine'"):
        inspect_source(open_source(tmp_path / "s"), plugins=Plugins.load(packages=False))


def test_the_model_is_the_one_that_the_source_names():
    plugins = Plugins.load(packages=False)
    assert [model_name(said, plugins) for said in (None, "gpt2-small", "gpt2")] == ["ioi-mini", "gpt2", "gpt2"]
    with pytest.raises(UnknownNameError, match="--model overrules"):
        model_name("pythia-70m", plugins)


def relu_suite(hook, d_in):
    eye, zeros = torch.eye(d_in), torch.zeros(d_in)
    return Suite.at_hook("mine", "ioi-mini", hook, Relu(W_enc=eye, b_enc=zeros, W_dec=eye, b_dec=zeros))


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["run.json", "data.safetensors"], "It is a training run: `ioi-bench select"),
        (
            ["run.json", "selected/topk-k3-s0/suite.json"],
            "There are suites in it: give one, such as .*/selected/topk-k3-s0$",
        ),
        (["card.json", "prompts.parquet"], "It is a score card .*: give the suite that was judged"),
    ],
)
def test_a_folder_that_ioi_bench_wrote_and_that_is_no_suite_is_known(tmp_path, files, said):
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    with pytest.raises(SuiteError, match=f"no loader knows [\\s\\S]*\n{said}"):
        load_source(open_source(tmp_path), plugins=Plugins.load(packages=False))


def test_one_file_of_several_says_to_give_the_folder(tmp_path):
    save_suite(relu_suite(HOOK, 128), tmp_path / "suite")
    plugins = Plugins.load(packages=False)
    with pytest.raises(SuiteError, match=f"give the folder, {re.escape(str(tmp_path / 'suite'))}$"):
        load_source(open_source(tmp_path / "suite" / "suite.json"), plugins=plugins)
    (tmp_path / "alone.json").write_text("{}")
    with pytest.raises(SuiteError, match="no loader knows") as caught:
        load_source(open_source(tmp_path / "alone.json"), plugins=plugins)
    assert "give the folder" not in str(caught.value)


@pytest.mark.parametrize(
    ("hook", "d_in", "width"),
    [("resid_pre.1", 64, 128), ("blocks.1.attn.hook_z[0]", 128, 32), ("z.1", 32, 128)],
)
def test_a_width_that_does_not_fit_is_told_with_both(tmp_path, hook, d_in, width):
    """The widths are ioi-mini's: 128, in four heads; an evaluation refuses the same suite."""
    save_suite(relu_suite(hook, d_in), tmp_path / "wrong")
    (warning,) = inspect_source(open_source(tmp_path / "wrong")).warnings
    assert f"d_in = {d_in}," in warning
    assert f"have {width} dimensions" in warning
    model = load_model("ioi-mini")
    with pytest.raises(SuiteError, match=f"d_in = {d_in}, .* have {width} "):
        check_fits(load_suite(tmp_path / "wrong"), model, model.sha256)
    save_suite(relu_suite(hook, width), tmp_path / "right")
    assert inspect_source(open_source(tmp_path / "right")).warnings == ()


def test_the_sizes_that_are_told_are_the_models():
    from ioi_bench.plugins.records import ModelRecord

    record, model = Plugins.load(packages=False).all(ModelRecord)["ioi-mini"], load_model("ioi-mini")
    assert (record.layers, record.heads, record.d_model) == (model.n_layers, model.n_heads, model.d_model)
