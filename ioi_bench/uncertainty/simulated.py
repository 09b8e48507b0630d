"""Benchmarks made up from a model whose truth is known, to check intervals against (docs/uncertainty.md).

Whether an edit is right in a prompt is a probit: a threshold on a normal variable that is a sum of effects of the IO
name, of the S name, of the pair of them, and of the prompt. A weight is the exponential of another such sum: its tail
is heavier than on any reference card. Half of each variable is shared by all edits of a cell, so that dictionaries
are compared on prompts that are hard for both. The shares of the variance are those of `NAMED`, measured on the
reference cards. Given the effects of names and pairs, population means over all pairs of names have closed forms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ioi_bench.evaluation.runs import COLUMNS
from ioi_bench.evaluation.score import NULL_SEEDS, SCORED_BUDGETS
from ioi_bench.evaluation.study import CellTable, Key
from ioi_bench.evaluation.summary import NO_EDIT, SKYLINE

__all__ = ["CONDITIONS", "Benchmark", "Condition", "simulate"]

Three = tuple[float, float, float]

A, B = "a", "b"
"""The two dictionaries of a simulated benchmark, as edit methods of its tables."""

_ACCURACY, _WEIGHT = COLUMNS.index("accuracy"), COLUMNS.index("weight_removed")
_COLUMNS = _WEIGHT + 1  # those after it are not needed
_SKYLINE_WEIGHT = 0.6


@dataclass(frozen=True)
class Shares:
    """Shares of a variable's variance: effects of the IO name, the S name and the pair; the rest is the prompt's."""

    io: float
    s: float
    pair: float

    @property
    def prompt(self) -> float:
        """What differs between prompts with the same names."""
        return 1 - self.io - self.s - self.pair


NAMED: Mapping[str, Shares] = {"accuracy": Shares(0.03, 0.09, 0.02), "weight": Shares(0.02, 0.15, 0.02)}
"""As on the reference cards of ioi-mini; a probit's shares are on its latent scale."""


@dataclass(frozen=True)
class Condition:
    """What is true in all cells, over all names: accuracies and mean weights at budgets 1, 2 and 4.

    Attributes:
        a, b: accuracies of the two dictionaries.
        null: of their matched random dictionaries.
        weight: mean weight removed, of the dictionaries and the random ones; the skyline's is 0.6.
        spread: σ of the logarithm of a weight.
    """

    name: str
    a: Three
    b: Three
    null: Three = (0.04, 0.08, 0.15)
    weight: Three = (0.45, 0.6, 0.75)
    no_edit: float = 0.02
    skyline: float = 0.98
    spread: float = 0.8
    named: Mapping[str, Shares] = field(default_factory=lambda: NAMED)


CONDITIONS: Mapping[str, Condition] = {
    one.name: one
    for one in (
        Condition("half", (0.35, 0.5, 0.65), (0.3, 0.47, 0.63)),
        Condition("high", (0.8, 0.9, 0.94), (0.77, 0.89, 0.95)),
        Condition("near one", (0.96, 0.99, 0.995), (0.97, 0.985, 0.996)),
        Condition("equal budgets", (0.6, 0.6, 0.6), (0.6, 0.6, 0.6), weight=(0.4, 0.4, 0.4)),
        Condition("no gain", (0.02, 0.02, 0.02), (0.03, 0.03, 0.03), null=(0.02, 0.02, 0.02)),
        Condition("as random", (0.3, 0.4, 0.5), (0.3, 0.4, 0.5), null=(0.3, 0.4, 0.5)),
    )
}
"""Where the score bends: a mean weight at the clip of x, budgets of one value under the max, no value at all, the
value of the random dictionaries."""


@dataclass(frozen=True)
class Benchmark:
    """What one simulated evaluation found, and what is true.

    Attributes:
        pairs: of names, by prompt, in the order of the two names' numbers.
        tables: one a cell; dictionaries are its methods ``a`` and ``b``, and so are those of the nulls.
        truth: the same tables' means over all prompts with these names, as tables of one prompt.
        beyond: over all names that there could be.
    """

    io: Int64[Tensor, " prompt"]
    s: Int64[Tensor, " prompt"]
    tables: tuple[CellTable, ...]
    truth: tuple[CellTable, ...]
    beyond: tuple[CellTable, ...]

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """The cluster of each prompt: its two names, in no order."""
        both = torch.stack([self.io, self.s])
        return list(zip(both.amin(0).tolist(), both.amax(0).tolist(), strict=True))


def simulate(condition: Condition, *, prompts: int, cells: int = 5, names: int = 108, seed: int = 0) -> Benchmark:
    """Draw names' effects, prompts and results.

    Args:
        condition: what is true.
        prompts: how many; the IO name is any name, the S name any other.
        cells: all alike, with effects of their own.
        names: 108 is the number of base names of ``ioi-v1``.
        seed: decides everything.
    """
    generator = torch.Generator().manual_seed(seed)
    io = torch.randint(names, (prompts,), generator=generator)
    s = (io + torch.randint(1, names, (prompts,), generator=generator)) % names
    accuracy, weight, spread = _marginals(condition)
    drawn, true, beyond = [], [], []
    for _ in range(cells):
        known, noise = _variable(condition.named["accuracy"], len(accuracy), names, io, s, generator)
        threshold = torch.special.ndtri(accuracy.double())
        rest = condition.named["accuracy"].prompt
        right = (threshold + known[:, io, s].T + noise.T > 0).double()
        right_given = _over_pairs(torch.special.ndtr((threshold[:, None, None] + known) / rest**0.5))
        known, noise = _variable(condition.named["weight"], len(accuracy), names, io, s, generator)
        rest = condition.named["weight"].prompt
        weights = weight * torch.exp(spread * (known[:, io, s].T + noise.T) - spread**2 / 2)
        wide = spread[:, None, None]
        weight_given = _over_pairs(weight[:, None, None] * torch.exp(wide * known - wide**2 * (1 - rest) / 2))
        drawn.append(_table(right, weights))
        true.append(_table(right_given[None], weight_given[None]))
        beyond.append(_table(accuracy[None], weight[None]))
    return Benchmark(io, s, tuple(drawn), tuple(true), tuple(beyond))


_KEYS: tuple[Key, ...] = (NO_EDIT, SKYLINE, *((method, k) for method in (A, B) for k in SCORED_BUDGETS))
_NULL_KEYS: tuple[Key, ...] = tuple((method, k) for method in (A, B) for k in SCORED_BUDGETS)


def _marginals(condition: Condition) -> tuple[Tensor, Tensor, Tensor]:
    """Accuracy, mean weight and spread of every edit, and of the nulls' after them: one random dictionary a seed."""
    dictionaries, random = (*condition.a, *condition.b), condition.null * NULL_SEEDS
    accuracy = torch.tensor((condition.no_edit, condition.skyline, *dictionaries, *random), dtype=torch.float64)
    weights = (0.0, _SKYLINE_WEIGHT, *condition.weight * (2 + NULL_SEEDS))
    spread = torch.full_like(accuracy, condition.spread)
    spread[1] = condition.spread / 4
    return accuracy, torch.tensor(weights, dtype=torch.float64), spread


def _variable(
    shares: Shares, edits: int, names: int, io: Tensor, s: Tensor, generator: torch.Generator
) -> tuple[Float[Tensor, "edit name name"], Float[Tensor, "edit prompt"]]:
    """Standard normal variables of all edits: what the names decide, and what the prompt adds."""

    def half_shared(*shape: int) -> Tensor:
        own, shared = (torch.randn(n, *shape, generator=generator) for n in (edits, 1))
        return (own + shared) * 0.5**0.5

    pair = half_shared(names, names)
    pair = pair.triu() + pair.triu(1).transpose(-1, -2)  # a pair is one pair in either order
    named = shares.io**0.5 * half_shared(names)[:, :, None] + shares.s**0.5 * half_shared(names)[:, None, :]
    known = named + shares.pair**0.5 * pair
    return known.double(), shares.prompt**0.5 * half_shared(len(io)).double()


def _over_pairs(given: Float[Tensor, "edit name name"]) -> Float[Tensor, " edit"]:
    """The mean over all ordered pairs of different names."""
    names = given.shape[-1]
    total = given.sum((-1, -2)) - given.diagonal(dim1=-2, dim2=-1).sum(-1)
    return total / (names * (names - 1))


def _table(accuracy: Float[Tensor, "prompt edit"], weight: Float[Tensor, "prompt edit"]) -> CellTable:
    """Results as a table; both dictionaries have the same random ones."""
    columns = accuracy.new_zeros(*accuracy.shape, _COLUMNS)
    columns[..., _ACCURACY], columns[..., _WEIGHT] = accuracy, weight
    edits, null = columns[:, : len(_KEYS)], columns[:, len(_KEYS) :].unflatten(1, (NULL_SEEDS, -1))
    return CellTable(_KEYS, edits, _NULL_KEYS, torch.cat([null, null], 2))
