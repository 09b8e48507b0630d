"""A dictionary's features in the decomposition of attention scores: which kind each is, and the strongest pairs.

A feature's kind is the attribute that explains most of its variance over train prompts. F1 against single values is not
used here: it depends on how frequent a value is (a feature that fires at random on half of the prompts has F1 = .5 for
a pattern and .01 for a name), and a feature for several names has a low F1 for each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ioi_bench.dictionary import Dictionary, affine_decoder, encode_in_blocks, encoded_blocks
from ioi_bench.errors import InputError
from ioi_bench.sites import ATTRIBUTES, Role
from ioi_bench.studies.attention import ERROR, KEY_ROLES, MEAN, Parts

__all__ = ["KINDS", "OTHER", "FeaturePair", "Features", "KnownFeatures", "feature_pairs", "know_features"]

OTHER = "other"
KINDS = (*ATTRIBUTES, OTHER)
LEAST_EXPLAINED = 0.1
"""A feature of which no attribute explains this share of its variance is of kind ``other``."""

_Q_BLOCK = 512


@dataclass(frozen=True, eq=False)
class KnownFeatures:
    """A dictionary with what train says of its features.

    Attributes:
        directions: in the model's units.
        mean: train means of the features.
        train_mean: train mean of the activation.
        error_mean: train mean of ``a − Σ_j f_j d_j``.
        kind: index into `KINDS`.
        explained: the share of each feature's variance that each attribute explains, corrected for chance.
    """

    dictionary: Dictionary
    directions: Float[Tensor, "d_sae d_in"]
    mean: Float[Tensor, " d_sae"]
    train_mean: Float[Tensor, " d_in"]
    error_mean: Float[Tensor, " d_in"]
    kind: Int64[Tensor, " d_sae"]
    explained: Float[Tensor, "attribute d_sae"]

    @property
    def counts(self) -> dict[str, int]:
        """How many features that vary on train are of each kind."""
        varies = self.explained.isfinite().all(0)
        return {name: int(((self.kind == index) & varies).sum()) for index, name in enumerate(KINDS)}

    def read(self, a: Float[Tensor, "prompt d_in"]) -> Features:
        """Encode activations and take them apart.

        Raises:
            DictionaryError: the dictionary breaks its contract.
        """
        f = encode_in_blocks(self.dictionary, a)
        centred = f.double() - self.mean
        parts = [self.train_mean.expand(len(a), -1)]
        parts += [centred[:, self.kind == kind] @ self.directions[self.kind == kind] for kind in range(len(KINDS))]
        parts.append(a.double() - torch.stack(parts).sum(0))
        active = (f != 0).any(0).nonzero().flatten()
        return Features(
            Parts((MEAN, *KINDS, ERROR), torch.stack(parts)), active, centred[:, active], self.directions[active]
        )


@dataclass(frozen=True, eq=False)
class Features:
    """What a dictionary makes of some activations.

    Attributes:
        parts: ``mean``, one part a kind, ``error``.
        index: the features that are active on some prompt.
        values: theirs, less their train means.
        directions: theirs.
    """

    parts: Parts
    index: Int64[Tensor, " feature"]
    values: Float[Tensor, "prompt feature"]
    directions: Float[Tensor, "feature d_in"]


@torch.no_grad()
def know_features(
    dictionary: Dictionary,
    train: Float[Tensor, "prompt d_in"],
    labels: Mapping[str, Int64[Tensor, " prompt"]],
    n_values: Mapping[str, int],
) -> KnownFeatures:
    """Encode train once and find each feature's kind.

    The parts are ``mean`` (the train mean of the activation), per kind ``Σ_j (f_j − E f_j) d_j``, and ``error``:
    ``a − Σ_j f_j d_j`` less its train mean. The offset, also one that depends on the input, belongs to no feature.

    Raises:
        InputError: labels that do not fit, or no prompts.
        DictionaryError: the dictionary breaks its contract.
    """
    if len(train) == 0 or any(len(labels[name]) != len(train) for name in ATTRIBUTES):
        raise InputError(f"{len(train)} train activations: expected one or more, and as many labels of each attribute")
    directions = affine_decoder(dictionary).directions.double()
    sums = {name: torch.zeros(n_values[name], dictionary.d_sae, dtype=torch.float64) for name in ATTRIBUTES}
    squares, start = torch.zeros(dictionary.d_sae, dtype=torch.float64), 0
    for block in encoded_blocks(dictionary, train):
        f = block.double()
        squares += f.square().sum(0)
        for name, total in sums.items():
            total.index_add_(0, labels[name][start : start + len(f)], f)
        start += len(f)
    n, train_mean = len(train), train.double().mean(0)
    mean = sums[ATTRIBUTES[0]].sum(0) / n
    explained = torch.stack(
        [_explained(sums[name], torch.bincount(labels[name], minlength=n_values[name]), squares) for name in ATTRIBUTES]
    )
    best, kind = explained.nan_to_num(0.0).max(0)
    kind = kind.where(best >= LEAST_EXPLAINED, KINDS.index(OTHER))
    return KnownFeatures(dictionary, directions, mean, train_mean, train_mean - mean @ directions, kind, explained)


def _explained(
    sums: Float[Tensor, "value d_sae"], counts: Int64[Tensor, " value"], squares: Float[Tensor, " d_sae"]
) -> Float[Tensor, " d_sae"]:
    """Kelley's ε²: the share of variance between values, less what as many values would explain by chance.

    NaN for a feature that does not vary, 0 where there are no more prompts than values.
    """
    n, seen = int(counts.sum()), counts > 0
    mean = sums.sum(0) / n
    total = squares / n - mean.square()
    total = total.where(total > 1e-10 * squares / n, torch.nan)  # what cancels is rounding
    between = ((sums[seen] / counts[seen, None] - mean).square() * (counts[seen, None] / n)).sum(0)
    freedom = n - int(seen.sum())
    if freedom <= 0:
        return torch.zeros_like(total).where(total.isfinite(), torch.nan)
    return 1 - (1 - between / total) * ((n - 1) / freedom)


@dataclass(frozen=True)
class FeaturePair:
    """A feature of the query with one of a key: its share of the variance of the score over prompts and both keys."""

    q: int
    q_kind: str
    key: Role
    k: int
    k_kind: str
    share: float


def feature_pairs(
    q: tuple[KnownFeatures, Features], keys: Mapping[Role, tuple[KnownFeatures, Features]], most: int = 10
) -> tuple[FeaturePair, ...]:
    """The pairs of single features that carry the largest shares of the variance, of either sign.

    ``cov(f_j g_m, score)`` over all pairs is one matrix product, so no term is formed prompt by prompt:
    ``share[j, m] = d_j·e_m / √d · mean((f_j − E f_j)(g_m − E g_m)(score − mean score)) / var(score)``.
    """
    query = q[1].parts.total
    scores = torch.stack([(query * keys[role][1].parts.total).sum(1) for role in KEY_ROLES]) * query.shape[1] ** -0.5
    variance = (scores - scores.mean()).square().mean()
    found: list[FeaturePair] = []
    for role, deviation in zip(KEY_ROLES, scores - scores.mean(), strict=True):
        known, key = keys[role]
        weighted = key.values * (deviation / (scores.numel() * variance * query.shape[1] ** 0.5))[:, None]
        for start in range(0, len(q[1].index), _Q_BLOCK):
            rows = slice(start, start + _Q_BLOCK)
            shares = (q[1].values[:, rows].T @ weighted) * (q[1].directions[rows] @ key.directions.T)
            best = shares.abs().flatten().topk(min(most, shares.numel())).indices
            for at in best.tolist():
                row, column = divmod(at, shares.shape[1])
                j, m = int(q[1].index[start + row]), int(key.index[column])
                kinds = KINDS[int(q[0].kind[j])], KINDS[int(known.kind[m])]
                found.append(FeaturePair(j, kinds[0], role, m, kinds[1], shares[row, column].item()))
    return tuple(sorted(found, key=lambda pair: -abs(pair.share))[:most])
