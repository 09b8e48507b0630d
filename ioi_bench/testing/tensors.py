"""Comparisons that several kinds of plugin share; each raises a `Finding` in plain words."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ioi_bench.testing.results import Finding
from ioi_bench.testing.state import GlobalState

__all__ = [
    "TOLERANCE",
    "require_close",
    "require_equal",
    "require_finite",
    "require_shape",
    "require_state_kept",
    "require_unchanged",
]

TOLERANCE = 1e-5
"""Relative to the largest value of the row: float32 sums taken in another order differ by less."""

_FLIPS = 1e-5
"""The share of elements that may be 0 in one and not in the other: of many features, some lie on their threshold."""


def require_shape(what: str, value: Any, shape: tuple[int, ...], axes: str) -> None:
    """The value is a tensor of this shape."""
    if not isinstance(value, Tensor):
        raise Finding(f"{what} is a {type(value).__name__}", f"return a torch tensor of shape {axes}")
    if tuple(value.shape) != shape:
        raise Finding(f"{what} has the shape {list(value.shape)}", f"return {axes} = {list(shape)}")


def require_equal(what: str, first: Tensor, second: Tensor, advice: str) -> None:
    """The same bits, NaN included."""
    if first.shape != second.shape or not torch.equal(first.nan_to_num(), second.nan_to_num()):
        raise Finding(f"{what} that differ{_by(first, second)}", advice)
    if not torch.equal(first.isnan(), second.isnan()):
        raise Finding(f"{what} with NaN in different places", advice)


def require_close(what: str, first: Tensor, second: Tensor, advice: str, *, tolerance: float = TOLERANCE) -> None:
    """Equal up to rounding, row by row; NaN equals NaN.

    Args:
        what: for the message.
        first, second: any shape; rows run along the last axis.
        advice: for the message.
        tolerance: relative to the row's largest value.
    """
    if first.shape != second.shape:
        raise Finding(f"{what} of the shapes {list(first.shape)} and {list(second.shape)}", advice)
    if not first.numel():
        return
    if not torch.equal(first.isnan(), second.isnan()):
        raise Finding(f"{what} with NaN in different places", advice)
    one, two = first.double().nan_to_num(), second.double().nan_to_num()
    scale = torch.maximum(one.abs(), two.abs()).amax(-1, keepdim=True).clamp(min=1e-30)
    off = ~((one - two).abs() <= tolerance * scale)
    flipped = off & ((one == 0) != (two == 0))
    if bool((off & ~flipped).any()) or int(flipped.sum()) > int(_FLIPS * one.numel()):
        worst = float(((one - two).abs() / scale).max())
        raise Finding(f"{what} that differ by {worst:.2g} of the largest value (at most {tolerance:g})", advice)


def require_finite(what: str, value: Tensor, advice: str) -> None:
    """No NaN, no Inf."""
    bad = int((~value.isfinite()).sum())
    if bad:
        raise Finding(f"{bad} NaN or Inf in {what}", advice)


def require_unchanged(given: Mapping[str, Tensor], call: Callable[[], object]) -> None:
    """The call leaves these tensors as they are."""
    before = {name: tensor.clone() for name, tensor in given.items()}
    call()
    for name, tensor in given.items():
        if tensor.shape != before[name].shape or not torch.equal(tensor.nan_to_num(), before[name].nan_to_num()):
            raise Finding(
                f"that {name} was modified in place", "work on a copy: no `+=`, no method that ends in `_`, on an input"
            )


def require_state_kept(what: str, call: Callable[[], object]) -> None:
    """The call leaves the process's settings and random generators as they are, with and without gradients."""
    threads = torch.get_num_threads()
    for seed, grad in ((20_405, False), (8_366, True)):
        # states that a plugin is unlikely to set, so that setting them shows
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002 (the global generator is what a plugin could disturb)
        random.seed(seed)
        torch.set_num_threads(threads + 1)
        torch.set_grad_enabled(grad)
        before = GlobalState.now()
        call()
        differences = before.differences(GlobalState.now())
        if differences:
            raise Finding(
                f"that {what} left the process changed: {'; '.join(differences)}",
                "use `with torch.no_grad():` in place of set_grad_enabled, a torch.Generator of your own in place of "
                "the global one, and leave the settings to the caller",
            )


def _by(first: Tensor, second: Tensor) -> str:
    if first.shape != second.shape:
        return f" in shape: {list(first.shape)} and {list(second.shape)}"
    return f" by up to {float((first.double() - second.double()).abs().nan_to_num().max()):.3g}"
