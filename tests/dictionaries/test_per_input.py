from __future__ import annotations

import pytest
import torch

from ioi_bench.dictionaries.architectures import Relu, TopK
from ioi_bench.dictionaries.per_input import PerInputNorm
from ioi_bench.dictionary import Dictionary, PerInputOffset, affine_decoder, encode_in_blocks

D_IN, D_SAE = 4, 6


def parameters(seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = {"W_enc": (D_IN, D_SAE), "b_enc": (D_SAE,), "W_dec": (D_SAE, D_IN), "b_dec": (D_IN,)}
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def rebuilt(dictionary, x):
    return encode_in_blocks(dictionary, x) @ affine_decoder(dictionary).directions + dictionary.offset_for(x)


def test_layer_norm_by_hand():
    """Mean 1, unbiased deviation 2: (x − 1)/2 through a ReLU, times 2."""
    eye = torch.eye(D_IN)
    sae = Relu(W_enc=eye, b_enc=torch.ones(D_IN), W_dec=eye, b_dec=torch.ones(D_IN))  # the biases cancel in encode
    dictionary = PerInputNorm(sae, layer_norm=True)
    x = torch.tensor([[1 + 6**0.5, 1 - 6**0.5, 1.0, 1.0]])  # squares add up to 12 = 3 · 2²
    torch.testing.assert_close(dictionary.encode(x), torch.tensor([[6**0.5, 0, 0, 0]]), atol=1e-4, rtol=0)
    torch.testing.assert_close(rebuilt(dictionary, x), torch.tensor([[3 + 6**0.5, 3, 3, 3]]), atol=1e-4, rtol=0)


def test_constant_norm_by_hand():
    """Norm 6 = 3 √4: x / 3, an identity SAE without biases, times 3."""
    eye, zero = torch.eye(D_IN), torch.zeros(D_IN)
    dictionary = PerInputNorm(Relu(W_enc=eye, b_enc=zero, W_dec=eye, b_dec=zero + 1), layer_norm=False)
    x = torch.tensor([[6.0, 0.0, 0.0, 0.0]])
    torch.testing.assert_close(dictionary.encode(x), torch.tensor([[3.0, 0.0, 0.0, 0.0]]))
    torch.testing.assert_close(rebuilt(dictionary, x), torch.tensor([[6.0, 3.0, 3.0, 3.0]]))


@pytest.mark.parametrize("layer_norm", [True, False])
def test_a_larger_input_is_rebuilt_as_much_larger(layer_norm):
    dictionary = PerInputNorm(TopK(**parameters(), k=2), layer_norm=layer_norm)
    assert isinstance(dictionary, Dictionary)
    assert isinstance(dictionary, PerInputOffset)
    x = torch.randn(32, D_IN, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(rebuilt(dictionary, 50 * x), 50 * rebuilt(dictionary, x), rtol=1e-3, atol=1e-3)
    assert (dictionary.encode(x) != 0).sum(1).max() <= 2


def test_layer_norm_carries_the_mean_over_dimensions_through():
    dictionary = PerInputNorm(Relu(**parameters()), layer_norm=True)
    x = torch.randn(32, D_IN, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(rebuilt(dictionary, x + 7), rebuilt(dictionary, x) + 7, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("layer_norm", [True, False])
def test_an_input_without_deviation_has_no_features(layer_norm):
    dictionary = PerInputNorm(Relu(**parameters()), layer_norm=layer_norm)
    flat = torch.full((1, D_IN), 3.0 if layer_norm else 0.0)
    assert dictionary.encode(flat).count_nonzero() == 0
    assert torch.equal(rebuilt(dictionary, flat), flat)
