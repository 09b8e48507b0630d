"""Plain safetensors files: every name, orientation and architecture, against the equations written out."""

from __future__ import annotations

import json

import pytest
import torch
from ioi_bench_plain import ioi_bench_loaders, load, recognise
from safetensors.torch import save_file

from ioi_bench.dictionaries.architectures import Gated, JumpRelu, Relu, TopK
from ioi_bench.dictionaries.source import Source
from ioi_bench.dictionaries.suite import Suite, save_suite
from ioi_bench.dictionary import affine_decoder
from ioi_bench.errors import SuiteError, UnknownNameError
from ioi_bench.plugins.records import LoadOptions
from ioi_bench.sites import HookPoint

D_IN, D_SAE, K = 24, 96, 8
HOOK = HookPoint.parse("resid_pre.8")


def options(**changes):
    return LoadOptions(**{"hook": HOOK, "model": "gpt2", **changes})


def parameters(*names, d_in=D_IN, d_sae=D_SAE):
    """Parameters in our orientation, by our names."""
    generator = torch.Generator().manual_seed(0)
    shapes = {"W_enc": (d_in, d_sae), "W_dec": (d_sae, d_in), "b_dec": (d_in,)}
    found = {
        name: torch.randn(shapes.get(name, (d_sae,)), generator=generator)
        for name in ("W_enc", "W_dec", "b_enc", "b_dec", "threshold", "r_mag", "b_gate", "b_mag")
    }
    found["threshold"] = found["threshold"].abs()
    return {name: found[name] for name in names or ("W_enc", "W_dec", "b_enc", "b_dec")}


def write(folder, tensors, name="sae.safetensors"):
    folder.mkdir(parents=True, exist_ok=True)
    save_file({key: tensor.contiguous().clone() for key, tensor in tensors.items()}, folder / name)
    return Source(folder / name, str(folder / name))


def dictionary_of(source, **changes):
    return next(iter(load(source, options(**changes)).dictionaries.values()))


def written_out(x, p, architecture="relu", *, subtracts=True):
    w = {name: value.double() for name, value in p.items()}
    u = (x.double() - w["b_dec"] if subtracts else x.double()) @ w["W_enc"]
    if architecture == "gated":
        f = (u + w["b_gate"] > 0) * (w["r_mag"].exp() * u + w["b_mag"]).clamp(min=0)
    else:
        f = (u + w["b_enc"]).clamp(min=0)
    if architecture == "jumprelu":
        f = f * (f > w["threshold"])
    if architecture == "topk":
        f = torch.stack([row * (row >= row.sort(descending=True).values[K - 1]) for row in f])
    return f.float(), (f @ w["W_dec"] + w["b_dec"]).float()


LAYOUTS = {
    "our names": (lambda p: p, True),
    "our names, transposed": (lambda p: {**p, "W_enc": p["W_enc"].T, "W_dec": p["W_dec"].T}, True),
    "encoder matrix alone transposed": (lambda p: {**p, "W_enc": p["W_enc"].T}, True),
    "two Linear layers": (
        lambda p: {
            "encoder.weight": p["W_enc"].T,
            "encoder.bias": p["b_enc"],
            "decoder.weight": p["W_dec"].T,
            "decoder.bias": p["b_dec"],
        },
        False,
    ),
    "Linear layers, own decoder bias": (
        lambda p: {
            "encoder.weight": p["W_enc"].T,
            "encoder.bias": p["b_enc"],
            "decoder.weight": p["W_dec"].T,
            "b_dec": p["b_dec"],
        },
        True,
    ),
    "pre_bias and latent_bias": (
        lambda p: {
            "encoder.weight": p["W_enc"].T,
            "latent_bias": p["b_enc"],
            "decoder.weight": p["W_dec"].T,
            "pre_bias": p["b_dec"],
        },
        True,
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_names_and_orientations(tmp_path, hard_inputs, assert_same, name):
    rename, subtracts = LAYOUTS[name]
    source, x = write(tmp_path, rename(parameters())), hard_inputs(D_IN)
    dictionary = dictionary_of(source)
    f, x_hat = written_out(x, parameters(), subtracts=subtracts)
    assert_same(dictionary.encode(x), f)
    assert_same(dictionary.decode(dictionary.encode(x)), x_hat)
    found = recognise(source, options())
    assert (found.architecture, found.d_in, found.d_sae, found.hooks) == ("relu", D_IN, D_SAE, (HOOK,))


@pytest.mark.parametrize("subtracts", [True, False])
@pytest.mark.parametrize(
    ("architecture", "cls", "names", "given"),
    [
        ("relu", Relu, ("b_enc",), {}),
        ("topk", TopK, ("b_enc",), {"arch": "topk"}),
        ("jumprelu", JumpRelu, ("b_enc", "threshold"), {}),
        ("gated", Gated, ("r_mag", "b_gate", "b_mag"), {}),
    ],
)
def test_architectures(tmp_path, hard_inputs, assert_same, architecture, cls, names, given, subtracts):
    p, x = parameters("W_enc", "W_dec", "b_dec", *names), hard_inputs(D_IN)
    settings = {"k": str(K), "subtract-b-dec": "yes" if subtracts else "no"}
    dictionary = dictionary_of(write(tmp_path, p), settings=settings, **given)
    f, x_hat = written_out(x, p, architecture, subtracts=subtracts)
    assert type(dictionary) is cls
    assert_same(dictionary.encode(x), f)
    assert_same(dictionary.decode(dictionary.encode(x)), x_hat)
    affine_decoder(dictionary)


@pytest.mark.parametrize("linear", [True, False])
def test_square_matrices_go_by_name(tmp_path, assert_same, linear):
    p = parameters(d_in=16, d_sae=16)
    stored = LAYOUTS["Linear layers, own decoder bias"][0](p) if linear else p
    source, x = write(tmp_path, stored), torch.randn(10, 16, generator=torch.Generator().manual_seed(1))
    assert_same(dictionary_of(source).encode(x), written_out(x, p)[0])
    assert "told by its key names" in recognise(source, options()).notes[0]


def test_what_was_decided_is_said_aloud(tmp_path):
    found = recognise(write(tmp_path, LAYOUTS["two Linear layers"][0](parameters())), options())
    text = " ".join(found.notes)
    for said in (
        "encoder.weight as W_enc (transposed)",
        "--arch overrules",
        "does not subtract",
        "lengths of its biases",
    ):
        assert said in text
    text = " ".join(recognise(write(tmp_path, parameters("W_enc", "W_dec")), options(arch="relu")).notes)
    assert "as given" in text
    assert "No b_enc and no b_dec: read as 0." in text


def test_missing_biases_are_zero(tmp_path, hard_inputs, assert_same):
    p, x = parameters("W_enc", "W_dec"), hard_inputs(D_IN)
    full = {**p, "b_enc": torch.zeros(D_SAE), "b_dec": torch.zeros(D_IN)}
    assert_same(dictionary_of(write(tmp_path, p)).encode(x), written_out(x, full)[0])


def test_k_in_the_file_says_topk(tmp_path):
    source = write(tmp_path, {**parameters(), "k": torch.tensor(K)})
    assert recognise(source, options()).architecture == "topk"
    assert dictionary_of(source).k == K
    assert dictionary_of(source, settings={"k": "5"}).k == 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hook": None}, "add --hook"),
        ({"model": None}, "add --model"),
        ({"arch": "topk"}, "add --set k=32"),
        ({"arch": "topk", "settings": {"k": "many"}}, "whole number"),
        ({"arch": "topk", "settings": {"k": "97"}}, "k is 97"),
        ({"arch": "gated"}, "lacks the tensors r_mag, b_gate, b_mag"),
        ({"settings": {"subtract-b-dec": "perhaps"}}, "write yes or no"),
    ],
)
def test_what_the_user_must_say(tmp_path, changes, message):
    with pytest.raises(SuiteError, match=message):
        load(write(tmp_path, parameters()), options(**changes))


def test_unknown_architecture(tmp_path):
    with pytest.raises(UnknownNameError, match="did you mean 'topk'"):
        load(write(tmp_path, parameters()), options(arch="topkk"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"W_enc": None}, r"none of the keys of W_enc: W_enc, encoder\.weight"),
        ({"W_dec": torch.zeros(D_SAE)}, "expected two matrices"),
        ({"W_enc": torch.zeros(D_IN + 1, D_SAE)}, "W_enc has the shape"),
        ({"b_dec": torch.zeros(D_IN + 1)}, "b_dec has the shape"),
        ({"b_enc": torch.full((D_SAE,), float("nan"))}, "NaN"),
        ({"b_enc": torch.zeros(D_SAE, dtype=torch.long)}, "expected floating point"),
    ],
)
def test_damaged(tmp_path, changes, message):
    tensors = {name: value for name, value in {**parameters(), **changes}.items() if value is not None}
    with pytest.raises(SuiteError, match=message):
        load(write(tmp_path, tensors), options())


def test_truncated(tmp_path):
    source = write(tmp_path, parameters())
    source.path.write_bytes(source.path.read_bytes()[:-50])
    assert recognise(source, options()) is None
    with pytest.raises(SuiteError, match="truncated"):
        load(source, options())


def test_a_folder_with_one_file_will_do(tmp_path):
    write(tmp_path / "one", parameters())
    source = Source(tmp_path / "one", "one")
    assert recognise(source, options()) is not None
    assert load(source, options()).name == "one"
    write(tmp_path / "one", parameters(), "other.safetensors")
    assert recognise(source, options()) is None
    with pytest.raises(SuiteError, match="give one file"):
        load(source, options())


def test_what_others_own_is_left_alone(tmp_path):
    write(tmp_path / "saelens", parameters(), "sae_weights.safetensors")
    (tmp_path / "saelens" / "cfg.json").write_text(json.dumps({"architecture": "standard"}))
    relu = Relu(**parameters())
    save_suite(Suite.at_hook("mine", "gpt2", HOOK, relu), tmp_path / "native")
    save_suite(Suite.at_hook("mine", "gpt2", HOOK, relu), tmp_path / "native.safetensors")
    write(tmp_path / "words", {"embedding": torch.zeros(3, 2)})
    for path in ("saelens", "saelens/sae_weights.safetensors", "native", "native.safetensors", "words"):
        assert recognise(Source(tmp_path / path, path), options()) is None, path


def test_openmoss_is_refused_by_name(tmp_path):
    """By its keys (``W_E``, ``W_D``), or by Linear layers with its hyperparameters beside or above the weights."""
    linear = LAYOUTS["two Linear layers"][0](parameters())
    write(tmp_path / "scope" / "checkpoints", linear, "final.safetensors")
    (tmp_path / "scope" / "hyperparams.json").write_text("{}")
    p = parameters()
    write(tmp_path / "new", {"W_E": p["W_enc"], "W_D": p["W_dec"], "b_E": p["b_enc"]}, "sae_weights.safetensors")
    for path in ("scope", "scope/checkpoints/final.safetensors", "new"):
        for call in (recognise, load):
            with pytest.raises(SuiteError, match=r"OpenMOSS.*sae_lens"):
                call(Source(tmp_path / path, path), options())
    assert recognise(write(tmp_path / "plain", linear), options()) is not None


def test_registered():
    (loader,) = ioi_bench_loaders()
    assert (loader.name, set(loader.keys)) == ("plain", {"k", "subtract-b-dec"})
