"""What every animal of the red-team zoo is: an adversarial dictionary with the score that it must not beat.

An animal says beforehand what it will score and why, and what is to catch it:

- ``score``: no more than its bound, under every edit method that it declares;
- ``refused``: `evaluate` stops with an error that names what is wrong;
- ``memorised``: the prompts are known by heart; on prompts drawn from its own hash it falls below its bound;
- ``flagged``: the card carries a warning;
- ``rules``: nothing in the numbers does, and docs/trust.md says what else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from ioi_bench.dictionaries.supervised import CodesFitter, Layout
from ioi_bench.dictionary import Dictionary
from ioi_bench.evaluation.data import attribute_values
from ioi_bench.evaluation.inputs import Inputs
from ioi_bench.sites import Site

METHODS = ("exchange", "aware", "universal")
WITHIN = 0.06
"""How far a measured score may lie from the predicted one."""


@dataclass(frozen=True)
class Animal:
    """One adversary.

    Attributes:
        name: in words.
        idea: how it means to win, in one sentence.
        because: why the prediction is what it is, in one sentence.
        make: the dictionary of a site, from all that an attacker may know.
        caught: by what.
        says: a part of the error or the code of the warning, where that is what catches it.
        predicted: IOI score by edit method, on the prompts that it was made for.
        bound: what it must not beat, by the same methods; of a memorising one, on fresh prompts.
        within: how far the prediction may be off.
    """

    name: str
    idea: str
    because: str
    make: Callable[[Knowledge, Site], Dictionary]
    caught: Literal["score", "refused", "memorised", "flagged", "rules"] = "score"
    says: str = ""
    predicted: Mapping[str, float] = field(default_factory=dict)
    bound: Mapping[str, float] = field(default_factory=dict)
    within: float = WITHIN


@dataclass(frozen=True)
class Knowledge:
    """All that an attacker knows: train with its labels, and the public test prompts with their counterfactuals."""

    inputs: Inputs

    def train(self, site: Site) -> Tensor:
        """Train activations."""
        return self.inputs.train.activations[site]

    def mean(self, site: Site) -> Tensor:
        """Their mean."""
        return self.train(site).mean(0)

    def base(self, site: Site) -> Tensor:
        """Activations of the prompts that are judged."""
        return self.inputs.data.base[site]

    def counterfactuals(self, site: Site) -> list[Tensor]:
        """Those of their counterfactuals, one tensor an edit."""
        return [found[site] for found in self.inputs.data.counterfactual.values() if site in found]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All names of the task, in the order of their indices."""
        return self.inputs.data.split.spec.names

    @cached_property
    def is_target(self) -> Tensor:
        """Of every name, whether it occurs in counterfactuals only."""
        spec = self.inputs.data.split.spec
        targets = {*spec.io_target_names, *spec.s_target_names}
        return torch.tensor([name in targets for name in self.names])

    def skyline(self, site: Site) -> Dictionary:
        """The supervised solution with its linear encoder."""
        spec, values = self.inputs.data.split.spec, self.inputs.train.values
        fitter = CodesFitter(Layout(attribute_values(spec)))
        fitter.update({site: self.train(site)}, {name: values[name] for name in ("io", "s", "pos")})
        return fitter.skylines(fitter.mean_codes())[site]


@dataclass(eq=False)
class Plain:
    """Directions, an offset, and any function for an encoder."""

    directions: Tensor
    offset: Tensor
    encoder: Callable[[Tensor], Tensor]

    @property
    def d_in(self) -> int:
        return self.directions.shape[1]

    @property
    def d_sae(self) -> int:
        return self.directions.shape[0]

    def encode(self, x: Tensor) -> Tensor:
        return self.encoder(x)

    def decode(self, f: Tensor) -> Tensor:
        return f @ self.directions + self.offset


def nearest(rows: Tensor, x: Tensor) -> Tensor:
    """Index of the nearest row."""
    return (x @ rows.T - 0.5 * rows.square().sum(1)).argmax(1)


def one_hot(index: Tensor, n: int) -> Tensor:
    """1 at the index, 0 elsewhere."""
    return torch.zeros(len(index), n).scatter_(1, index[:, None], 1.0)


def codebook(rows: Tensor, mean: Tensor, gain: float = 1.0) -> Plain:
    """One feature a row: the nearest is active, and stands for all that the row has above the mean."""
    codes = rows - mean
    return Plain(gain * codes, mean, lambda x: one_hot(nearest(codes, x - mean), len(codes)))


def known(rows: Tensor) -> Callable[[Tensor], Tensor]:
    """Whether an activation is one of these, to the last bit: how an encoder knows train (or test) when it sees it."""
    seen = set(map(bytes, rows.numpy()))
    return lambda x: torch.tensor([bytes(row) in seen for row in x.numpy()])
