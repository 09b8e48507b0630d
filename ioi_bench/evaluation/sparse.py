"""Train statistics of dictionaries that are too wide for ``[prompt, d_sae]``: active features only.

Train is encoded in blocks, of which only what is active is kept. Features that are active neither on train nor in the
prompts that are judged can change nothing, and are dropped, but for a few: an edit that has nothing better to do
chooses features that do nothing, and must find as many as before. Statistics are taken from a few features at a time,
by the very function that narrow dictionaries use, and are stored sparse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ioi_bench.dictionary import Dictionary, encoded_blocks
from ioi_bench.editing import FeatureStatistics, feature_statistics
from ioi_bench.metrics import Explanations

__all__ = [
    "ActiveFeatures",
    "SparseStatistics",
    "WideStatistics",
    "active_features",
    "kept_features",
    "wide_explanations",
    "wide_statistics",
]

_CHUNK_ELEMENTS = 1 << 23


@dataclass(frozen=True)
class SparseStatistics:
    """`FeatureStatistics` of which most entries are 0. ``f1`` and ``conditional_mean`` are sparse tensors."""

    f1: Float[Tensor, "value d_sae"]
    conditional_mean: Float[Tensor, "value d_sae"]
    mean: Float[Tensor, " d_sae"]

    def dense(self) -> FeatureStatistics:
        """The same, as edits read it."""
        return FeatureStatistics(self.f1.to_dense(), self.conditional_mean.to_dense(), self.mean)


@dataclass(frozen=True)
class ActiveFeatures:
    """What is active in the prompts, sorted by feature: prompt, feature and value of each entry."""

    prompt: Int64[Tensor, " entry"]
    feature: Int64[Tensor, " entry"]
    value: Float[Tensor, " entry"]
    n_prompts: int

    def of(self, feature: Int64[Tensor, " feature"]) -> Float[Tensor, "prompt feature"]:
        """Some features of all prompts, dense; ``feature`` ascends."""
        first, last = torch.searchsorted(self.feature, torch.stack([feature[0], feature[-1] + 1])).tolist()
        column = torch.searchsorted(feature, self.feature[first:last])
        found = torch.zeros(self.n_prompts, len(feature))
        inside = feature[column] == self.feature[first:last]
        found[self.prompt[first:last][inside], column[inside]] = self.value[first:last][inside]
        return found


def active_features(dictionary: Dictionary, x: Float[Tensor, "prompt d_in"]) -> ActiveFeatures:
    """Encode in blocks, and keep what is not 0.

    Raises:
        DictionaryError: the features have the wrong shape or are not finite.
    """
    prompts, features, values, start = [], [], [], 0
    for block in encoded_blocks(dictionary, x):
        row, column = block.nonzero(as_tuple=True)
        prompts.append((row + start).int())
        features.append(column.int())
        values.append(block[row, column])
        start += len(block)
    feature, order = torch.cat(features).long().sort(stable=True)
    return ActiveFeatures(torch.cat(prompts)[order].long(), feature, torch.cat(values)[order], len(x))


def kept_features(
    dictionary: Dictionary, train: ActiveFeatures, judged: Iterable[Float[Tensor, "prompt d_in"]], spare: int
) -> Int64[Tensor, " feature"]:
    """The features that are active on train or in the judged prompts, and the first ``spare`` others; ascending."""
    kept = torch.zeros(dictionary.d_sae, dtype=torch.bool)
    kept[train.feature] = True
    for x in judged:
        for block in encoded_blocks(dictionary, x):
            kept |= (block != 0).any(0)
    kept[(~kept).nonzero()[:spare, 0]] = True
    return kept.nonzero()[:, 0]


@dataclass(frozen=True)
class WideStatistics:
    """Statistics by edit, of the features that are kept.

    Attributes:
        counts: on how many train prompts a feature is active.
        varies: whether its value is not the same on all of them.
    """

    train: Mapping[str, SparseStatistics]
    counts: Int64[Tensor, " d_sae"]
    varies: Bool[Tensor, " d_sae"]


def wide_statistics(
    active: ActiveFeatures,
    kept: Int64[Tensor, " feature"],
    values: Mapping[str, Tensor],
    n_values: Mapping[str, int],
) -> WideStatistics:
    """`feature_statistics` of the features that are kept, a few at a time."""
    step = max(1, _CHUNK_ELEMENTS // max(active.n_prompts, *n_values.values()))
    found: dict[str, list[SparseStatistics]] = {edit: [] for edit in n_values}
    counts, varies = [], []
    for some in kept.split(step):
        f = active.of(some)
        counts.append((f != 0).sum(0))
        varies.append((f != f[0]).any(0))
        for edit, n in n_values.items():
            own = feature_statistics(f, values[edit], n)
            found[edit].append(SparseStatistics(own.f1.to_sparse(), own.conditional_mean.to_sparse(), own.mean))
    train = {
        edit: SparseStatistics(
            torch.cat([part.f1 for part in parts], 1).coalesce(),
            torch.cat([part.conditional_mean for part in parts], 1).coalesce(),
            torch.cat([part.mean for part in parts]),
        )
        for edit, parts in found.items()
    }
    return WideStatistics(train, torch.cat(counts), torch.cat(varies))


def wide_explanations(
    active: ActiveFeatures,
    kept: Int64[Tensor, " feature"],
    explain: Callable[[Float[Tensor, "prompt feature"]], Explanations],
) -> Explanations:
    """Explanations of the features that are kept, a few at a time."""
    step = max(1, _CHUNK_ELEMENTS // active.n_prompts)
    return Explanations.joined([explain(active.of(some)) for some in kept.split(step)])
