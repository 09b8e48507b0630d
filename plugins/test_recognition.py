"""The loaders side by side: every source is recognised by its own loader and by no other."""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ioi_bench.dictionaries.source import Source
from ioi_bench.dictionaries.suite import save_suite
from ioi_bench.plugins import LoadOptions, Plugins
from ioi_bench.plugins.loading import load_source
from ioi_bench.plugins.sources import open_source
from ioi_bench.sites import HookPoint

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MODULES = sorted(
    path.stem
    for path in Path(__file__).parent.glob("ioi-bench-*/ioi_bench_*.py")
    if "def ioi_bench_loaders" in path.read_text()
)
D_IN, D_SAE = 8, 32
VANILLA = {
    "W_enc": torch.ones(D_IN, D_SAE),
    "W_dec": torch.ones(D_SAE, D_IN),
    "b_enc": torch.ones(D_SAE),
    "b_dec": torch.ones(D_IN),
}


def sparsify(folder, **config):
    others = {"encoder.bias": VANILLA["b_enc"], "W_dec": VANILLA["W_dec"], "b_dec": VANILLA["b_dec"]}
    save_file({"encoder.weight": torch.ones(D_SAE, D_IN), **others}, folder / "sae.safetensors")
    (folder / "cfg.json").write_text(json.dumps({"k": 4, "d_in": D_IN, **config}))
    return folder


def openai(folder, **strays):
    biases = {"pre_bias": VANILLA["b_dec"], "latent_bias": VANILLA["b_enc"]}
    matrices = {"encoder.weight": torch.ones(D_SAE, D_IN), "decoder.weight": torch.ones(D_IN, D_SAE)}
    torch.save(matrices | biases | strays, folder / "8.pt")
    return folder / "8.pt"


def gemma_scope(folder):
    arrays = {name: tensor.numpy() for name, tensor in VANILLA.items()}
    np.savez(folder / "params.npz", threshold=arrays["b_enc"], **arrays)
    return folder


def attention_saes(folder):
    torch.save(VANILLA, folder / "z.3.pt")
    config = {"act_name": "blocks.3.attn.hook_z", "act_size": D_IN, "dict_size": D_SAE}
    (folder / "z.3_cfg.json").write_text(json.dumps(config))
    return folder


def makelov(folder):
    torch.save(VANILLA, folder / "z@L9H9@end.pt")
    return folder


def makelov_topk(folder):
    torch.save({"W_enc": VANILLA["W_enc"], "W_dec": VANILLA["W_dec"], "b_pre": VANILLA["b_dec"]}, folder / "z.3.1.pt")
    return folder


def saelens(folder):
    save_file(VANILLA, folder / "sae_weights.safetensors")
    (folder / "cfg.json").write_text(json.dumps({"architecture": "standard", "hook_name": "blocks.3.hook_resid_pre"}))
    return folder


def dictionary_learning(folder):
    weights = {"encoder.weight": torch.ones(D_SAE, D_IN), "decoder.weight": torch.ones(D_IN, D_SAE)}
    torch.save({**weights, "encoder.bias": VANILLA["b_enc"], "bias": VANILLA["b_dec"]}, folder / "ae.pt")
    (folder / "config.json").write_text(json.dumps({"trainer": {"dict_class": "AutoEncoder"}}))
    return folder


def plain(folder):
    save_file(VANILLA, folder / "sae.safetensors")
    return folder / "sae.safetensors"


FORMATS = (saelens, dictionary_learning, sparsify, openai, gemma_scope, attention_saes, makelov, plain)
WRITERS = {write.__name__: write for write in FORMATS}


@pytest.mark.parametrize("options", [LoadOptions(), LoadOptions(hook=HookPoint.parse("resid_pre.3"), model="gpt2")])
@pytest.mark.parametrize("owner", WRITERS)
def test_one_loader_claims_a_source(tmp_path, owner, options):
    path = WRITERS[owner](tmp_path)
    source = Source(path, str(path))
    loaders = [loader for name in MODULES for loader in importlib.import_module(name).ioi_bench_loaders()]
    assert len(loaders) >= len(WRITERS)
    claims = [loader.name for loader in loaders if loader.recognise(source, options) is not None]
    assert claims == [owner.replace("_", "-")]


@pytest.mark.parametrize("name", MODULES)
def test_what_a_package_promises(name):
    """Its entry point is its module, it needs no library of its format, and its record has a name and a line."""
    folder = Path(importlib.import_module(name).__file__).parent
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    (loader,) = importlib.import_module(name).ioi_bench_loaders()
    assert project["name"] == folder.name == f"ioi-bench-{loader.name}"
    assert project["entry-points"]["ioi_bench"] == {loader.name: name}
    assert {re.match(r"[\w-]+", line)[0] for line in project["dependencies"]} <= {"ioi-bench", "torch", "safetensors"}
    assert project["license"] == "Apache-2.0"
    assert (folder / "README.md").read_text().startswith(f"# {folder.name}\n")
    assert loader.summary.strip()
    assert "\n" not in loader.summary


def files_of(*names):
    return [importlib.import_module(name).__file__ for name in names]


@pytest.mark.parametrize(
    ("name", "write", "settings"),
    [
        ("ioi_bench_sparsify", lambda folder: sparsify(folder, activation="groupmax"), {}),
        ("ioi_bench_makelov", makelov_topk, {"k": "3"}),
    ],
)
def test_architectures_of_a_plugin_can_be_kept_in_the_native_format(tmp_path, name, write, settings):
    plugins = Plugins.load(files_of(name), packages=False)
    (tmp_path / "z.3.1").mkdir()
    options = LoadOptions(hook=HookPoint.parse("z.3.1"), model="gpt2", settings=settings)
    suite = load_source(open_source(write(tmp_path / "z.3.1")), options, plugins=plugins).suite
    save_suite(suite, tmp_path / "native")
    again = load_source(open_source(tmp_path / "native"), plugins=plugins).suite
    assert again.sha256 == suite.sha256
    assert type(next(iter(again.dictionaries.values()))).__name__ in ("GroupMax", "SignedTopK")


def test_a_scale_is_applied_to_what_a_loader_gives(tmp_path):
    """By whoever calls the loader: also where the offset depends on the input."""
    plugins = Plugins.load(files_of("ioi_bench_openai"), packages=False)
    path = openai(tmp_path, activation="TopK", activation_state_dict={"k": 3, "postact_fn": "ReLU"})
    hook = HookPoint.parse("resid_post.3")
    x = torch.randn(9, D_IN, generator=torch.Generator().manual_seed(0))
    options = [LoadOptions(hook=hook), LoadOptions(hook=hook, scale=1000.0)]
    suites = [load_source(open_source(path), one, plugins=plugins).suite for one in options]
    given, scaled = (next(iter(suite.dictionaries.values())) for suite in suites)
    torch.testing.assert_close(scaled.encode(x), given.encode(1000 * x))
    torch.testing.assert_close(scaled.offset_for(x), given.offset_for(1000 * x) / 1000)
