"""What the features mean: F1 of {feature active} against the attributes, and what the explained ones do (METHOD §6).

Source: Makelov, Lange & Nanda 2024 (arXiv 2405.08366), the evaluation of interpretability, as METHOD §6 states it. An
*explanation* of a feature is a set of prompts, described by attributes; it is as good as the F1 of {the feature is
active} against it, on train. Seven kinds are tried, the plainest first:

- ``io``, ``s``, ``pos``: the attribute has one value, ``IO = n``;
- ``io+pos``, ``s+pos``: both have one value, ``IO = n and pos = p``;
- ``io-names``, ``s-names``: the name is one of a set of at most ten, ``IO ∈ N``.

All follow from counts: h, on how many prompts of each value the feature is active; c, how many prompts have the value;
A, on how many the feature is active at all. Counts of parts of the prompts add up.

The best set N is found exactly. ``F1(N) = 2 Σ h_n / (Σ c_n + A)`` is at least λ iff ``Σ (2 h_n − λ c_n) ≥ λ A``, and
the left side is largest for the names with the ten largest gains ``2 h_n − λ c_n``, as far as they are positive. So
from the best single name's F1 as λ, names are sorted by their gains, the best prefix of at most ten is taken, its F1
is the next λ, and so on until λ stays (Dinkelbach 1967, on ratios). A name is thus in the set only if the feature is
active on more than λ/2 of its prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ioi_bench.errors import InputError

__all__ = [
    "KINDS",
    "MOST_NAMES",
    "THRESHOLDS",
    "ActivityCounts",
    "Explanations",
    "activity_counts",
    "explanations",
    "keep_explained",
    "remove_explained",
]

KINDS = ("io", "s", "pos", "io+pos", "s+pos", "io-names", "s-names")
"""The kinds of explanation; of equal ones the first counts."""

THRESHOLDS = (0.5, 0.6, 0.8, 0.9)
"""A feature is explained at a threshold if its best F1 reaches it."""

MOST_NAMES = 10
"""The most names in a union."""

_BLOCK_ELEMENTS = 1 << 21


@dataclass(frozen=True)
class ActivityCounts:
    """Numbers of prompts by the joint values (name, pos), and of those in which each feature is active.

    ``counts + more`` are the counts of both lots of prompts together.
    """

    io_prompts: Int64[Tensor, "io pos"]
    io_active: Int64[Tensor, "io pos d_sae"]
    s_prompts: Int64[Tensor, "s pos"]
    s_active: Int64[Tensor, "s pos d_sae"]

    def __add__(self, other: ActivityCounts) -> ActivityCounts:
        return ActivityCounts(
            self.io_prompts + other.io_prompts,
            self.io_active + other.io_active,
            self.s_prompts + other.s_prompts,
            self.s_active + other.s_active,
        )


@torch.no_grad()
def activity_counts(
    f: Float[Tensor, "prompt d_sae"],
    io: Int64[Tensor, " prompt"],
    s: Int64[Tensor, " prompt"],
    pos: Int64[Tensor, " prompt"],
    *,
    n_io: int,
    n_s: int,
) -> ActivityCounts:
    """Count active features (not 0, METHOD §4) by the values of the attributes; memory is bounded beyond the result.

    Args:
        f: features of some prompts.
        io, s: indices of the names, in [0, n_io) and [0, n_s).
        pos: 0 or 1.
        n_io, n_s: numbers of names.

    Raises:
        InputError: numbers of prompts that differ, or an index out of range.
    """
    d_sae = f.shape[1]
    joint = [(_joint("io", io, pos, n_io, len(f)), n_io), (_joint("s", s, pos, n_s, len(f)), n_s)]
    active = [torch.zeros(2 * n * d_sae, dtype=torch.int64) for _, n in joint]
    step = max(1, _BLOCK_ELEMENTS // max(1, d_sae))
    for start in range(0, len(f), step):
        row, column = f[start : start + step].nonzero(as_tuple=True)
        for (value, _), found in zip(joint, active, strict=True):
            found += torch.bincount(value[start + row] * d_sae + column, minlength=len(found))
    prompts = [torch.bincount(value, minlength=2 * n).view(n, 2) for value, n in joint]
    by_io, by_s = (found.view(n, 2, d_sae) for found, (_, n) in zip(active, joint, strict=True))
    return ActivityCounts(prompts[0], by_io, prompts[1], by_s)


def _joint(attribute: str, name: Tensor, pos: Tensor, n: int, n_prompts: int) -> Int64[Tensor, " prompt"]:
    for label, index, size in ((attribute, name, n), ("pos", pos, 2)):
        if len(index) != n_prompts:
            raise InputError(f"{n_prompts} prompts of features have {len(index)} values of {label}: give one for each")
        if n_prompts and not 0 <= int(index.min()) <= int(index.max()) < size:
            raise InputError(f"values of {label} go from {index.min()} to {index.max()}, expected 0 to {size - 1}")
    return name * 2 + pos


@dataclass(frozen=True)
class Explanations:
    """The best F1 of every feature by kind (`KINDS`), in [0, 1].

    A feature that is active on every prompt tells no value from another: its F1 counts as 0, as in rankings by F1
    (METHOD §5). One that is active on nearly every prompt still has an F1 near ⅔ against ``pos``: read the lower
    thresholds with that in mind.
    """

    f1: Float[Tensor, "kind d_sae"]
    alive: Bool[Tensor, " d_sae"]
    """Features that some prompt activates."""

    @property
    def best(self) -> Float[Tensor, " d_sae"]:
        """The best F1 over all kinds."""
        return self.f1.amax(0)

    @property
    def kind(self) -> Int64[Tensor, " d_sae"]:
        """Which kind reaches it, as an index into `KINDS`; the plainest of equals."""
        return self.f1.argmax(0)

    def explained(self, threshold: float) -> Bool[Tensor, " d_sae"]:
        """The living features whose best F1 is at least the threshold."""
        return self.alive & (self.best >= threshold)

    def shares(self, threshold: float) -> dict[str, float]:
        """By kind, the share of living features that are explained, each counted once, under its best kind.

        The shares add up to the share that is explained at all. NaN without a living feature.
        """
        explained = self.kind[self.explained(threshold)]
        count, alive = torch.bincount(explained, minlength=len(KINDS)).tolist(), int(self.alive.sum())
        return {kind: n / alive if alive else float("nan") for kind, n in zip(KINDS, count, strict=True)}

    @classmethod
    def joined(cls, parts: Sequence[Explanations]) -> Explanations:
        """The explanations of some features after those of others."""
        return cls(torch.cat([part.f1 for part in parts], 1), torch.cat([part.alive for part in parts]))


@torch.no_grad()
def explanations(counts: ActivityCounts) -> Explanations:
    """The best explanation of every feature, of each kind.

    Two features over four prompts: Mary is given something (IO) by Ann or by Bob (S), in either order. The first is
    active wherever Ann gives; the second where she gives in order ABB, which ``S = Ann`` explains with F1 ⅔ only:

    >>> f = torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    >>> io, s, pos = torch.zeros(4, dtype=torch.int64), torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
    >>> found = explanations(activity_counts(f, io, s, pos, n_io=1, n_s=2))
    >>> found.best.tolist(), [KINDS[kind] for kind in found.kind], round(found.f1[1, 1].item(), 3)
    ([1.0, 1.0], ['s', 's+pos'], 0.667)
    """
    active = counts.io_active.sum((0, 1)).double()
    informative = active < counts.io_prompts.sum()
    io, s = (
        (hits.transpose(1, 2).double(), prompts.double())
        for hits, prompts in ((counts.io_active, counts.io_prompts), (counts.s_active, counts.s_prompts))
    )
    rows = []
    for hits, prompts in (io, s):
        rows.append(_f1(hits.sum(2), prompts.sum(1, keepdim=True), active).amax(0))
    rows.append(_f1(io[0].sum(0).T, io[1].sum(0)[:, None], active).amax(0))
    for hits, prompts in (io, s):
        rows.append(_f1(hits, prompts[:, None], active[:, None]).amax((0, 2)))
    for (hits, prompts), single in zip((io, s), rows[:2], strict=True):
        rows.append(_best_union(hits.sum(2).T.contiguous(), prompts.sum(1), active, single))
    return Explanations(torch.stack(rows) * informative, active > 0)


def _f1(hits: Tensor, prompts: Tensor, active: Tensor) -> Tensor:
    # F1 = 2·TP / (prompts of the value + prompts where active); both empty means nothing was named: 0
    return 2 * hits / (prompts + active).clamp(min=1)


def _best_union(
    hits: Float[Tensor, "d_sae value"],
    prompts: Float[Tensor, " value"],
    active: Float[Tensor, " d_sae"],
    single: Float[Tensor, " d_sae"],
) -> Float[Tensor, " d_sae"]:
    """The largest F1 of a union of at most `MOST_NAMES` values, from the largest of one; see above."""
    best, rising = single.clone(), torch.arange(len(single))
    while len(rising):
        here, bound = hits[rising], best[rising]
        gain, name = (2 * here - bound[:, None] * prompts).topk(min(MOST_NAMES, len(prompts)), dim=1)
        taken = gain > 0
        # Counts are whole numbers, so that the sums are exact and a set has one F1: the bound rises or stays.
        found = _f1((here.gather(1, name) * taken).sum(1), (prompts[name] * taken).sum(1), active[rising])
        rises = found > bound
        rising = rising[rises]
        best[rising] = found[rises]
    return best


def keep_explained(
    f: Float[Tensor, "prompt d_sae"],
    mean: Float[Tensor, " d_sae"],
    directions: Float[Tensor, "d_sae d_in"],
    explained: Bool[Tensor, " d_sae"],
    train_mean: Float[Tensor, " d_in"],
) -> Float[Tensor, "prompt d_in"]:
    """``E[a] + Σ (f_j − E f_j) d_j`` over the explained features: all others stand at their train means.

    The error term goes too. With no feature explained this is mean ablation. With all of them, and a dictionary that is
    right on average (``E[â] = E[a]``), it is the reconstruction: its logit difference is then that of sufficiency.

    Args:
        f: features of the prompts.
        mean: train means of the features.
        directions: of the decoder.
        explained: which features are kept.
        train_mean: of the activation.

    >>> f, mean = torch.tensor([[3.0, 5.0]]), torch.tensor([1.0, 1.0])
    >>> keep_explained(f, mean, torch.eye(2), torch.tensor([True, False]), torch.tensor([10.0, 10.0])).tolist()
    [[12.0, 10.0]]
    """
    return train_mean + _contributions(f, mean, directions, explained)


def remove_explained(
    a: Float[Tensor, "prompt d_in"],
    f: Float[Tensor, "prompt d_sae"],
    mean: Float[Tensor, " d_sae"],
    directions: Float[Tensor, "d_sae d_in"],
    explained: Bool[Tensor, " d_sae"],
) -> Float[Tensor, "prompt d_in"]:
    """``a − Σ (f_j − E f_j) d_j`` over the explained features: they are set to their train means, all else stays.

    The error term stays. With no feature explained this is the activation. With all of them, and a dictionary that is
    right on average, it is ``E[a] + a − â``: its logit difference is then that of necessity.

    >>> a, f, mean = torch.tensor([[10.0, 10.0]]), torch.tensor([[3.0, 5.0]]), torch.tensor([1.0, 1.0])
    >>> remove_explained(a, f, mean, torch.eye(2), torch.tensor([True, False])).tolist()
    [[8.0, 10.0]]
    """
    return a - _contributions(f, mean, directions, explained)


def _contributions(f: Tensor, mean: Tensor, directions: Tensor, explained: Tensor) -> Float[Tensor, "prompt d_in"]:
    at = explained.nonzero()[:, 0]
    return (f[:, at] - mean[at]) @ directions[at]
