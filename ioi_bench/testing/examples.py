"""A dictionary with the inputs and codes on which it is checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ioi_bench.errors import InputError

__all__ = ["BATCH", "DictionaryExample"]

BATCH = 64


@dataclass(frozen=True, eq=False)
class DictionaryExample:
    """A dictionary and the inputs on which it is checked.

    Attributes:
        dictionary: the one to be checked.
        inputs: activations that it was made for, ``[prompt, d_in]``; without them, random ones of norms from 0.1 √d_in
            to 100 √d_in are taken.
        reconstruct: the library's own reconstruction of inputs, as an oracle that does not come from this package.
        seed: of what is drawn.
        name: for messages; by default the class's name.

    Raises:
        InputError: inputs of another shape than ``[prompt, d_in]``, or none at all.
    """

    dictionary: Any
    inputs: Float[Tensor, "prompt d_in"] | None = None
    reconstruct: Callable[[Float[Tensor, "prompt d_in"]], Float[Tensor, "prompt d_in"]] | None = None
    seed: int = 0
    name: str = ""

    def __post_init__(self) -> None:
        if self.inputs is not None and (self.inputs.ndim != 2 or not len(self.inputs)):
            raise InputError(
                f"inputs have the shape {list(self.inputs.shape)}: give activations [prompt, d_in], at least one"
            )

    @cached_property
    def _x(self) -> Tensor:
        if self.inputs is None:
            generator = torch.Generator().manual_seed(self.seed)
            scales = torch.tensor([0.1, 1.0, 10.0, 100.0]).repeat(BATCH // 4)
            return torch.randn(BATCH, self.dictionary.d_in, generator=generator) * scales[:, None]
        return self.inputs.detach().float()[torch.arange(BATCH) % len(self.inputs)]

    def x(self) -> Float[Tensor, "64 d_in"]:
        """A batch of inputs, fresh at every call."""
        return self._x.clone()

    def other(self) -> Float[Tensor, "64 d_in"]:
        """Another batch of inputs, of another scale."""
        noise = torch.randn(self._x.shape, generator=torch.Generator().manual_seed(self.seed + 1))
        return 3 * self._x.flip(0) + noise * self._x.std()

    def codes(self, n: int = BATCH, *, density: float = 0.1, salt: int = 0) -> Float[Tensor, "n d_sae"]:
        """Random sparse codes, fresh at every call."""
        generator = torch.Generator().manual_seed(1_000 + 97 * self.seed + salt)
        shape = (n, self.dictionary.d_sae)
        return torch.randn(shape, generator=generator) * (torch.rand(shape, generator=generator) < density)
