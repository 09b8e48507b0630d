"""Dictionaries that normalise each input (METHOD §4): features carry its scale, and the offset depends on it.

With an SAE ``f' = enc(x'), x̂' = f' W_dec + b_dec`` of normalised inputs ``x' = (x − μ) / s``::

    layer norm       μ the mean over dimensions, σ the unbiased deviation, s = σ + 1e-5
    constant norm    μ = 0, σ = s = ‖x‖ / √d_in

    x̂ = σ x̂' + μ = f W_dec + b(x)        f = σ f',  b(x) = σ b_dec + μ

So OpenAI's code does it (github.com/openai/sparse_autoencoder, ``model.py``: the first), and SAELens 6.54
(``saes/sae.py``: ``layer_norm`` and ``constant_norm_rescale``). An input with σ = 0 has no features and is
rebuilt as μ.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ioi_bench.dictionaries.architectures import Architecture

__all__ = ["PerInputNorm"]


@dataclass(frozen=True, eq=False)
class PerInputNorm:
    """An SAE of normalised inputs; its features carry the input's scale.

    Attributes:
        sae: on normalised inputs.
        layer_norm: whether it is that; otherwise each input is brought to norm √d_in.
    """

    sae: Architecture
    layer_norm: bool

    @property
    def d_in(self) -> int:
        """Dimensions of the site."""
        return self.sae.d_in

    @property
    def d_sae(self) -> int:
        """Number of features."""
        return self.sae.d_sae

    def encode(self, x: Float[Tensor, "prompt d_in"]) -> Float[Tensor, "prompt d_sae"]:
        """``σ`` times the SAE's features of the normalised input."""
        mean, deviation = self._moments(x)
        divisor = deviation + 1e-5 if self.layer_norm else deviation.clamp(min=torch.finfo(torch.float32).tiny)
        return self.sae.encode((x.float() - mean) / divisor) * deviation

    def decode(self, f: Float[Tensor, "prompt d_sae"]) -> Float[Tensor, "prompt d_in"]:
        """The reconstruction of an input with ``μ = 0`` and ``σ = 1``; of others, add `offset_for` to ``f W_dec``."""
        return self.sae.decode(f)

    def offset_for(self, x: Float[Tensor, "prompt d_in"]) -> Float[Tensor, "prompt d_in"]:
        """``σ b_dec + μ``."""
        mean, deviation = self._moments(x)
        return deviation * self.sae.offset + mean

    def _moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = x.float()
        if self.layer_norm:
            return x.mean(1, keepdim=True), x.std(1, keepdim=True)
        return x.new_zeros(len(x), 1), x.norm(dim=1, keepdim=True) / self.d_in**0.5
