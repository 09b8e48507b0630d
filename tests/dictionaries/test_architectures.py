from __future__ import annotations

import pytest
import torch

from ioi_bench.dictionaries.architectures import ARCHITECTURES, Gated, JumpRelu, Relu, Skyline, TopK, architecture
from ioi_bench.dictionaries.architectures.topk import keep_top_k
from ioi_bench.dictionary import Dictionary, affine_decoder
from ioi_bench.errors import DictionaryError, UnknownNameError

D_IN, D_SAE = 5, 12
EXTRA = {"topk": {"k": 3}, "skyline": {"block_sizes": (9, 3)}}


def build(name, *, seed=0, dtype=torch.float32, **changes):
    generator = torch.Generator().manual_seed(seed)
    cls = ARCHITECTURES[name]
    tensors = {n: torch.randn(s, generator=generator).to(dtype) for n, s in cls.shapes(D_IN, D_SAE).items()}
    if "threshold" in tensors:
        tensors["threshold"] = tensors["threshold"].abs()
    return cls(**{**tensors, "scale": 1.7, **EXTRA.get(name, {}), **changes})


def inputs(n=64, seed=1):
    return torch.randn(n, D_IN, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_keeps_the_contract(name):
    dictionary, x = build(name), inputs()
    assert isinstance(dictionary, Dictionary)
    f = dictionary.encode(x)
    assert f.shape == (64, D_SAE)
    decoder = affine_decoder(dictionary)  # checks that decode is affine with the declared directions and offset
    torch.testing.assert_close(dictionary.decode(f), decoder(f), rtol=1e-5, atol=1e-5)
    blocks = torch.cat([dictionary.encode(part) for part in x.split(7)])
    torch.testing.assert_close(blocks, f, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_scale_is_applied_inside(name):
    """Inputs c times larger under a scale c times smaller: same features, reconstructions c times larger."""
    x, c = inputs(), 4.0
    one, other = build(name), build(name, scale=1.7 / c)
    torch.testing.assert_close(other.encode(c * x), one.encode(x))
    torch.testing.assert_close(other.decode(other.encode(c * x)), c * one.decode(one.encode(x)))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_half_precision_is_kept_and_computed_in_single(name):
    half = build(name, dtype=torch.float16)
    single = type(half)(**{**{n: t.float() for n, t in half.tensors.items()}, "scale": 1.7, **EXTRA.get(name, {})})
    assert all(t.dtype == torch.float16 for t in half.tensors.values())
    assert torch.equal(half.encode(inputs()), single.encode(inputs()))
    assert half.decode(half.encode(inputs())).dtype == torch.float32


def test_relu_by_hand():
    eye = torch.eye(2)
    sae = Relu(W_enc=eye, b_enc=torch.tensor([0.0, -1.0]), W_dec=eye, b_dec=torch.tensor([1.0, 0.0]), scale=2.0)
    assert sae.encode(torch.tensor([[1.0, 1.0], [0.0, 0.25]])).tolist() == [[1.0, 1.0], [0.0, 0.0]]
    assert sae.decode(torch.tensor([[1.0, 1.0]])).tolist() == [[1.0, 0.5]]


def test_gated_shuts_the_gate_and_scales_the_magnitude_apart():
    eye, zero = torch.eye(2), torch.zeros(2)
    r_mag, b_gate = torch.tensor([2.0, 1.0]).log(), torch.tensor([0.0, -2.0])
    sae = Gated(W_enc=eye, r_mag=r_mag, b_gate=b_gate, b_mag=zero, W_dec=eye, b_dec=zero)
    assert sae.encode(torch.tensor([[1.0, 1.0], [-1.0, 3.0]])).tolist() == [[2.0, 0.0], [0.0, 3.0]]


def test_jumprelu_by_hand():
    eye, zero = torch.eye(2), torch.zeros(2)
    sae = JumpRelu(W_enc=eye, b_enc=torch.tensor([0.0, 1.0]), threshold=torch.tensor([1.0, 0.5]), W_dec=eye, b_dec=zero)
    x = torch.tensor([[1.0, 0.0], [1.5, -0.5], [-3.0, -3.0]])  # at the threshold is not above it
    assert sae.encode(x).tolist() == [[0.0, 1.0], [1.5, 0.0], [0.0, 0.0]]


def test_jumprelu_without_thresholds_is_relu():
    jump = build("jumprelu", threshold=torch.zeros(D_SAE))
    parameters = {name: getattr(jump, name) for name in Relu.axes}
    assert torch.equal(jump.encode(inputs()), Relu(**parameters, scale=1.7).encode(inputs()))


def test_topk_keeps_at_most_k_and_breaks_ties_downwards():
    generator = torch.Generator().manual_seed(0)
    values = torch.randint(0, 4, (500, 16), generator=generator).float()  # full of ties
    for k in (1, 3, 15, 16, 40):
        order = values.sort(dim=1, descending=True, stable=True).indices[:, :k]
        expected = torch.zeros_like(values).scatter(1, order, values.gather(1, order))
        assert torch.equal(keep_top_k(values, k), expected)


def test_topk_features_are_the_largest_of_relu():
    sae, plain = build("topk"), build("topk", k=D_SAE)
    f, full = sae.encode(inputs()), plain.encode(inputs())
    assert ((f > 0).sum(1) <= 3).all()
    assert (f >= 0).all()
    torch.testing.assert_close(f.sum(1), full.sort(dim=1, descending=True).values[:, :3].sum(1))


def test_skyline_has_one_active_feature_a_block():
    f = build("skyline").encode(inputs())
    assert (f[:, :9].sum(1) == 1).all()
    assert (f[:, 9:].sum(1) == 1).all()
    tied = Skyline(
        W_enc=torch.zeros(2, 4), b_enc=torch.tensor([0.0, 1, 1, 0]), W_dec=torch.ones(4, 2), b_dec=torch.zeros(2),
        block_sizes=(3, 1),
    )  # fmt: skip
    assert tied.encode(torch.zeros(1, 2)).tolist() == [[0.0, 1.0, 0.0, 1.0]]


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        (
            "relu",
            {"W_enc": torch.zeros(D_SAE, D_IN)},
            r"W_enc has the shape \[12, 5\], expected \[d_in, d_sae\] = \[5, 12\]",
        ),
        ("relu", {"W_dec": torch.zeros(3)}, r"W_dec has the shape \[3\]"),
        ("gated", {"r_mag": torch.full((D_SAE,), float("nan"))}, "r_mag has 12 NaN or Inf"),
        ("relu", {"b_dec": torch.zeros(D_IN, dtype=torch.int64)}, "b_dec is torch.int64, expected floating point"),
        ("relu", {"scale": 0.0}, "scale is 0.0, expected a positive number"),
        ("jumprelu", {"threshold": torch.full((D_SAE,), -1.0)}, "12 thresholds are negative, expected 0 or more"),
        ("topk", {"k": 0}, "k is 0, expected 1 to d_sae = 12"),
        ("topk", {"k": 13}, "k is 13"),
        ("skyline", {"block_sizes": (5, 5)}, "expected positive sizes that add up to d_sae = 12"),
        ("skyline", {"block_sizes": (13, -1)}, "expected positive sizes"),
    ],
)
def test_what_does_not_fit_is_refused(name, changes, message):
    with pytest.raises(DictionaryError, match=message):
        build(name, **changes)


def test_unknown_architecture_names_the_near_miss():
    assert architecture("topk") is TopK
    with pytest.raises(UnknownNameError, match="did you mean 'gated'"):
        architecture("gatde")
