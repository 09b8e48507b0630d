"""Top-k without a ReLU: the k largest pre-activations stay as they are, so features may be negative.

``f = TopK((x' − b_dec) W_enc + b_enc)``: so the code of Makelov et al. (github.com/amakelov/sae, ``sae_variants.py``)
has it, and OpenAI's (github.com/openai/sparse_autoencoder, ``model.py``) with ``postact_fn`` ``Identity``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ioi_bench.dictionaries.architectures import TopK

__all__ = ["SignedTopK"]


@dataclass(frozen=True, eq=False, kw_only=True)
class SignedTopK(TopK):
    """The ``k`` largest pre-activations, whatever their sign; exactly k are active, but for those that are 0."""

    name: ClassVar[str] = "signed-topk"

    def encode(self, x: Float[Tensor, "prompt d_in"]) -> Float[Tensor, "prompt d_sae"]:
        """``TopK((scale · x − b_dec) W_enc + b_enc)``."""
        u = self.pre_activations(x) + self.b_enc.float()
        values, best = u.topk(self.k, dim=1)
        return torch.zeros_like(u).scatter_(1, best, values)
