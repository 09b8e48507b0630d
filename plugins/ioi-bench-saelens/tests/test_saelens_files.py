"""Files as SAELens lays them out, made by hand: by-hand values, and what goes wrong. SAELens is not needed."""

from __future__ import annotations

import json

import pytest
import torch
from ioi_bench_saelens import ioi_bench_loaders
from safetensors.torch import save_file

from ioi_bench.dictionaries.per_input import PerInputNorm
from ioi_bench.dictionaries.source import Source
from ioi_bench.dictionary import Dictionary
from ioi_bench.errors import InputError, SuiteError, UnknownNameError
from ioi_bench.plugins.records import LoadOptions
from ioi_bench.sites import HookPoint

D_IN, D_SAE = 4, 6
(LOADER,) = ioi_bench_loaders()
CONFIG = {"architecture": "standard", "d_in": D_IN, "d_sae": D_SAE, "hook_name": "blocks.8.hook_resid_pre"}


def tensors(seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = {"W_enc": (D_IN, D_SAE), "b_enc": (D_SAE,), "W_dec": (D_SAE, D_IN), "b_dec": (D_IN,)}
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def write(folder, config=(), weights=(), *, drop=()):
    """A standard SAE with changes; a weight of None is left out."""
    folder.mkdir(parents=True, exist_ok=True)
    held = {name: tensor for name, tensor in {**tensors(), **dict(weights)}.items() if tensor is not None}
    (folder / "cfg.json").write_text(json.dumps({k: v for k, v in {**CONFIG, **dict(config)}.items() if k not in drop}))
    save_file(held, folder / "sae_weights.safetensors")
    return Source(folder, "hf://org/repo@abc/" + folder.name, "abc")


def only(source, **options):
    return next(iter(LOADER.load(source, LoadOptions(**options)).dictionaries.values()))


def test_the_suite_says_what_it_is(tmp_path):
    source = write(tmp_path / "layer8", {"model_name": "gpt2-small"})
    suite = LOADER.load(source, LoadOptions())
    assert (suite.name, suite.model, suite.metadata["format"]) == ("layer8", "gpt2", "saelens")
    assert [str(hook) for hook in suite.hooks] == ["blocks.8.hook_resid_pre"]
    assert LOADER.load(source, LoadOptions(model="mine")).model == "mine"


def test_the_only_folder_below_is_taken_and_several_are_named(tmp_path):
    source = write(tmp_path / "repo" / "one")
    assert isinstance(only(Source(tmp_path / "repo", "repo")), Dictionary)
    write(tmp_path / "repo" / "two")
    with pytest.raises(SuiteError, match="holds 2 SAEs of SAELens: give the folder of one, such as 'repo/one' or"):
        LOADER.recognise(Source(tmp_path / "repo", "repo"), LoadOptions())
    assert source.has("cfg.json")


def test_what_the_user_says_overrules(tmp_path):
    source = write(tmp_path / "s", drop=("hook_name", "architecture"))
    assert LOADER.recognise(source, LoadOptions()).hooks == ()
    with pytest.raises(SuiteError, match="does not say where it reads: add --hook"):
        LOADER.load(source, LoadOptions())
    hook = HookPoint("mlp_out", 3)
    assert LOADER.load(source, LoadOptions(hook=hook)).hooks == (hook,)
    assert LOADER.recognise(source, LoadOptions(arch="relu")).architecture == "relu"


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (
            {"hook_name": "blocks.8.hook_resid_pred"},
            r"'blocks\.8\.hook_resid_pred', where .* mean 'resid_pre' or .*\?\)$",
        ),
        (
            {"hook_name": "blocks.8.hook_resid_pre", "hook_head_index": 3},
            r"'blocks\.8\.hook_resid_pre', head 3, where ",
        ),
    ],
)
def test_a_hook_that_we_lack_is_named_with_the_nearest(tmp_path, config, said):
    with pytest.raises(SuiteError, match=said) as caught:
        LOADER.recognise(write(tmp_path / "s", config), LoadOptions())
    assert "None" not in str(caught.value)


@pytest.mark.parametrize(("kind", "layer_norm"), [("layer_norm", True), ("constant_norm_rescale", False)])
def test_normalised_inputs(tmp_path, kind, layer_norm):
    source = write(tmp_path / "s", {"normalize_activations": kind})
    dictionary = only(source)
    assert isinstance(dictionary, PerInputNorm)
    assert dictionary.layer_norm == layer_norm
    assert LOADER.recognise(source, LoadOptions()).normalisation in ("layer norm", "each input to norm √d_in")


def test_fine_tuned_factors_scale_the_directions_and_not_the_features(tmp_path):
    factors = torch.arange(1.0, D_SAE + 1)
    plain = only(write(tmp_path / "plain"))
    tuned = only(write(tmp_path / "tuned", {"finetuning_scaling_factor": True}, {"scaling_factor": factors}))
    x = torch.randn(9, D_IN, generator=torch.Generator().manual_seed(3))
    assert torch.equal(plain.encode(x), tuned.encode(x))
    torch.testing.assert_close(tuned.decode(plain.encode(x)), plain.decode(plain.encode(x) * factors))
    ones = only(write(tmp_path / "ones", {}, {"scaling_factor": torch.ones(D_SAE)}))  # ones mean nothing
    assert torch.equal(ones.decode(plain.encode(x)), plain.decode(plain.encode(x)))


def test_what_a_user_should_know_is_noted(tmp_path):
    processing = {"center_writing_weights": False}
    config = {"prepend_bos": False, "metadata": {"model_from_pretrained_kwargs": processing}}
    found = LOADER.recognise(write(tmp_path / "s", {**config, "normalize_activations": True}), LoadOptions())
    assert len(found.notes) == 3
    assert "--set norm-factor" in found.notes[0]
    factor = LoadOptions(settings={"norm-factor": "0.5"})
    found = LOADER.recognise(write(tmp_path / "s", {"normalize_activations": True}), factor)
    assert (found.normalisation, found.notes) == ("inputs × 0.5", ())


@pytest.mark.parametrize("keys", [("W_E", "b_E", "W_D", "b_D"), ("encoder.weight", "decoder.weight", "encoder.bias")])
@pytest.mark.parametrize("with_config", [True, False])
def test_openmoss_is_told_apart_by_its_keys(tmp_path, keys, with_config):
    source = write(tmp_path / "s")
    save_file({key: torch.zeros(2, 2) for key in keys}, tmp_path / "s" / "sae_weights.safetensors")
    if not with_config:
        (tmp_path / "s" / "cfg.json").unlink()
    with pytest.raises(SuiteError, match="is of OpenMOSS's Language-Model-SAEs, which use SAELens's file name"):
        LOADER.recognise(source, LoadOptions())


def test_other_formats_are_left_alone(tmp_path):
    for name in ("ae.pt", "params.npz", "config.json"):
        (tmp_path / name).write_text("{}")
    assert LOADER.recognise(Source(tmp_path, "x"), LoadOptions()) is None
    save_file(tensors(), tmp_path / "sae_weights.safetensors")  # no cfg.json: the plain loader's
    assert LOADER.recognise(Source(tmp_path, "x"), LoadOptions()) is None
    with pytest.raises(SuiteError, match=r"has no cfg\.json with sae_weights\.safetensors beside it"):
        LOADER.load(Source(tmp_path, "x"), LoadOptions())


NAN = torch.full((D_SAE,), float("nan"))
BAD = {
    "near miss": ({"architecture": "jumprleu"}, {}, UnknownNameError, "did you mean 'jumprelu'"),
    "transcoder": ({"architecture": "skip_transcoder"}, {}, SuiteError, "reads at one hook and writes at another"),
    "old transcoder": ({"hook_name_out": "blocks.8.hook_mlp_out"}, {}, SuiteError, "SAELens transcoder, which"),
    "crosscoder": ({"architecture": "crosscoder"}, {}, SuiteError, "it reads several layers at once"),
    "missing": ({}, {"b_enc": None}, SuiteError, "lacks b_enc, which a standard SAE has; it holds W_dec"),
    "other kind": ({"architecture": "gated"}, {}, SuiteError, "lacks r_mag, b_gate, b_mag, which a gated SAE has"),
    "shape": ({}, {"W_enc": torch.zeros(D_SAE, D_IN)}, SuiteError, r"W_enc has the shape \[6, 4\], expected \[4, 6\]"),
    "flat": ({}, {"W_dec": torch.zeros(3)}, SuiteError, r"W_dec has the shape \[3\], expected \[d_sae, d_in\]"),
    "sizes": ({"d_in": 768}, {}, SuiteError, r"cfg.json has d_in = 768, but its tensors have 4"),
    "NaN": ({}, {"b_enc": NAN}, SuiteError, "b_enc has 6 NaN or Inf"),
    "no k": ({"activation_fn_str": "topk"}, {}, SuiteError, "cfg.json has k = None: put its number k there"),
    "activation": ({"activation_fn": "tanh-relu"}, {}, SuiteError, "activation_fn 'tanh-relu', expected 'relu'"),
    "norm": ({"normalize_activations": "layernorm"}, {}, UnknownNameError, "did you mean 'layer_norm'"),
    "reshape": ({"reshape_activations": "hook_q"}, {}, UnknownNameError, "did you mean 'hook_z'"),
    "hook": ({"hook_name": "blocks.3.mlp.hook_post"}, {}, SuiteError, "reads at 'blocks.3.mlp.hook_post'.*--hook"),
    "head": ({"hook_head_index": 3}, {}, SuiteError, "has no heads, but head 3 was given"),
    "whitening": ({"normalize_activations": "covariance_whitening"}, {}, SuiteError, "lacks activation_whitening"),
    "factors": ({}, {"scaling_factor": 2 * torch.ones(D_SAE)}, SuiteError, "finetuning_scaling_factor None, expected"),
    "few factors": (
        {"finetuning_scaling_factor": True},
        {"scaling_factor": 2 * torch.ones(3)},
        SuiteError,
        r"scaling factors of the shape \[3\]",
    ),
    "skip": ({"architecture": "jumprelu"}, {"W_skip": torch.zeros(2)}, SuiteError, "SAELens transcoder, which"),
    "a list": ({"architecture": ["topk"]}, {}, SuiteError, r"has architecture = \['topk'\], expected text"),
    "odd arguments": ({"activation_fn": "topk", "activation_fn_kwargs": [3]}, {}, SuiteError, "has k = None"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_with_the_fix(tmp_path, case):
    config, weights, error, message = BAD[case]
    source = write(tmp_path / "s", config, weights)
    with pytest.raises(error, match=message):
        LOADER.load(source, LoadOptions())


@pytest.mark.parametrize(
    ("kind", "factor", "message"),
    [
        ("expected_average_only_in", "two", "norm factor is 'two', expected a positive number"),
        ("expected_average_only_in", "-1", "expected a positive number"),
        ("expected_average_only_in", "nan", "expected a positive number"),
        ("none", "2", "folded in or never used: leave it out, or use --scale"),
    ],
)
def test_norm_factors_that_make_no_sense(tmp_path, kind, factor, message):
    source = write(tmp_path / "s", {"normalize_activations": kind})
    with pytest.raises(SuiteError, match=message):
        LOADER.recognise(source, LoadOptions(settings={"norm-factor": factor}))


@pytest.mark.parametrize("matrix", [None, torch.eye(3)])
def test_whitening_that_does_not_fit(tmp_path, matrix):
    source = write(tmp_path / "s", {"normalize_activations": "covariance_whitening"})
    held = {"mean": torch.zeros(D_IN), "inverse_matrix": torch.eye(D_IN), "matrix": matrix}
    held = {name: tensor for name, tensor in held.items() if tensor is not None}
    save_file(held, tmp_path / "s" / "activation_whitening.safetensors")
    with pytest.raises(SuiteError, match=r"has no matrix of the shape \[4, 4\]"):
        LOADER.load(source, LoadOptions())


@pytest.mark.parametrize("keep", [0, 7, 60, -5])
def test_truncated_weights(tmp_path, keep):
    source = write(tmp_path / "s")
    file = tmp_path / "s" / "sae_weights.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(SuiteError, match="truncated, corrupt or not safetensors"):
        LOADER.recognise(source, LoadOptions())


@pytest.mark.parametrize("text", ["", "[]", "{"])
def test_a_configuration_that_is_none(tmp_path, text):
    source = write(tmp_path / "s")
    (tmp_path / "s" / "cfg.json").write_text(text)
    with pytest.raises(InputError, match=r"'cfg\.json' in 'hf://org/repo@abc/s'"):
        LOADER.recognise(source, LoadOptions())


def test_a_pickle_under_the_name_of_the_weights_is_not_opened(tmp_path):
    source = write(tmp_path / "s")
    torch.save({"W_enc": torch.zeros(2)}, tmp_path / "s" / "sae_weights.safetensors")
    with pytest.raises(SuiteError, match="not safetensors"):
        LOADER.load(source, LoadOptions())
