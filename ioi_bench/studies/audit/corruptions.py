"""Five ways to spoil a growing share of a planted dictionary's features.

A feature (of pairs and groups: all of it) is spoilt if a number of its own, uniform in [0, 1], is below the share: what
is spoilt at one share stays so at every larger one, and at share 0 nothing is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from ioi_bench.errors import InputError, UnknownNameError
from ioi_bench.studies.audit.planted import PARTS, Planted

__all__ = ["CORRUPTIONS", "GROUP", "SHARES", "Corruption", "corrupt"]

SHARES = (0.15, 0.3, 0.45, 0.6, 0.8, 1.0)
"""Shares of the features that are spoilt, beside the truth, of which none is."""

GROUP = 4
"""So many features are rotated among themselves."""

Groups = list[Int64[Tensor, " feature"]]
"""Features that are spoilt together."""


def _noise(planted: Planted, groups: Groups, generator: torch.Generator) -> Planted:
    """Directions half of noise: ``d + ‖d‖ g``, g a random unit vector, at the norm of d."""
    drawn = torch.nn.functional.normalize(torch.randn(planted.directions.shape, generator=generator), dim=1)
    directions = planted.directions.clone()
    for group in groups:
        own = planted.directions[group]
        norm = own.norm(dim=1, keepdim=True)
        directions[group] = torch.nn.functional.normalize(own + norm * drawn[group], dim=1) * norm
    return replace(planted, directions=directions)


def _merging(planted: Planted, groups: Groups, _: torch.Generator) -> Planted:
    """Two features of a block become one: active where either was, along the mean of their directions."""
    index, directions = planted.index.clone(), planted.directions.clone()
    gone = torch.zeros(len(directions), dtype=torch.bool)
    for group in groups:
        index[group] = index[group[0]].clone()
        directions[group[0]] = planted.directions[group].mean(0)
        gone[group[1:]] = True
    return _without(replace(planted, index=index, directions=directions), gone)


def _splitting(planted: Planted, groups: Groups, _: torch.Generator) -> Planted:
    """A feature becomes `PARTS`, each active in a part of its prompts, all along its direction."""
    if not groups:
        return planted
    which = torch.cat(groups)
    index = planted.index.clone()
    index[which, 1:, 0] = torch.arange(len(which) * (PARTS - 1)).view(-1, PARTS - 1) + planted.d_sae
    added = planted.directions[which].repeat_interleave(PARTS - 1, 0)
    return replace(planted, index=index, directions=torch.cat([planted.directions, added]))


def _missing(planted: Planted, groups: Groups, _: torch.Generator) -> Planted:
    """Features that are not there."""
    value, gone = planted.value.clone(), torch.zeros(planted.d_sae, dtype=torch.bool)
    for group in groups:
        value[group], gone[group] = 0.0, True
    return _without(replace(planted, value=value), gone)


def _rotated(planted: Planted, groups: Groups, generator: torch.Generator) -> Planted:
    """Features of any blocks become as many dense mixtures of themselves: ``f Q`` along ``Qᵀ D``, Q orthogonal.

    The reconstruction is what it was; no feature means one thing any more. Within a block it would be no harm: the two
    patterns, rotated by 45°, are one feature with a sign, and that is the better code.
    """
    drawn = torch.randn(planted.d_sae, GROUP, GROUP, generator=generator)  # for all: more groups, the same draws
    index = planted.index.repeat(1, 1, GROUP)
    value = torch.nn.functional.pad(planted.value, (0, GROUP - 1))
    directions = planted.directions.clone()
    for group in groups:
        n = len(group)
        q = torch.linalg.qr(drawn[group[0], :n, :n]).Q
        directions[group] = q.T @ planted.directions[group]
        index[group, :, :n] = group
        value[group, :, :n] = q[:, None]
    return replace(planted, index=index, value=value, directions=directions)


@dataclass(frozen=True)
class Corruption:
    """A way to spoil features.

    Attributes:
        together: so many features are spoilt together; of a smaller block, all.
        of_one_block: whether these are of one block.
        spoil: how.
    """

    together: int
    of_one_block: bool
    spoil: Callable[[Planted, Groups, torch.Generator], Planted]


CORRUPTIONS = {
    "noise": Corruption(1, True, _noise),
    "merging": Corruption(2, True, _merging),
    "splitting": Corruption(1, True, _splitting),
    "missing": Corruption(1, True, _missing),
    "rotated": Corruption(GROUP, False, _rotated),
}
"""By name."""


def corrupt(planted: Planted, name: str, share: float, seed: int) -> Planted:
    """Spoil a share of the features.

    Args:
        planted: the truth.
        name: one of `CORRUPTIONS`.
        share: in [0, 1].
        seed: which features, and how.

    Raises:
        UnknownNameError: no such corruption.
        InputError: a share outside [0, 1].
    """
    if name not in CORRUPTIONS:
        raise UnknownNameError("corruption", name, CORRUPTIONS)
    if not 0 <= share <= 1:
        raise InputError(f"a share of {share} of all features cannot be spoilt: give a number from 0 to 1")
    how = CORRUPTIONS[name]
    generator = torch.Generator().manual_seed(seed)
    groups: Groups = []
    for block in planted.blocks if how.of_one_block else (torch.cat(planted.blocks),):
        together = min(how.together, len(block))
        order = block[torch.randperm(len(block), generator=generator)]
        whole = order[: len(order) // together * together].view(-1, together)
        groups += [*whole[torch.rand(len(whole), generator=generator) < share]]
    return how.spoil(planted, groups, generator)


def _without(planted: Planted, gone: Bool[Tensor, " d_sae"]) -> Planted:
    """The dictionary less features that nothing activates any more; one stays, for a dictionary has features."""
    kept = ~gone
    kept[0] |= not kept.any()
    place = kept.cumsum(0) - 1
    return replace(planted, index=place[planted.index].clamp(min=0), directions=planted.directions[kept])
