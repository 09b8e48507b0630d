"""What the loaders' tests share: inputs that find mistakes, equality in the sense of the loaders, and a bad pickle."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor


@pytest.fixture(scope="session")
def hard_inputs() -> Callable[[int], Tensor]:
    """Random rows, large and small ones, zeros, constants, and negatives: ``[prompt, d_in]``."""

    def make(d_in: int) -> Tensor:
        x = torch.randn(64, d_in, generator=torch.Generator().manual_seed(7))
        special = torch.stack([torch.zeros(d_in), torch.ones(d_in), -torch.ones(d_in)])
        return torch.cat([x, 1e4 * x[:16], 1e-3 * x[:16], -x[:16].abs(), special])

    return make


@pytest.fixture(scope="session")
def assert_same() -> Callable[[Tensor, Tensor], None]:
    """Equal to 1e-5 of the largest value of the row, and active at the same places but for values of that size."""

    def check(got: Tensor, expected: Tensor) -> None:
        assert got.shape == expected.shape
        scale = expected.abs().amax(1, keepdim=True).clamp(min=1.0)
        assert float(((got - expected).abs() / scale).max()) <= 1e-5

    return check


class _Payload:
    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return os.mkdir, (self.witness,)


@pytest.fixture
def hostile_pickle(tmp_path: Path) -> Callable[[Path], Path]:
    """Write a pickle that makes a folder when it is run; the path of that folder."""

    def write(path: Path) -> Path:
        witness = tmp_path / "it-ran"
        path.write_bytes(pickle.dumps({"W_enc": _Payload(witness)}, protocol=2))
        return witness

    return write
