"""Planted truth: a dictionary whose features are known at a site, and what may be done to it.

The truth is fitted by the skyline's own fitter (METHOD §3), over all that a prompt is made of, not over the attributes
alone: a block of features each for IO, S, the pattern, the context (template and prefix), the place and the object, a
feature a value. That are many more features than dimensions, one active a block: a sparse code in superposition, with
the least-squares codes as directions and linear discriminants as encoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ioi_bench.dictionaries.architectures import Skyline
from ioi_bench.dictionaries.supervised import CodesFitter, Layout, index_labels
from ioi_bench.evaluation.data import attribute_values
from ioi_bench.sites import Site
from ioi_bench.task import Prompt, Split

__all__ = ["PARTS", "Planted", "fit_truths"]

PARTS = 4
"""Into so many parts a feature can be split."""

_BLOCKS = (("io",), ("s",), ("pos",), ("context",), ("place",), ("object",))
_FIT_BATCH = 4096


@dataclass(frozen=True, eq=False)
class Planted:
    """A dictionary made of a truth's features.

    The truth finds one active feature a block; in which of `PARTS` parts of its domain an activation lies, the largest
    of as many fixed projections says. For every feature and part there is an entry: which features of this dictionary
    are active then, and with which values.

    Attributes:
        truth: finds the active features.
        part_directions: the projections, of the activation less the truth's offset.
        index: features of this dictionary; where ``value`` is 0 it does not matter.
        value: their values.
        directions: of this dictionary's features.
    """

    truth: Skyline
    part_directions: Float[Tensor, "d_in part"]
    index: Int64[Tensor, "feature part entry"]
    value: Float[Tensor, "feature part entry"]
    directions: Float[Tensor, "d_sae d_in"]

    @classmethod
    def of(cls, truth: Skyline, seed: int) -> Planted:
        """The truth itself; ``seed`` draws where a split would divide its features."""
        generator = torch.Generator().manual_seed(seed)
        index = torch.arange(truth.d_sae)[:, None, None].expand(-1, PARTS, 1).contiguous()
        drawn = torch.randn(truth.d_in, PARTS, generator=generator)
        return cls(truth, drawn, index, torch.ones(index.shape), truth.directions)

    @property
    def d_in(self) -> int:
        """Dimensions of the site."""
        return self.directions.shape[1]

    @property
    def d_sae(self) -> int:
        """Number of features."""
        return self.directions.shape[0]

    @property
    def offset(self) -> Float[Tensor, " d_in"]:
        """What no features at all decode to."""
        return self.truth.offset

    @property
    def blocks(self) -> tuple[Int64[Tensor, " feature"], ...]:
        """The truth's features, block by block."""
        return torch.arange(self.truth.d_sae).split(self.truth.block_sizes)

    @torch.no_grad()
    def encode(self, x: Float[Tensor, "prompt d_in"]) -> Float[Tensor, "prompt d_sae"]:
        """The values of the entries of all active features, added up."""
        active = self.truth.encode(x).nonzero()[:, 1].view(len(x), -1)
        part = ((x.float() - self.offset) @ self.part_directions).argmax(1, keepdim=True)
        index, value = self.index[active, part], self.value[active, part]
        return torch.zeros(len(x), self.d_sae).scatter_add_(1, index.flatten(1), value.flatten(1))

    def decode(self, f: Float[Tensor, "prompt d_sae"]) -> Float[Tensor, "prompt d_in"]:
        """``f @ directions + offset``."""
        return f @ self.directions + self.offset


def fit_truths(train: Split, activations: Mapping[Site, Float[Tensor, "prompt d_in"]]) -> dict[Site, Skyline]:
    """The truth at every site."""
    spec = train.spec
    labels = {name: [_value(prompt, name) for prompt in train.prompts] for name in ("place", "object", "context")}
    values = {name: tuple(sorted(set(found))) for name, found in labels.items()} | attribute_values(spec)
    labels |= {name: [prompt.value((name,)) for prompt in train.prompts] for name in ("io", "s", "pos")}
    layout, index = Layout(values, _BLOCKS), index_labels(values, labels)
    fitter = CodesFitter(layout)
    for start in range(0, len(train), _FIT_BATCH):
        rows = slice(start, start + _FIT_BATCH)
        fitter.update(
            {site: a[rows] for site, a in activations.items()}, {name: found[rows] for name, found in index.items()}
        )
    return fitter.skylines(fitter.mse_codes())


def _value(prompt: Prompt, name: str) -> str:
    return f"{prompt.template}.{prompt.prefix}" if name == "context" else str(getattr(prompt, name))
