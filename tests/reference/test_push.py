"""What is sent to the Hub: whole, checked, and in the forms that the Hub reads."""

from __future__ import annotations

import importlib
import json

import pytest
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries
from reference_examples import SCORE, content, names_in, record

from ioi_bench.errors import SuiteError
from ioi_bench.hub.upload import Uploaded
from ioi_bench.reference.eval_results import BENCHMARK
from ioi_bench.reference.manifest import Manifest
from ioi_bench.reference.push import collect, push, size_of

REPO = "org/saes"


def sent(folder):
    files = collect(folder, REPO)
    return {name: data if isinstance(data, bytes) else data.read_bytes() for name, data in files.items()}


def test_suites_and_manifest_go_as_they_are(bundle):
    files = sent(bundle)
    assert {name: files[name] for name in names_in(bundle)} == names_in(bundle)
    assert set(files) - set(names_in(bundle)) == {
        "README.md",
        ".eval_results/topk-s0.yaml",
        ".eval_results/relu-s0.yaml",
    }


def test_figures_and_recipes_go_too(bundle):
    for name in ("figures/topk.png", "figures/other.png", "recipes/quick.toml", "notes.txt", "results.json"):
        (bundle / name).parent.mkdir(exist_ok=True)
        (bundle / name).write_bytes(b"x")
    files = sent(bundle)
    assert {"figures/topk.png", "figures/other.png", "recipes/quick.toml"} <= set(files)
    assert not {"notes.txt", "results.json"} & set(files)
    page = files["README.md"].decode()
    assert "(figures/topk.png)" in page
    assert "figures/weight.png" not in page  # it is not there


def test_evaluation_results_are_read_by_the_hubs_own_client(bundle):
    entries = parse_eval_result_entries(yaml.safe_load(sent(bundle)[".eval_results/topk-s0.yaml"]))
    assert [entry.task_id for entry in entries] == ["ioi-mini-exchange", "ioi-mini-aware"]
    for entry in entries:
        assert entry.dataset_id == BENCHMARK
        assert entry.value == SCORE["value"]
        assert entry.source_url == "https://huggingface.co/org/saes/tree/main/mini/topk-s0"
        assert "topk-s0" in entry.notes
        assert "0.2500 to 0.7500" in entry.notes


def test_a_tiny_score_stays_a_number(bundle):
    change(bundle, scores={"exchange": {**SCORE, "value": 5e-05}, "aware": {**SCORE, "value": None}})
    (entry,) = yaml.safe_load(sent(bundle)[".eval_results/topk-s0.yaml"])
    assert entry["value"] == 5e-05


def test_the_page_has_the_metadata_that_the_hub_reads(bundle):
    card = ModelCard(sent(bundle)["README.md"].decode())
    assert card.data.library_name == "ioi-bench"
    assert card.data.license == "apache-2.0"
    assert {"sparse-autoencoder", "mechanistic-interpretability", "ioi"} <= set(card.data.tags)
    assert "model-index" not in card.data.to_dict()  # results are in .eval_results
    assert "| `relu-s0` | 0.50 [0.25, 0.75] | 0.50 [0.25, 0.75] |" in card.text
    assert f"hf://{REPO}/mini/" in card.text


def change(folder, **changes):
    """The manifest says something else of ``topk-s0``."""
    found = json.loads((folder / "manifest.json").read_text())
    found["suites"]["topk-s0"] |= changes
    Manifest.model_validate(found).write(folder / "manifest.json")


def test_files_that_are_not_the_manifests_are_not_sent(bundle):
    (bundle / "mini" / "relu-s0" / "weights.safetensors").write_bytes(b"retrained")
    with pytest.raises(SuiteError, match=r"not sent: mini/relu-s0: weights\.safetensors has the sha256"):
        collect(bundle, REPO)


def test_a_suite_that_the_manifest_lacks_is_not_sent(bundle):
    found = {"suites": {"topk-s0": record("topk-s0", content("topk-s0"))}}
    Manifest.model_validate(found).write(bundle / "manifest.json")
    with pytest.raises(SuiteError, match="mini/relu-s0: it is not in the manifest"):
        collect(bundle, REPO)


def test_all_goes_in_one_upload(bundle, monkeypatch):
    calls = []

    def upload(files, repo, **options):
        calls.append((dict(files), repo, options))
        return Uploaded("c" * 40, "https://hub/org/saes/discussions/1", 1)

    monkeypatch.setattr(importlib.import_module("ioi_bench.hub.upload"), "upload", upload)
    files = collect(bundle, REPO)
    assert push(files, REPO, pull_request=True).pull_request == 1
    ((given, repo, options),) = calls
    assert (given, repo) == (files, REPO)
    assert (options["kind"], options["pull_request"], options["create"]) == ("model", True, False)


def test_sizes_are_those_of_what_is_sent(bundle):
    sizes = {name: size_of(data) for name, data in collect(bundle, REPO).items()}
    assert sizes == {name: len(data) for name, data in sent(bundle).items()}
