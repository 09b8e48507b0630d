"""The process's own state, which a plugin must leave as it finds it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["GlobalState", "preserved_state"]


@dataclass(frozen=True, eq=False)
class GlobalState:
    """Settings and random generators of this process, as they were at one moment."""

    grad_mode: bool
    default_dtype: torch.dtype
    default_device: torch.device
    threads: int
    deterministic: bool
    torch_random: Tensor
    numpy_random: Any
    python_random: Any

    @classmethod
    def now(cls) -> GlobalState:
        """The state at this moment."""
        return cls(
            torch.is_grad_enabled(),
            torch.get_default_dtype(),
            torch.get_default_device(),
            torch.get_num_threads(),
            torch.are_deterministic_algorithms_enabled(),
            torch.get_rng_state(),
            np.random.get_state(),  # noqa: NPY002 (the global generator is what a plugin could disturb)
            random.getstate(),
        )

    def differences(self, other: GlobalState) -> tuple[str, ...]:
        """What is not the same in the other, in words."""
        said = []
        for name in ("grad_mode", "default_dtype", "default_device", "threads", "deterministic"):
            before, after = getattr(self, name), getattr(other, name)
            if before != after:
                said.append(f"{name.replace('_', ' ')} went from {before} to {after}")
        same = {
            "torch": torch.equal(self.torch_random, other.torch_random),
            "numpy": repr(self.numpy_random) == repr(other.numpy_random)
            and np.array_equal(self.numpy_random[1], other.numpy_random[1]),
            "Python": self.python_random == other.python_random,
        }
        said += [f"{library}'s global random generator moved" for library, equal in same.items() if not equal]
        return tuple(said)

    def restore(self) -> None:
        """Put everything back that differs now."""
        now = GlobalState.now()
        torch.set_grad_enabled(self.grad_mode)
        torch.set_default_dtype(self.default_dtype)
        if now.default_device != self.default_device:
            torch.set_default_device(self.default_device)
        if now.threads != self.threads:
            torch.set_num_threads(self.threads)
        if now.deterministic != self.deterministic:
            torch.use_deterministic_algorithms(self.deterministic)
        torch.set_rng_state(self.torch_random)
        np.random.set_state(self.numpy_random)  # noqa: NPY002
        random.setstate(self.python_random)


@contextmanager
def preserved_state() -> Iterator[None]:
    """Whatever happens inside, the state afterwards is that of before."""
    before = GlobalState.now()
    try:
        yield
    finally:
        before.restore()
