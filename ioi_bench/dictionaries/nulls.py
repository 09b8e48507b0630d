"""Dictionaries that must score about 0, and two that know only the data (METHOD §7; tests of known answers).

- `matched_null` and `standard_null`: random directions of a given number, sparsity and norm.
- `codebook`: memorised train activations, the nearest one active. `pca`: principal axes, signed and dense.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ioi_bench.dictionaries.architectures import Skyline
from ioi_bench.dictionaries.architectures.topk import keep_top_k
from ioi_bench.dictionary import AffineDecoder
from ioi_bench.errors import InputError

__all__ = [
    "FeatureUse",
    "Linear",
    "RandomTopK",
    "codebook",
    "feature_use",
    "matched_null",
    "pca",
    "random_topk",
    "standard_null",
]

_BLOCK_ELEMENTS = 1 << 24


@dataclass(frozen=True, eq=False)
class RandomTopK:
    """The k random unit directions on which an activation has the largest positive projections.

    With unit directions ``u_j``, ``f_j = gain · TopK(ReLU(u_j · (x − mean))) / norm_j`` and ``d_j = norm_j u_j``. The
    norms are those of the dictionary that is matched, and no contribution ``f_j d_j`` depends on them, so that a
    dictionary whose decoder is rescaled (and its encoder with the inverse) meets the same null.

    Attributes:
        units: unit rows; a row of zeros is a dead feature.
        norms: of the directions.
        mean: the train mean, which is also the offset.
        gain: one number, the best for reconstruction.
        k: how many features may be active.
    """

    units: Float[Tensor, "d_sae d_in"]
    norms: Float[Tensor, " d_sae"]
    mean: Float[Tensor, " d_in"]
    gain: float
    k: int

    @property
    def d_in(self) -> int:
        """Dimensions of the site."""
        return self.units.shape[1]

    @property
    def d_sae(self) -> int:
        """Number of features, dead ones included."""
        return self.units.shape[0]

    @property
    def directions(self) -> Float[Tensor, "d_sae d_in"]:
        """``norm_j u_j``."""
        return self.units * self.norms[:, None]

    @property
    def offset(self) -> Float[Tensor, " d_in"]:
        """The train mean."""
        return self.mean

    def projections(self, x: Float[Tensor, "prompt d_in"]) -> Float[Tensor, "prompt d_sae"]:
        """``TopK(ReLU(u_j · (x − mean)))``."""
        return keep_top_k(torch.relu((x.float() - self.mean) @ self.units.T), self.k)

    def encode(self, x: Float[Tensor, "prompt d_in"]) -> Float[Tensor, "prompt d_sae"]:
        """``gain / norm_j`` times the projections that are kept."""
        return self.projections(x) * (self.gain / self.norms)

    def decode(self, f: Float[Tensor, "prompt d_sae"]) -> Float[Tensor, "prompt d_in"]:
        """``f @ directions + mean``."""
        return f @ self.directions + self.mean


@dataclass(frozen=True)
class FeatureUse:
    """What a null must share with the dictionary that it stands beside.

    Attributes:
        l0: mean number of active features a prompt, in the prompts that are judged and their counterfactuals.
        alive: whether a feature is ever active there or on train.
        norms: of the decoder's directions.
    """

    l0: float
    alive: Bool[Tensor, " d_sae"]
    norms: Float[Tensor, " d_sae"]


def _blocks(x: Float[Tensor, "prompt d_in"], d_sae: int) -> tuple[Tensor, ...]:
    return x.split(max(1, _BLOCK_ELEMENTS // d_sae))


@torch.no_grad()
def feature_use(f: Float[Tensor, "prompt d_sae"], decoder: AffineDecoder) -> FeatureUse:
    """How features are used in some prompts.

    Features that never vary carry nothing: a constant one must not buy the null another active direction.

    Raises:
        InputError: no train activations.
    """
    if not len(f):
        raise InputError("no train activations were given")
    counts = (f != 0).sum(0)
    varies = counts > 0
    always = (counts == len(f)).nonzero()[:, 0]
    varies[always] = (f[:, always] != f[0, always]).any(0)
    return FeatureUse(counts[varies].sum().item() / len(f), varies, decoder.directions.norm(dim=1))


@torch.no_grad()
def random_topk(
    alive: Bool[Tensor, " d_sae"],
    norms: Float[Tensor, " d_sae"],
    k: int,
    train: Float[Tensor, "prompt d_in"],
    seed: int,
) -> RandomTopK:
    """Random directions, one for every feature that is alive, with the gain of least squares on train.

    The directions are drawn for the living features in their order: dead features elsewhere change nothing.

    Raises:
        InputError: no train activations, or k is not between 1 and d_sae.
    """
    if not len(train) or not 1 <= k <= len(alive):
        raise InputError(
            f"a random dictionary needs train activations ({len(train)}) and 1 ≤ k ≤ {len(alive)}, got {k}"
        )
    drawn = torch.randn(int(alive.sum()), train.shape[1], generator=torch.Generator().manual_seed(seed))
    units = torch.zeros(len(alive), train.shape[1])
    units[alive] = drawn / drawn.norm(dim=1, keepdim=True)
    mean = train.double().mean(0).float()
    plain = RandomTopK(units, norms.where(alive & (norms > 0), 1.0), mean, 1.0, k)
    along, square = 0.0, 0.0
    for block in _blocks(train, len(alive)):
        reconstruction = (plain.projections(block) @ units).double()
        along += float(((block - mean) * reconstruction).sum())
        square += float(reconstruction.square().sum())
    return RandomTopK(units, plain.norms, mean, along / square if square > 0 else 1.0, k)


def matched_null(use: FeatureUse, train: Float[Tensor, "prompt d_in"], seed: int) -> RandomTopK:
    """The null of METHOD §7 for a dictionary: as many features, alive and dead, the same L0 and decoder norms.

    k is the mean L0, rounded, at least 1. Give each site its own seed, or equal sizes have equal directions.

    Raises:
        InputError: no train activations.
    """
    return random_topk(use.alive, use.norms, min(max(1, round(use.l0)), len(use.alive)), train, seed)


def standard_null(train: Float[Tensor, "prompt d_in"], seed: int) -> RandomTopK:
    """The track's null of METHOD §7, which decides what is ranked: d_sae = 8 d_in, k = 3, directions of norm 1.

    Raises:
        InputError: no train activations.
    """
    d_sae = 8 * train.shape[1]
    return random_topk(torch.ones(d_sae, dtype=torch.bool), torch.ones(d_sae), 3, train, seed)


def codebook(train: Float[Tensor, "prompt d_in"], n: int, seed: int) -> Skyline:
    """n memorised train activations; the one nearest to the input is active, with value 1.

    Nearest is linear: ``argmin_i ‖x − c_i‖² = argmax_i (x · c_i − ½ ‖c_i‖²)``, here relative to the train mean.

    Raises:
        InputError: n is not between 1 and the number of train activations.
    """
    if not 1 <= n <= len(train):
        raise InputError(f"a codebook of {n} activations cannot be drawn from {len(train)}")
    chosen = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))[:n]
    mean = train.double().mean(0).float()
    codes = train[chosen].float() - mean
    return Skyline(
        W_enc=codes.T.contiguous(), b_enc=-0.5 * codes.square().sum(1), W_dec=codes, b_dec=mean, block_sizes=(n,)
    )


@dataclass(frozen=True, eq=False)
class Linear:
    """Features are signed projections: ``f = (x − offset) @ directionsᵀ``, for orthonormal directions."""

    directions: Float[Tensor, "d_sae d_in"]
    offset: Float[Tensor, " d_in"]

    @property
    def d_in(self) -> int:
        """Dimensions of the site."""
        return self.directions.shape[1]

    @property
    def d_sae(self) -> int:
        """Number of directions."""
        return self.directions.shape[0]

    def encode(self, x: Float[Tensor, "prompt d_in"]) -> Float[Tensor, "prompt d_sae"]:
        """Coordinates along the directions."""
        return (x.float() - self.offset) @ self.directions.T

    def decode(self, f: Float[Tensor, "prompt d_sae"]) -> Float[Tensor, "prompt d_in"]:
        """``f @ directions + offset``."""
        return f @ self.directions + self.offset


def pca(train: Float[Tensor, "prompt d_in"]) -> Linear:
    """Principal axes about the train mean, the largest variance first, each with its largest component positive.

    Raises:
        InputError: no train activations.
    """
    if not len(train):
        raise InputError("no train activations were given")
    mean = train.double().mean(0)
    centred = train.double() - mean
    axes = torch.linalg.eigh(centred.T @ centred).eigenvectors.T.flip(0)
    signs = axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()
    return Linear((axes * signs).float(), mean.float())
