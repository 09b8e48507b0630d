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
from ioi_bench.plugins.records import LoadOptions
from ioi_bench.sites import HookPoint

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MODULES = sorted(path.stem for path in Path(__file__).parent.glob("ioi-bench-*/ioi_bench_*.py"))
D_IN, D_SAE = 8, 32
VANILLA = {
    "W_enc": torch.ones(D_IN, D_SAE),
    "W_dec": torch.ones(D_SAE, D_IN),
    "b_enc": torch.ones(D_SAE),
    "b_dec": torch.ones(D_IN),
}
LINEAR = {"encoder.weight": torch.ones(D_SAE, D_IN), "decoder.weight": torch.ones(D_IN, D_SAE)}


def sparsify(folder):
    others = {"encoder.bias": VANILLA["b_enc"], "W_dec": VANILLA["W_dec"], "b_dec": VANILLA["b_dec"]}
    save_file({"encoder.weight": LINEAR["encoder.weight"], **others}, folder / "sae.safetensors")
    (folder / "cfg.json").write_text(json.dumps({"k": 4, "d_in": D_IN}))
    return folder


def openai(folder):
    torch.save({**LINEAR, "pre_bias": VANILLA["b_dec"], "latent_bias": VANILLA["b_enc"]}, folder / "8.pt")
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


def plain(folder):
    save_file(VANILLA, folder / "sae.safetensors")
    return folder / "sae.safetensors"


WRITERS = {write.__name__: write for write in (sparsify, openai, gemma_scope, attention_saes, makelov, plain)}


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
