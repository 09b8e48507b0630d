"""The supervised codes with a linear encoder in place of the oracle (METHOD §3, the row ``skyline-encoded``).

Features come in blocks, one an attribute (or pair of attributes), one feature a value. With ``x' = scale · x``::

    score = (x' − b_dec) W_enc + b_enc
    f     = in every block, 1 at the value with the highest score, 0 elsewhere      (ties: the lower index)
    x̂'    = f W_dec + b_dec

``W_dec`` holds the codes and ``b_dec`` the mean activation. `ioi_bench.dictionaries.supervised` says how the scores are
fitted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ioi_bench.dictionaries.architectures.base import Architecture
from ioi_bench.errors import DictionaryError

__all__ = ["Skyline"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Skyline(Architecture):
    """One active feature a block.

    Raises:
        DictionaryError: also where the block sizes do not add up to d_sae.
    """

    name: ClassVar[str] = "skyline"
    axes: ClassVar[Mapping[str, tuple[str, ...]]] = MappingProxyType(
        {"W_enc": ("d_in", "d_sae"), "b_enc": ("d_sae",), "W_dec": ("d_sae", "d_in"), "b_dec": ("d_in",)}
    )
    settings: ClassVar[Mapping[str, Any]] = MappingProxyType({"scale": float, "block_sizes": tuple[int, ...]})

    b_enc: Float[Tensor, " d_sae"]
    block_sizes: tuple[int, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.block_sizes, default=0) < 1 or sum(self.block_sizes) != self.d_sae:
            raise DictionaryError(
                f"block_sizes are {list(self.block_sizes)}, expected positive sizes that add up to d_sae = {self.d_sae}"
            )

    def encode(self, x: Float[Tensor, "prompt d_in"]) -> Float[Tensor, "prompt d_sae"]:
        """One-hot of the best score in every block."""
        scores = self.pre_activations(x) + self.b_enc.float()
        best = [block.argmax(1, keepdim=True) for block in scores.split(self.block_sizes, dim=1)]
        starts = torch.tensor((0, *self.block_sizes[:-1]), device=scores.device).cumsum(0)
        return torch.zeros_like(scores).scatter_(1, torch.cat(best, 1) + starts, 1.0)
