from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from typer.testing import CliRunner, Result

from ioi_bench.cli.app import app
from ioi_bench.dictionaries.suite import Suite, save_suite
from ioi_bench.lm.mini.vocabulary import build_tokenizer
from ioi_bench.task import IOI_V1_MINI
from ioi_bench.training import Run


def invoke(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args], catch_exceptions=False)


@pytest.fixture
def cli(monkeypatch, tmp_path_factory):
    """Run a command line in this process: ``cli("task", "show")``; stdout and stderr come apart."""
    for name in ("FORCE_COLOR", "NO_COLOR", "TERMINAL_WIDTH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("IOI_BENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    return invoke


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """A folder with a random model that has all heads of GPT-2's circuit, four dimensions each."""
    from transformers import GPT2Config, GPT2LMHeadModel

    folder = tmp_path_factory.mktemp("models") / "tiny"
    tokenizer = build_tokenizer(IOI_V1_MINI)
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=32, n_embd=48, n_layer=12, n_head=12, bos_token_id=0, eos_token_id=0
    )
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_recipe(tiny_model, tmp_path_factory):
    """Two epochs of one SAE a site."""
    path = tmp_path_factory.mktemp("recipes") / "tiny.toml"
    path.write_text(TINY_RECIPE.format(model=tiny_model))
    return path


@pytest.fixture(scope="session")
def tiny_run(tiny_recipe, tmp_path_factory):
    """What the command trains by it."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IOI_BENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        result = invoke("train", tiny_recipe, "--out", folder, "--chunk", 20)
    assert result.exit_code == 0, result.stderr
    return SimpleNamespace(path=folder, stdout=result.stdout, stderr=result.stderr)


@pytest.fixture(scope="session")
def tiny_suite(tiny_run, tiny_model, tmp_path_factory):
    """A suite for the model: the run's last checkpoint."""
    run, folder = Run(tiny_run.path), tmp_path_factory.mktemp("suites") / "tiny-topk"
    trained = {member.site: run.dictionary(member, 2) for member in run.members}
    save_suite(Suite("tiny-topk", str(tiny_model), trained, run.provenance["model_sha256"]), folder)
    return SimpleNamespace(path=folder)


TINY_RECIPE = """
model = "{model}"
d_sae = 8
epochs = 2
batch_size = 50
train_prompts = 100
checkpoints = [1]

[variants]
topk = [2]
"""
