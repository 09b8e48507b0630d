from __future__ import annotations

import torch

from ioi_bench.dictionaries.signed import SignedTopK
from ioi_bench.dictionary import affine_decoder


def test_by_hand():
    """The two largest of −1, 3 and −2 are 3 and −1; a ReLU would have left 3 alone."""
    eye, zero = torch.eye(3), torch.zeros(3)
    sae = SignedTopK(W_enc=eye, b_enc=torch.tensor([1.0, 0.0, 0.0]), W_dec=eye, b_dec=zero, k=2, scale=2.0)
    assert sae.encode(torch.tensor([[-1.0, 1.5, -1.0]])).tolist() == [[-1.0, 3.0, 0.0]]


def test_exactly_k_are_active_whatever_the_input():
    generator = torch.Generator().manual_seed(0)
    shapes = {"W_enc": (5, 12), "b_enc": (12,), "W_dec": (12, 5), "b_dec": (5,)}
    sae = SignedTopK(**{name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}, k=4)
    x = torch.cat([torch.randn(50, 5, generator=generator), torch.zeros(1, 5), torch.full((1, 5), -1e4)])
    assert ((sae.encode(x) != 0).sum(1) == 4).all()
    affine_decoder(sae)
