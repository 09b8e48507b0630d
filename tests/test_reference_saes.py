"""The reference suites are what their manifest says, and belong to the shipped model."""

import json
import runpy
from pathlib import Path

import pytest
import torch

from ioi_bench.dictionaries.suite import check_fits, load_suite
from ioi_bench.lm.circuit import load_circuit
from ioi_bench.lm.model import load_model
from ioi_bench.reference.manifest import Manifest
from ioi_bench.reference.verify import problems_of
from ioi_bench.training import read_recipe

ROOT = Path(__file__).parents[1] / "reference_saes"
MANIFEST = Manifest.read(ROOT / "manifest.json").suites
RECIPE = read_recipe(ROOT / "recipes" / "ioi-mini.toml")


def test_there_are_all_variants_of_the_issue_with_three_seeds():
    fixed = {
        f"{name}-k{k:g}"
        for name in ("topk", "batchtopk", "matryoshka", "frozen-decoder")
        for k in RECIPE.variants[name]
    }
    expected = {
        f"{name}-s{seed}" for name in fixed | {"relu", "gated", "jumprelu", "attribution"} for seed in (0, 1, 2)
    }
    assert set(MANIFEST) == expected
    assert set(RECIPE.variants["topk"]) == {3, 6, 12, 24}
    assert {path.name for path in (ROOT / "ioi-mini").iterdir()} == expected


@pytest.mark.parametrize("name", sorted(MANIFEST))
def test_a_suite_is_what_the_manifest_says(name):
    """Files, hashes, the recipe and the split that chose it; and it covers the circuit of the shipped model."""
    known = MANIFEST[name]
    folder = ROOT / known.path
    assert problems_of(folder, name, known) == []
    suite = load_suite(folder)
    assert set(suite.sites) == set(load_circuit("ioi-mini").sites)
    assert known.recipe_sha256 == RECIPE.sha256
    assert known.selection.split == "validation"
    check_fits(suite, load_model("ioi-mini"), known.model_sha256)
    assert all(tensor.dtype == torch.float16 for d in suite.dictionaries.values() for tensor in d.tensors.values())


@pytest.mark.parametrize("name", sorted(MANIFEST))
def test_scores_have_intervals_around_them(name):
    for score in MANIFEST[name].scores.values():
        assert -1 <= score.low <= score.value <= score.high <= 1.2


def test_they_are_small():
    assert sum(path.stat().st_size for path in ROOT.rglob("*.safetensors")) <= 60e6


def test_half_precision_was_found_to_move_no_score_by_the_bound():
    file = ROOT / "half.json"
    if not file.exists():
        pytest.skip("ioi-bench study half has not run on these suites")
    found = json.loads(file.read_text())
    assert found["prompts"] >= 1000
    assert found["holds"] is True
    assert {name: one["sha256"] for name, one in found["suites"].items()} == {
        name: suite.suite_sha256 for name, suite in MANIFEST.items()
    }
    assert all(abs(value) < 0.005 for one in found["suites"].values() for value in one["scores"].values())


def test_the_page_shows_the_scores_of_the_manifest():
    page = (ROOT / "README.md").read_text()
    for name, suite in MANIFEST.items():
        value = f"{suite.scores['exchange'].value:.2f}".replace("0.", ".", 1)
        assert f"| `{name}` | {value} [" in page


def test_the_script_describes_the_suites_as_the_manifest_does():
    """From the suites and cards with the same scores: nothing of it was written by hand."""
    script = runpy.run_path(str(ROOT / "manifest.py"))
    cards = {
        suite.suite_sha256: {"headline": {method: {"score": score} for method, score in suite.scores.items()}}
        for suite in MANIFEST.values()
    }
    assert script["manifest"](cards).suites == MANIFEST
