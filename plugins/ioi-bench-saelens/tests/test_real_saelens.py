"""Written by SAELens itself, loaded by us: features and reconstructions are those of SAELens."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ioi_bench_saelens import load, recognise
from safetensors.torch import load_file, save_file

from ioi_bench.dictionaries.per_input import PerInputNorm
from ioi_bench.dictionaries.source import Source
from ioi_bench.dictionary import PerInputOffset, affine_decoder
from ioi_bench.errors import SuiteError
from ioi_bench.plugins.records import LoadOptions

D_IN, D_SAE, K = 12, 40, 5
HOOK = "blocks.8.hook_resid_pre"
KINDS = ("standard", "gated", "jumprelu", "topk", "topk-rescaled")
TRAINED = {"batchtopk": "BatchTopK", "matryoshka_batchtopk": "MatryoshkaBatchTopK", "topk": "TopK"}

pytestmark = [
    pytest.mark.filterwarnings("ignore:The 'utils' module has been deprecated:DeprecationWarning"),  # SAELens 6.54
]


@pytest.fixture(scope="session")
def lens():
    return pytest.importorskip("sae_lens")


def randomise(sae, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sae.named_parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
        if name == "threshold":
            parameter.data.abs_()
    return sae


def build(lens, kind, *, hook=HOOK, head=None, d_in=D_IN, **settings):
    name, _, rescaled = kind.partition("-")
    extra = {"k": K, "rescale_acts_by_decoder_norm": bool(rescaled)} if name == "topk" else {}
    sae_class, config_class = lens.registry.get_sae_class(name)
    metadata = lens.saes.sae.SAEMetadata(model_name="gpt2-small", hook_name=hook, hook_head_index=head)
    return randomise(sae_class(config_class(d_in=d_in, d_sae=D_SAE, metadata=metadata, **extra, **settings)))


def ours(folder, **settings):
    suite = load(Source(Path(folder), str(folder)), LoadOptions(settings=settings))
    assert len(suite.sites) == 5  # all roles
    return next(iter(suite.dictionaries.values()))


def inputs(d_in=D_IN):
    """Random, 10,000 times larger, one-hot, all negative, and zero at the end."""
    x = torch.randn(64, d_in, generator=torch.Generator().manual_seed(1))
    return torch.cat([x, 1e4 * x[:8], torch.eye(d_in), -x[:8].abs(), torch.zeros(1, d_in)])


def assert_close(got, expected):
    """To 1e-5 of the largest entry of the row, or of 1."""
    scale = expected.abs().amax(1, keepdim=True).clamp(min=1)
    assert float(((got - expected).abs() / scale).max()) <= 1e-5


def assert_same(dictionary, sae, x):
    """Features, which carry the input's deviation where it is normalised, and reconstructions."""
    with torch.no_grad():
        expected, rebuilt = sae.encode(x), sae(x)
    f, decoder = dictionary.encode(x), affine_decoder(dictionary)
    if isinstance(dictionary, PerInputOffset):
        sigma = x.std(1, keepdim=True) if dictionary.layer_norm else x.norm(dim=1, keepdim=True) / D_IN**0.5
        assert_close(f, expected * sigma)
        assert_close(f @ decoder.directions + dictionary.offset_for(x), rebuilt)
    else:
        assert_close(f, expected)
        assert_close(dictionary.decode(f), rebuilt)
    assert f.count_nonzero() > 0


@pytest.mark.parametrize("normalisation", ["none", "expected_average_only_in", "constant_norm_rescale", "layer_norm"])
@pytest.mark.parametrize("apply_b_dec", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_every_architecture_under_every_normalisation(lens, tmp_path, kind, apply_b_dec, normalisation):
    sae = build(lens, kind, apply_b_dec_to_input=apply_b_dec, normalize_activations=normalisation)
    sae.save_model(tmp_path)
    dictionary = ours(tmp_path)
    assert isinstance(dictionary, PerInputNorm) == (normalisation in ("constant_norm_rescale", "layer_norm"))
    x = inputs()
    assert_same(dictionary, sae, x[:-1] if normalisation == "constant_norm_rescale" else x)  # there SAELens gives NaN
    assert bool(dictionary.encode(x).isfinite().all())


@pytest.mark.parametrize("apply_b_dec", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_the_norm_factor_is_folded_as_saelens_folds_it(lens, tmp_path, kind, apply_b_dec):
    sae = build(lens, kind, apply_b_dec_to_input=apply_b_dec, normalize_activations="expected_average_only_in")
    sae.save_model(tmp_path)
    sae.fold_activation_norm_scaling_factor(0.37)
    assert_same(ours(tmp_path, **{"norm-factor": "0.37"}), sae, inputs())
    (tmp_path / "activation_scaler.json").write_text('{"scaling_factor": 0.37}')  # as in a checkpoint
    assert_same(ours(tmp_path), sae, inputs())


@pytest.mark.parametrize("apply_b_dec", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_whitening_is_folded_as_saelens_folds_it(lens, tmp_path, kind, apply_b_dec):
    from sae_lens.training.activation_scaler import ActivationScaler, ActivationWhitening

    sae = build(lens, kind, apply_b_dec_to_input=apply_b_dec, normalize_activations="covariance_whitening")
    sae.save_model(tmp_path)
    matrix = torch.eye(D_IN) + 0.1 * torch.randn(D_IN, D_IN, generator=torch.Generator().manual_seed(2))
    whitening = ActivationWhitening(torch.randn(D_IN), matrix, matrix.inverse())
    ActivationScaler(whitening=whitening).save(str(tmp_path / "activation_scaler.json"))
    sae.fold_activation_whitening(whitening.mean, whitening.matrix, whitening.inverse_matrix)
    assert_same(ours(tmp_path), sae, inputs())


@pytest.mark.parametrize("rescaled", [True, False])
@pytest.mark.parametrize("kind", TRAINED)
def test_trained_ones_as_saved_for_inference_and_within_training(lens, tmp_path, kind, rescaled):
    config = getattr(lens, f"{TRAINED[kind]}TrainingSAEConfig")
    widths = {"matryoshka_widths": [10, D_SAE]} if kind.startswith("matryoshka") else {}
    sae = getattr(lens, f"{TRAINED[kind]}TrainingSAE")(
        config(d_in=D_IN, d_sae=D_SAE, k=K, rescale_acts_by_decoder_norm=rescaled, **widths)
    )
    randomise(sae)
    if kind != "topk":
        sae.topk_threshold.fill_(0.8)
    sae.cfg.metadata.hook_name = HOOK
    sae.save_inference_model(tmp_path / "final")
    sae.save_model(tmp_path / "checkpoint")
    final = lens.SAE.load_from_disk(tmp_path / "final")
    assert final.cfg.architecture() == ("topk" if kind == "topk" else "jumprelu")
    for name in ("final", "checkpoint"):
        assert_same(ours(tmp_path / name), final, inputs())


def test_all_heads_of_hook_z(lens, tmp_path):
    hook = "blocks.9.attn.hook_z"
    sae = build(lens, "standard", hook=hook, reshape_activations="hook_z")
    sae.save_model(tmp_path)
    x, f = inputs(), ours(tmp_path).encode(inputs())
    with torch.no_grad():
        expected = sae.encode(x.reshape(-1, 3, 4))
        assert_close(f, expected)
        assert_close(ours(tmp_path).decode(f), sae.decode(expected).flatten(1))
    assert str(recognise(Source(tmp_path, "z"), LoadOptions()).hooks[0]) == hook


def test_one_head_of_hook_z(lens, tmp_path):
    sae = build(lens, "gated", hook="blocks.9.attn.hook_z", head=6)
    sae.save_model(tmp_path)
    found = recognise(Source(tmp_path, "z"), LoadOptions())
    assert [str(hook) for hook in found.hooks] == ["blocks.9.attn.hook_z[6]"]
    assert (found.architecture, found.model, found.d_in, found.d_sae) == ("gated", "gpt2", D_IN, D_SAE)


@pytest.mark.parametrize(
    ("changes", "architecture"),
    [
        ({}, "relu"),
        ({"normalize_activations": False, "apply_b_dec_to_input": False}, "relu"),
        ({"normalize_activations": True}, "relu"),
        ({"normalize_activations": "layer_norm", "architecture": "standard"}, "relu"),
        ({"activation_fn_str": "topk", "activation_fn_kwargs": {"k": 4}, "architecture": "standard"}, "topk"),
        ({"activation_fn": "relu", "activation_fn_kwargs": {}, "sae_lens_version": "5.10.0"}, "relu"),
    ],
)
def test_configurations_of_before_v6_mean_what_saelens_takes_them_for(lens, tmp_path, changes, architecture):
    build(lens, "standard").save_model(tmp_path)
    old = {"hook_point": HOOK, "hook_point_head_index": None, "model_name": "gpt2-small", "dtype": "torch.float32"}
    sizes = {"d_in": D_IN, "d_sae": D_SAE, "hook_point_layer": 8, "l1_coefficient": 8e-5}
    (tmp_path / "cfg.json").write_text(json.dumps({**old, **sizes, **changes}))
    save_file({"sparsity": torch.zeros(D_SAE)}, tmp_path / "sparsity.safetensors")
    found = recognise(Source(tmp_path, "old"), LoadOptions())
    assert (found.architecture, found.model, [str(hook) for hook in found.hooks]) == (architecture, "gpt2", [HOOK])
    assert_same(ours(tmp_path), lens.SAE.load_from_disk(tmp_path), inputs())


def test_a_logarithmic_threshold_is_read(lens, tmp_path):
    sae = build(lens, "jumprelu")
    sae.save_model(tmp_path)
    weights = load_file(tmp_path / "sae_weights.safetensors")
    weights["log_threshold"] = weights.pop("threshold").log()
    save_file(weights, tmp_path / "sae_weights.safetensors")
    assert_same(ours(tmp_path), sae, inputs())


@pytest.mark.parametrize("kind", ["transcoder", "skip_transcoder", "jumprelu_transcoder", "jumprelu_skip_transcoder"])
def test_transcoders_are_refused_with_the_reason(lens, tmp_path, kind):
    sae_class, config_class = lens.registry.get_sae_class(kind)
    sae_class(config_class(d_in=D_IN, d_sae=D_SAE, d_out=D_IN, apply_b_dec_to_input=False)).save_model(tmp_path)
    with pytest.raises(SuiteError, match=f"SAELens {kind}, which cannot be scored: it reads at one hook and writes"):
        recognise(Source(tmp_path, "t"), LoadOptions())


def test_the_library_is_not_needed():
    code = "import sys; sys.path[:] = {!r}; import ioi_bench_saelens; assert 'sae_lens' not in sys.modules"
    subprocess.run([sys.executable, "-c", code.format(sys.path)], check=True)
