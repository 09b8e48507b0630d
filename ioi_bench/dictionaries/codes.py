"""Supervised codes: an activation as the mean plus one vector for each attribute's value (METHOD §3).

``â = ā + Σ_i u[i, a_i]``, where i runs over *blocks* of attributes: ``(io)(s)(pos)`` (independent) or
``(io,pos)(s,pos)`` (coupled). Which features there are is the `Layout`; what they are is `SupervisedCodes`, fitted in
`ioi_bench.dictionaries.supervised`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ioi_bench.dictionary import AffineDecoder
from ioi_bench.errors import InputError, UnknownNameError

__all__ = ["COUPLED", "INDEPENDENT", "Labels", "Layout", "SupervisedCodes", "index_labels"]

Labels = Mapping[str, Int64[Tensor, " prompt"]]
"""For every attribute, the index of each prompt's value in `Layout.values`."""

INDEPENDENT = (("io",), ("s",), ("pos",))
COUPLED = (("io", "pos"), ("s", "pos"))


@dataclass(frozen=True)
class Layout:
    """Which feature stands for which value: block after block, in each all (joint) values, the last attribute fastest.

    Attributes:
        values: the values of every attribute, in the order of their indices.
        blocks: the attributes of every block.

    Raises:
        InputError: no blocks or values, or a value twice.
        UnknownNameError: a block of an attribute without values.
    """

    values: Mapping[str, tuple[str, ...]]
    blocks: tuple[tuple[str, ...], ...] = INDEPENDENT

    def __post_init__(self) -> None:
        if not self.blocks or not all(self.blocks):
            raise InputError(f"a layout needs blocks of attributes, got {self.blocks!r}")
        for attribute in {attribute: None for block in self.blocks for attribute in block}:
            if attribute not in self.values:
                raise UnknownNameError("attribute", attribute, self.values)
            given = self.values[attribute]
            if not given or len(set(given)) != len(given):
                raise InputError(f"attribute {attribute!r} needs one or more distinct values, got {len(given)}")

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of features of every block."""
        return tuple(prod(len(self.values[attribute]) for attribute in block) for block in self.blocks)

    @property
    def names(self) -> tuple[str, ...]:
        """Every feature by name: ``io=Mary``, ``io|pos=Mary|ABB``."""
        return tuple(
            f"{'|'.join(block)}={'|'.join(value)}"
            for block in self.blocks
            for value in product(*(self.values[attribute] for attribute in block))
        )

    def features(self, labels: Labels) -> Int64[Tensor, "prompt block"]:
        """The feature that stands for each prompt's value, one a block.

        Raises:
            InputError: a label is missing or out of range.
        """
        columns, start = [], 0
        for block, size in zip(self.blocks, self.sizes, strict=True):
            index = torch.zeros_like(self._checked(labels, block[0]))
            for attribute in block:
                index = index * len(self.values[attribute]) + self._checked(labels, attribute)
            columns.append(index + start)
            start += size
        return torch.stack(columns, 1)

    def _checked(self, labels: Labels, attribute: str) -> Int64[Tensor, " prompt"]:
        if attribute not in labels:
            raise InputError(f"no labels for {attribute!r}: got {', '.join(labels) or 'none'}")
        label, n = labels[attribute], len(self.values[attribute])
        if len(label) and not 0 <= int(label.min()) <= int(label.max()) < n:
            raise InputError(f"labels for {attribute!r} go from {label.min()} to {label.max()}, expected 0 to {n - 1}")
        return label

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "values": {attribute: list(values) for attribute, values in self.values.items()},
            "blocks": [list(block) for block in self.blocks],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Layout:
        """What `to_json` wrote.

        Raises:
            InputError: it is not a layout.
        """
        try:
            values = {str(attribute): tuple(map(str, names)) for attribute, names in value["values"].items()}
            return cls(values, tuple(tuple(map(str, block)) for block in value["blocks"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"not a layout of supervised codes: {error!r}") from error


@dataclass(frozen=True, eq=False)
class SupervisedCodes:
    """The codes of one site; the oracle form of the skyline.

    Attributes:
        layout: which feature stands for what.
        mean: the train mean ``ā``, in the model's units.
        codes: ``u``, one row a feature; 0 for a value that train does not contain.
        counts: how many train prompts have each value.
    """

    layout: Layout
    mean: Float[Tensor, " d_in"]
    codes: Float[Tensor, "d_sae d_in"]
    counts: Int64[Tensor, " d_sae"]

    @property
    def d_in(self) -> int:
        """Dimensions of the site."""
        return self.codes.shape[1]

    @property
    def d_sae(self) -> int:
        """Number of codes."""
        return self.codes.shape[0]

    @property
    def blocks(self) -> dict[tuple[str, ...], Float[Tensor, "value d_in"]]:
        """The codes of every block, by its attributes."""
        return dict(zip(self.layout.blocks, self.codes.split(self.layout.sizes), strict=True))

    @property
    def unseen(self) -> tuple[str, ...]:
        """The values that train does not contain, such as ``io=Mary``."""
        return tuple(name for name, count in zip(self.layout.names, self.counts.tolist(), strict=True) if not count)

    @property
    def decoder(self) -> AffineDecoder:
        """The decoder that belongs to `oracle_features`."""
        return AffineDecoder(self.codes, self.mean)

    def oracle_features(self, labels: Labels) -> Float[Tensor, "prompt d_sae"]:
        """1 at the value of each block, 0 elsewhere: the features that an oracle encoder would give.

        Raises:
            InputError: a label is missing or out of range.
        """
        features = self.layout.features(labels)
        return torch.zeros(len(features), self.d_sae).scatter_(1, features, 1.0)

    def reconstruct(self, labels: Labels) -> Float[Tensor, "prompt d_in"]:
        """``ā + Σ_i u[i, a_i]``.

        Raises:
            InputError: a label is missing or out of range.
        """
        return self.mean + self.codes[self.layout.features(labels)].sum(1)

    def edit(self, a: Float[Tensor, "prompt d_in"], base: Labels, target: Labels) -> Float[Tensor, "prompt d_in"]:
        """``a − u[i, v] + u[i, v']`` for every block in which the value changes.

        Raises:
            InputError: a label is missing or out of range.
        """
        return a + (self.codes[self.layout.features(target)] - self.codes[self.layout.features(base)]).sum(1)


def index_labels(values: Mapping[str, Sequence[str]], labels: Mapping[str, Sequence[str]]) -> dict[str, Tensor]:
    """Labels by name as indices.

    >>> index_labels({"pos": ("ABB", "BAB")}, {"pos": ["BAB", "ABB"]})
    {'pos': tensor([1, 0])}

    Raises:
        UnknownNameError: a label that is none of the values.
    """
    indices = {}
    for attribute, names in labels.items():
        index = {value: i for i, value in enumerate(values[attribute])}
        for name in names:
            if name not in index:
                raise UnknownNameError(f"value of {attribute}", name, index)
        indices[attribute] = torch.tensor([index[name] for name in names], dtype=torch.int64)
    return indices
