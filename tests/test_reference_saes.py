"""The reference suites are what their manifest says, and belong to the shipped model."""

import hashlib
import json
from pathlib import Path

import pytest

from ioi_bench.dictionaries.suite import check_fits, load_suite
from ioi_bench.lm.circuit import load_circuit
from ioi_bench.lm.model import load_model

ROOT = Path(__file__).parents[1] / "reference_saes"
MANIFEST = json.loads((ROOT / "manifest.json").read_text())["suites"]


def test_there_are_the_three_architectures():
    assert set(MANIFEST) == {"relu", "gated", "topk"}


@pytest.mark.parametrize("name", sorted(MANIFEST))
def test_files_have_the_hashes_of_the_manifest(name):
    folder = ROOT / MANIFEST[name]["path"]
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    assert files == MANIFEST[name]["files"]


@pytest.mark.parametrize("name", sorted(MANIFEST))
def test_suites_cover_the_circuit_of_the_shipped_model(name):
    suite = load_suite(ROOT / MANIFEST[name]["path"])
    assert suite.sha256 == MANIFEST[name]["suite_sha256"]
    assert set(suite.sites) == set(load_circuit("ioi-mini").sites)
    model = load_model("ioi-mini")
    check_fits(suite, model, model.sha256)


def test_they_are_small():
    assert sum(path.stat().st_size for path in ROOT.rglob("*.safetensors")) <= 20e6
