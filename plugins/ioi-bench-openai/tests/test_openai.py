"""OpenAI's state dicts: files of the published layout, against the published equations written out."""

from __future__ import annotations

import pytest
import torch
from ioi_bench_openai import ioi_bench_loaders, load, path_hook, recognise

from ioi_bench.dictionaries.architectures import Relu
from ioi_bench.dictionaries.source import Source
from ioi_bench.dictionary import PerInputOffset, affine_decoder
from ioi_bench.errors import SuiteError
from ioi_bench.plugins.records import LoadOptions
from ioi_bench.sites import HookPoint

D_IN, D_SAE, K = 24, 96, 8
HOOK = LoadOptions(hook=HookPoint.parse("resid_post.8"))


def state(kind="TopK", after="ReLU", **changes):
    """A state dict as their ``Autoencoder.state_dict`` writes it: buffers, and strays beside the tensors."""
    generator = torch.Generator().manual_seed(0)
    matrices = {"encoder.weight": (D_SAE, D_IN), "decoder.weight": (D_IN, D_SAE)}
    shapes = {"pre_bias": (D_IN,), "latent_bias": (D_SAE,), **matrices}
    found = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    found |= {
        "stats_last_nonzero": torch.zeros(D_SAE, dtype=torch.long),
        "latents_activation_frequency": torch.ones(D_SAE),
        "latents_mean_square": torch.zeros(D_SAE),
        "activation": kind,
        "activation_state_dict": {"k": K, "postact_fn": after} if kind == "TopK" else {},
    }
    found.update(changes)
    return {name: value for name, value in found.items() if value is not None}


def write(folder, found, name="8.pt"):
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(found, folder / name)
    return Source(folder / name, str(folder / name))


def dictionary_of(source, options=HOOK):
    return next(iter(load(source, options).dictionaries.values()))


def published(x, found):
    """``Autoencoder.forward`` in double precision: latents, reconstructions, and the deviation of the input."""
    weights = {name: value.double() for name, value in found.items() if isinstance(value, torch.Tensor)}
    x = x.double()
    mu = std = None
    if found.get("activation") == "TopK":
        mu = x.sum(1, keepdim=True) / D_IN
        std = ((x - mu).pow(2).sum(1, keepdim=True) / (D_IN - 1)).sqrt()
        x = (x - mu) / (std + 1e-5)
    u = (x - weights["pre_bias"]) @ weights["encoder.weight"].T + weights["latent_bias"]
    if found.get("activation") == "TopK":
        latents = torch.zeros_like(u)
        for row, order in enumerate(u.argsort(dim=1, descending=True)[:, :K]):
            latents[row, order] = u[row, order]
        if found["activation_state_dict"]["postact_fn"] == "ReLU":
            latents = latents.clamp(min=0)
    else:
        latents = u.clamp(min=0)
    x_hat = latents @ weights["decoder.weight"].T + weights["pre_bias"]
    return (latents, x_hat, None) if std is None else (latents, x_hat * std + mu, std)


@pytest.mark.parametrize("after", ["ReLU", "Identity"])
def test_topk_folds_the_layer_norm_into_features_and_offset(tmp_path, hard_inputs, assert_same, after):
    found, x = state(after=after), hard_inputs(D_IN)
    dictionary = dictionary_of(write(tmp_path, found))
    latents, x_hat, std = published(x, found)
    f = dictionary.encode(x)
    assert isinstance(dictionary, PerInputOffset)
    assert_same(f, (latents * std).float())
    assert_same(f @ affine_decoder(dictionary).directions + dictionary.offset_for(x), x_hat.float())
    assert bool((f < 0).any()) == (after == "Identity" and bool((latents < 0).any()))


def test_identity_keeps_negative_values(tmp_path):
    x, low = torch.randn(5, D_IN, generator=torch.Generator().manual_seed(1)), torch.full((D_SAE,), -100.0)
    signed = dictionary_of(write(tmp_path, state(after="Identity", latent_bias=low)))
    assert ((signed.encode(x) < 0).sum(1) == K).all()
    assert (dictionary_of(write(tmp_path, state(latent_bias=low))).encode(x) == 0).all()


def test_the_deviation_is_unbiased(tmp_path):
    """By hand: x = (0, 2) has μ = 1 and σ = √2 (not 1), so x' = (−1, 1)/√2 and f = σ · 1/√2 = 1."""
    eye, zero = torch.eye(2), torch.zeros(2)
    found = {"encoder.weight": eye, "decoder.weight": eye.clone(), "pre_bias": zero, "latent_bias": zero.clone()}
    sae = dictionary_of(write(tmp_path, {**state(), **found, "activation_state_dict": {"k": 1, "postact_fn": "ReLU"}}))
    torch.testing.assert_close(sae.encode(torch.tensor([[0.0, 2.0]])), torch.tensor([[0.0, 1.0]]), rtol=1e-4, atol=1e-4)
    assert sae.offset_for(torch.tensor([[0.0, 2.0]])).tolist() == [[1.0, 1.0]]


def test_constant_inputs_have_no_features(tmp_path):
    dictionary, x = dictionary_of(write(tmp_path, state())), torch.tensor([[0.0], [3.0]]).expand(2, D_IN)
    assert (dictionary.encode(x) == 0).all()
    assert torch.equal(dictionary.offset_for(x), x)


def test_centring_makes_no_difference_to_topk(tmp_path, assert_same):
    dictionary = dictionary_of(write(tmp_path, state()))
    x = torch.randn(20, D_IN, generator=torch.Generator().manual_seed(3)) + 2
    assert_same(dictionary.encode(x - x.mean(1, keepdim=True)), dictionary.encode(x))


@pytest.mark.parametrize("strays", [{}, {"activation": None, "activation_state_dict": None}])
def test_relu_releases(tmp_path, hard_inputs, assert_same, strays):
    found, x = state("ReLU", **strays), hard_inputs(D_IN)
    source = write(tmp_path, found)
    dictionary = dictionary_of(source)
    latents, x_hat, _ = published(x, found)
    assert isinstance(dictionary, Relu)
    assert_same(dictionary.encode(x), latents.float())
    assert_same(dictionary.decode(dictionary.encode(x)), x_hat.float())
    assert recognise(source, HOOK).normalisation == "none"
    assert "center_writing_weights" in recognise(source, HOOK).notes[0]


@pytest.mark.parametrize(
    ("folder", "hook"),
    [
        ("resid_post_mlp_v5_32k/autoencoders", "resid_post.8"),
        ("resid_post_attn_v5_128k/autoencoders", "resid_mid.8"),
        ("resid_delta_mlp_v4/autoencoders", "mlp_out.8"),
        ("resid_delta_attn_v5_32k/autoencoders", "attn_out.8"),
    ],
)
def test_paths_of_the_release(tmp_path, folder, hook):
    source = write(tmp_path / folder, state())
    found = recognise(source, LoadOptions())
    assert found.hooks == (HookPoint.parse(hook),) == load(source, LoadOptions()).hooks
    assert (found.architecture, found.d_in, found.d_sae, found.model) == ("topk", D_IN, D_SAE, "gpt2")
    assert "unbiased" in found.normalisation
    assert path_hook(Source((tmp_path / folder), folder)) == HookPoint.parse(hook)


def test_without_a_telling_path_the_hook_is_asked_for(tmp_path):
    source = write(tmp_path, state(), "mine.pt")
    assert recognise(source, LoadOptions()).hooks == ()
    with pytest.raises(SuiteError, match="add --hook"):
        load(source, LoadOptions())
    suite = load(source, HOOK)
    assert suite.hooks == (HOOK.hook,)
    assert len(suite.dictionaries) == 5
    assert suite.name == "mine"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decoder.weight": None}, "lacks the tensors decoder.weight"),
        ({"encoder.weight": torch.zeros(D_SAE, D_IN + 1)}, "W_enc has the shape"),
        ({"pre_bias": torch.full((D_IN,), float("nan"))}, "NaN"),
        ({"activation": "Softmax"}, "expected ReLU or TopK"),
        ({"activation_state_dict": {"postact_fn": "ReLU"}}, "no whole number k"),
        ({"activation_state_dict": {"k": 0, "postact_fn": "ReLU"}}, "k is 0"),
        ({"activation_state_dict": {"k": 3, "postact_fn": "Tanh"}}, "'Tanh'"),
    ],
)
def test_damaged(tmp_path, changes, message):
    with pytest.raises(SuiteError, match=message):
        load(write(tmp_path, state(**changes)), HOOK)


def test_k_may_be_a_tensor(tmp_path):
    found = state(activation_state_dict={"k": torch.tensor(5), "postact_fn": "ReLU"})
    assert dictionary_of(write(tmp_path, found)).sae.k == 5


def test_truncated(tmp_path):
    source = write(tmp_path, state())
    source.path.write_bytes(source.path.read_bytes()[:-200])
    assert recognise(source, HOOK) is None
    with pytest.raises(SuiteError, match="damaged"):
        load(source, HOOK)


def test_a_pickle_that_wants_code_is_refused_and_named(tmp_path, hostile_pickle):
    witness = hostile_pickle(tmp_path / "8.pt")
    source = Source(tmp_path / "8.pt", "8.pt")
    assert recognise(source, HOOK) is None
    with pytest.raises(SuiteError, match=r"'8.pt' in '8.pt' is a pickle that wants to run code .*mkdir"):
        load(source, HOOK)
    assert not witness.exists()


def test_other_state_dicts_are_left_alone(tmp_path):
    others = {"W_enc": torch.zeros(2, 3), "W_dec": torch.zeros(3, 2), "b_enc": torch.zeros(3), "b_dec": torch.zeros(2)}
    for found in (others, [1, 2], "text"):
        source = write(tmp_path, found)
        assert recognise(source, LoadOptions()) is None
        with pytest.raises(SuiteError, match=r"expected tensors|lacks the tensors"):
            load(source, HOOK)


def test_registered():
    (loader,) = ioi_bench_loaders()
    assert (loader.name, loader.recognise) == ("openai", recognise)
