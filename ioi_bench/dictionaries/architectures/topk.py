"""The top-k SAE (Gao et al. 2024, arXiv 2406.04093, eq. 2).

With ``x' = scale · x``::

    f  = TopK(ReLU((x' − b_dec) W_enc + b_enc))
    x̂' = f W_dec + b_dec

The paper writes ``TopK(W_enc (x − b_pre))``. As in its authors' released code there is an encoder bias (zero gives the
paper's equation) and a ReLU; since the ReLU is monotone it may come before or after TopK. So features are never
negative, and at most k are active: fewer where fewer pre-activations are positive. Equal values at the k-th place go to
the lower index.

Trained with ``‖x' − x̂'‖²`` alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ioi_bench.dictionaries.architectures.base import Architecture
from ioi_bench.errors import DictionaryError

__all__ = ["TopK", "keep_top_k"]


def keep_top_k(values: Float[Tensor, "prompt d_sae"], k: int) -> Float[Tensor, "prompt d_sae"]:
    """The ``k`` largest of each row, the rest 0; for values ≥ 0. Ties go to the lower index.

    >>> keep_top_k(torch.tensor([[1.0, 3.0, 1.0, 0.5], [0.0, 0.0, 2.0, 0.0]]), 2)
    tensor([[1., 3., 0., 0.],
            [0., 0., 2., 0.]])
    """
    if k >= values.shape[1]:
        return values
    threshold = values.topk(k, dim=1).values[:, -1:]
    kept = values * (values >= threshold)
    crowded = ((kept > 0).sum(1) > k).nonzero()[:, 0]
    if len(crowded):
        rows, bound = values[crowded], threshold[crowded]
        tied, above = rows == bound, rows > bound
        room = k - above.sum(1, keepdim=True)
        kept[crowded] = rows * (above | (tied & (tied.cumsum(1) <= room)))
    return kept


@dataclass(frozen=True, eq=False, kw_only=True)
class TopK(Architecture):
    """At most ``k`` features are active.

    Raises:
        DictionaryError: also where k is not between 1 and d_sae.
    """

    name: ClassVar[str] = "topk"
    axes: ClassVar[Mapping[str, tuple[str, ...]]] = MappingProxyType(
        {"W_enc": ("d_in", "d_sae"), "b_enc": ("d_sae",), "W_dec": ("d_sae", "d_in"), "b_dec": ("d_in",)}
    )
    settings: ClassVar[Mapping[str, type]] = MappingProxyType({"scale": float, "k": int})

    b_enc: Float[Tensor, " d_sae"]
    k: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.k <= self.d_sae:
            raise DictionaryError(f"k is {self.k}, expected 1 to d_sae = {self.d_sae}")

    def encode(self, x: Float[Tensor, "prompt d_in"]) -> Float[Tensor, "prompt d_sae"]:
        """``TopK(ReLU((scale · x − b_dec) W_enc + b_enc))``."""
        return keep_top_k(torch.relu(self.pre_activations(x) + self.b_enc.float()), self.k)
