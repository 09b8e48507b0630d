"""The JumpReLU SAE (Rajamanoharan et al. 2024, arXiv 2407.14435, eqs. 4-6).

With ``x' = scale · x`` and a threshold ``θ_j ≥ 0`` of every feature::

    π  = (x' − b_dec) W_enc + b_enc
    f  = JumpReLU_θ(π) = π · H(π − θ)          H the Heaviside step, 0 at 0: a feature at its threshold is not active
    x̂' = f W_dec + b_dec

The paper's encoder is ``x' W_enc + b_enc``, without ``b_dec``; both are the same, with ``b_enc + b_dec W_enc`` in place
of its ``b_enc``. Where all thresholds are 0 this is the vanilla SAE. Batch-top-k SAEs (Bussmann et al. 2024, arXiv
2412.06410) are used with one threshold for all features, and so are these.

Trained with ``‖x' − x̂'‖² + λ ‖f‖₀``, by straight-through estimators.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from ioi_bench.dictionaries.architectures.base import Architecture
from ioi_bench.errors import DictionaryError

__all__ = ["JumpRelu"]


@dataclass(frozen=True, eq=False, kw_only=True)
class JumpRelu(Architecture):
    """A ReLU that starts at a threshold of each feature's own.

    Raises:
        DictionaryError: also where a threshold is negative.
    """

    name: ClassVar[str] = "jumprelu"
    axes: ClassVar[Mapping[str, tuple[str, ...]]] = MappingProxyType(
        {
            "W_enc": ("d_in", "d_sae"),
            "b_enc": ("d_sae",),
            "threshold": ("d_sae",),
            "W_dec": ("d_sae", "d_in"),
            "b_dec": ("d_in",),
        }
    )

    b_enc: Float[Tensor, " d_sae"]
    threshold: Float[Tensor, " d_sae"]

    def __post_init__(self) -> None:
        super().__post_init__()
        negative = int((self.threshold < 0).sum())
        if negative:
            raise DictionaryError(
                f"{negative} thresholds are negative, expected 0 or more (0 is a plain ReLU): set them to 0 if the "
                "encoder has a ReLU before its threshold"
            )

    def encode(self, x: Float[Tensor, "prompt d_in"]) -> Float[Tensor, "prompt d_sae"]:
        """``π`` where ``π > θ``, 0 elsewhere."""
        pre = self.pre_activations(x) + self.b_enc.float()
        return pre * (pre > self.threshold.float())
