"""Written by dictionary_learning itself, loaded by us: features and reconstructions are the library's."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from ioi_bench_dictionary_learning import load, recognise

from ioi_bench.dictionaries.source import Source
from ioi_bench.plugins.records import LoadOptions

D_IN, D_SAE, K = 12, 40, 5
KINDS = {
    "AutoEncoder": "relu",
    "AutoEncoderNew": "relu",
    "GatedAutoEncoder": "gated",
    "JumpReluAutoEncoder": "jumprelu",
    "AutoEncoderTopK": "topk",
    "BatchTopKSAE": "jumprelu",
    "MatryoshkaBatchTopKSAE": "jumprelu",
}


@pytest.fixture(scope="session")
def library():
    pytest.importorskip("dictionary_learning")
    return pytest.importorskip("dictionary_learning.utils")


def build(library, kind, *, threshold=0.8):
    """Random parameters of any size; decoder rows far from norm 1."""
    k = {"k": K} if "TopK" in kind else {}
    groups = {"group_sizes": [10, D_SAE - 10]} if kind.startswith("Matryoshka") else {}
    sae = getattr(library, kind)(D_IN, D_SAE, **k, **groups)
    generator = torch.Generator().manual_seed(0)
    for name, parameter in sae.named_parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
        if name == "threshold":
            parameter.data.abs_()
    if kind in ("BatchTopKSAE", "MatryoshkaBatchTopKSAE"):
        sae.threshold.fill_(threshold)
    return sae


def save(folder, sae, kind, **trainer):
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(sae.state_dict(), folder / "ae.pt")
    told = {"dict_class": kind, "layer": 8, "submodule_name": "resid_post_layer_8", "lm_name": "openai-community/gpt2"}
    told |= {"k": K} if "TopK" in kind else {}
    (folder / "config.json").write_text(json.dumps({"trainer": told | trainer, "buffer": {"io": "out"}}))
    return Source(folder, str(folder))


def only(source, **options):
    return next(iter(load(source, LoadOptions(**options)).dictionaries.values()))


def inputs():
    """Random, 10,000 times larger, one-hot, all negative, and zero."""
    x = torch.randn(64, D_IN, generator=torch.Generator().manual_seed(1))
    return torch.cat([x, 1e4 * x[:8], torch.eye(D_IN), -x[:8].abs(), torch.zeros(1, D_IN)])


@pytest.mark.parametrize("kind", KINDS)
def test_every_class_encodes_and_decodes_as_the_library(library, tmp_path, capsys, assert_same, kind):
    source = save(tmp_path, build(library, kind), kind)
    theirs, _ = library.load_dictionary(str(tmp_path), device="cpu")  # brings an AutoEncoder's rows to norm 1, says so
    capsys.readouterr()
    found, dictionary, x = recognise(source, LoadOptions()), only(source), inputs()
    assert (found.architecture, found.d_in, found.d_sae, found.model) == (KINDS[kind], D_IN, D_SAE, "gpt2")
    assert [str(hook) for hook in found.hooks] == ["blocks.8.hook_resid_post"]
    with torch.no_grad():
        expected = theirs.encode(x)
        assert_same(dictionary.encode(x), expected)
        assert_same(dictionary.decode(dictionary.encode(x)), theirs.decode(expected))
    assert expected.count_nonzero() > 0


@pytest.mark.parametrize("kind", ["BatchTopKSAE", "MatryoshkaBatchTopKSAE"])
def test_a_threshold_that_was_never_set_is_none(library, tmp_path, assert_same, kind):
    sae = build(library, kind, threshold=-1.0)
    source = save(tmp_path, sae, kind)
    with torch.no_grad():
        assert_same(only(source).encode(inputs()), sae.encode(inputs()))
    assert any("threshold was not set yet" in note for note in recognise(source, LoadOptions()).notes)


def test_a_class_that_the_trainer_did_not_write_down_is_told_by_its_tensors(library, tmp_path, assert_same):
    """The April-update trainer writes AutoEncoder whatever class it was given."""
    sae = build(library, "AutoEncoderNew")
    with torch.no_grad():
        assert_same(only(save(tmp_path, sae, "AutoEncoder")).encode(inputs()), sae.encode(inputs()))


@pytest.mark.parametrize(
    ("trainer", "kind", "extra"),
    [
        ("standard.StandardTrainer", "AutoEncoder", {}),
        ("standard.StandardTrainerAprilUpdate", "AutoEncoder", {}),
        ("gdm.GatedSAETrainer", "GatedAutoEncoder", {}),
        ("jumprelu.JumpReluTrainer", "JumpReluAutoEncoder", {}),
        ("top_k.TopKTrainer", "AutoEncoderTopK", {"k": K}),
        ("batch_top_k.BatchTopKTrainer", "BatchTopKSAE", {"k": K}),
        (
            "matryoshka_batch_top_k.MatryoshkaBatchTopKTrainer",
            "MatryoshkaBatchTopKSAE",
            {"k": K, "group_fractions": [0.25, 0.75]},
        ),
    ],
)
def test_a_real_run_with_its_checkpoints(library, tmp_path, capfd, assert_same, trainer, kind, extra):
    """Trained on normalised activations: what the library saves takes activations as they are."""
    training = pytest.importorskip("dictionary_learning.training")
    module, name = trainer.split(".")
    cls = getattr(pytest.importorskip(f"dictionary_learning.trainers.{module}"), name)
    data = list(7 * torch.randn(40, 32, D_IN, generator=torch.Generator().manual_seed(3)))
    told = {"trainer": cls, "steps": 20, "activation_dim": D_IN, "dict_size": D_SAE, "layer": 3, "lm_name": "gpt2"}
    told |= {"device": "cpu", "warmup_steps": 2, "submodule_name": "transformer.h.3.mlp", **extra}
    told |= {"sparsity_warmup_steps": 2} if kind in ("AutoEncoder", "GatedAutoEncoder", "JumpReluAutoEncoder") else {}
    steps = {"steps": 20, "save_steps": [5, 15], "save_dir": str(tmp_path), "device": "cpu"}
    training.trainSAE(data, [told], **steps, normalize_activations=True)
    capfd.readouterr()
    run, x = tmp_path / "trainer_0", torch.cat(data[:3])
    for file, chosen in (("ae.pt", {}), ("checkpoints/ae_5.pt", {"checkpoint": "5"})):
        extra_k = {"k": K} if "TopK" in kind else {}
        theirs = getattr(library, kind).from_pretrained(str(run / file), **extra_k)
        dictionary = only(Source(run, str(run)), settings=chosen)
        with torch.no_grad():
            assert_same(dictionary.encode(x), theirs.encode(x))
            assert_same(dictionary.decode(dictionary.encode(x)), theirs(x))
    found = recognise(Source(run, str(run)), LoadOptions(settings={"checkpoint": "15"}))
    assert [str(hook) for hook in found.hooks] == ["blocks.3.hook_mlp_out"]
    assert found.notes[0] == "a checkpoint from within training: checkpoints/ae_15.pt"


def test_the_library_is_not_needed():
    code = (
        "import sys; sys.path[:] = {!r}; import {}_dictionary_learning; assert 'dictionary_learning' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code.format(sys.path, "ioi_bench")], check=True)
