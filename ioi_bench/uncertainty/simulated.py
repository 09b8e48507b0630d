"""Benchmarks made up from a model whose truth is known, to check intervals against (docs/uncertainty.md).

Whether an edit is right in a prompt is a probit: a threshold on a normal variable that is a sum of effects of the IO
name, of the S name, of the pair of them, and of the prompt. A weight is the exponential of another such sum, and how
far an edit moves that of twice the same: their product has a heavier tail than on any reference card. Half of each
variable is shared by all edits of a cell, so that dictionaries are compared on prompts that are hard for both. The
shares of the variance are those of `NAMED`, measured on the reference cards. Given the effects of names and pairs,
population means over all pairs of names have closed forms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ioi_bench.evaluation.runs import COLUMNS
from ioi_bench.evaluation.score import NULL_SEEDS, SCORED_BUDGETS
from ioi_bench.evaluation.study import CellTable, Key
from ioi_bench.evaluation.summary import NO_EDIT, SKYLINE

__all__ = ["CONDITIONS", "NAMED", "A", "B", "Benchmark", "Condition", "Shares", "simulate"]

Three = tuple[float, float, float]

A, B = "a", "b"
"""The two dictionaries of a simulated benchmark, as edit methods of its tables."""

_ACCURACY, _WEIGHT = COLUMNS.index("accuracy"), COLUMNS.index("weight")
_MOVED = COLUMNS.index("moved")
_COLUMNS = _MOVED + 1  # those after it are not needed
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
    """What is true over all names: accuracies and mean weights at budgets 1, 2 and 4.

    Attributes:
        a, b: accuracies of the two dictionaries, in every cell.
        null: of their matched random dictionaries.
        weight: mean weight of the edit, of the dictionaries and the random ones; the skyline's is 0.6.
        apart: how far a cell's weights are from these; one cell each.
        bend: what is true exactly where the score bends, in all cells at once; else empty.
        spread: σ of the logarithm of a weight; how far an edit moves has twice that.
    """

    name: str
    a: Three
    b: Three
    null: Three = (0.04, 0.08, 0.15)
    weight: Three = (0.3, 0.45, 0.65)
    apart: tuple[float, ...] = (0.08, -0.1, 0.0, 0.05, -0.05)
    bend: str = ""
    no_edit: float = 0.02
    skyline: float = 0.98
    spread: float = 0.4


_ALIKE = (0.0,) * 5
_LIGHT: Three = (0.4, 0.4, 0.4)

CONDITIONS: Mapping[str, Condition] = {
    one.name: one
    for one in (
        Condition("half", (0.35, 0.5, 0.65), (0.3, 0.47, 0.63)),
        Condition("high", (0.8, 0.9, 0.94), (0.77, 0.89, 0.95)),
        Condition("near one", (0.96, 0.99, 0.995), (0.97, 0.985, 0.996)),
        Condition("low", (0.03, 0.1, 0.2), (0.04, 0.09, 0.22)),
        Condition(
            "at the clip",
            (0.8, 0.9, 0.94),
            (0.77, 0.89, 0.95),
            weight=(0.45, _SKYLINE_WEIGHT, 0.75),
            apart=_ALIKE,
            bend="w_2 = w_sky, where x is clipped",
        ),
        Condition(
            "equal budgets",
            (0.6, 0.6, 0.6),
            (0.6, 0.6, 0.6),
            weight=_LIGHT,
            apart=_ALIKE,
            bend="v_1 = v_2 = v_4, under the maximum",
        ),
        Condition(
            "no gain",
            (0.02, 0.02, 0.02),
            (0.02, 0.02, 0.02),
            null=(0.02, 0.02, 0.02),
            weight=_LIGHT,
            apart=_ALIKE,
            bend="v = 0, where S is clipped",
        ),
        Condition("as random", (0.3, 0.4, 0.5), (0.3, 0.4, 0.5), null=(0.3, 0.4, 0.5), bend="S = S_null"),
    )
}
"""What cards show, and what is hardest for a bootstrap."""


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


def simulate(condition: Condition, *, prompts: int, names: int = 108, seed: int = 0) -> Benchmark:
    """Draw names' effects, prompts and results.

    Args:
        condition: what is true.
        prompts: how many; the IO name is any name, the S name any other.
        cells: all alike, with effects of their own.
        names: how many there are; 108 is the number of base names of ``ioi-v1``.
        seed: decides everything.
    """
    generator = torch.Generator().manual_seed(seed)
    io = torch.randint(names, (prompts,), generator=generator)
    s = (io + torch.randint(1, names, (prompts,), generator=generator)) % names
    accuracy, spread = _marginals(condition)
    threshold, wide = torch.special.ndtri(accuracy), spread[:, None, None]
    drawn, true, beyond = [], [], []
    for apart in condition.apart:
        weight = _weights(condition, apart)
        rest = NAMED["accuracy"].prompt
        known, noise = _variable(NAMED["accuracy"], len(accuracy), names, prompts, generator)
        right = (threshold + known[:, io, s].T + noise.T > 0).double()
        right_given = _over_pairs(torch.special.ndtr((threshold[:, None, None] + known) / rest**0.5))
        rest = NAMED["weight"].prompt
        known, noise = _variable(NAMED["weight"], len(accuracy), names, prompts, generator)
        variable = known[:, io, s].T + noise.T
        # E m = 1 and E m w = E m · weight: the mean of the weight, by how far an edit moves, is the condition's.
        moved = torch.exp(2 * spread * variable - 2 * spread**2)
        weights = weight * torch.exp(spread * variable - 2.5 * spread**2)
        moved_given = _over_pairs(torch.exp(2 * wide * known - 2 * wide**2 * (1 - rest)))
        both_given = _over_pairs(torch.exp(3 * wide * known - 4.5 * wide**2 * (1 - rest)))
        drawn.append(_table(right, weights, moved))
        true.append(_table(right_given[None], (weight * both_given / moved_given)[None], moved_given[None]))
        beyond.append(_table(accuracy[None], weight[None], torch.ones_like(weight)[None]))
    return Benchmark(io, s, tuple(drawn), tuple(true), tuple(beyond))


_KEYS: tuple[Key, ...] = (NO_EDIT, SKYLINE, *((method, k) for method in (A, B) for k in SCORED_BUDGETS))
_NULL_KEYS: tuple[Key, ...] = tuple((method, k) for method in (A, B) for k in SCORED_BUDGETS)


def _marginals(condition: Condition) -> tuple[Tensor, Tensor]:
    """Accuracy and spread of every edit, and of the nulls' after them: one random dictionary a seed."""
    accuracies = (condition.no_edit, condition.skyline, *condition.a, *condition.b, *condition.null * NULL_SEEDS)
    accuracy = torch.tensor(accuracies, dtype=torch.float64)
    spread = torch.full_like(accuracy, condition.spread)
    spread[_KEYS.index(SKYLINE)] = condition.spread / 4
    return accuracy, spread


def _weights(condition: Condition, apart: float) -> Float[Tensor, " edit"]:
    """Mean weights of the same edits, in one cell."""
    own = [weight + apart for weight in condition.weight] * (2 + NULL_SEEDS)
    return torch.tensor([0.0, _SKYLINE_WEIGHT, *own], dtype=torch.float64)


def _variable(
    shares: Shares, edits: int, names: int, prompts: int, generator: torch.Generator
) -> tuple[Float[Tensor, "edit name name"], Float[Tensor, "edit prompt"]]:
    """Standard normal variables of all edits: what the names decide, and what the prompt adds."""

    def half_shared(*shape: int) -> Tensor:
        own, shared = (torch.randn(n, *shape, generator=generator) for n in (edits, 1))
        return (own + shared) * 0.5**0.5

    pair = half_shared(names, names)
    pair = pair.triu() + pair.triu(1).transpose(-1, -2)  # a pair is one pair in either order
    named = shares.io**0.5 * half_shared(names)[:, :, None] + shares.s**0.5 * half_shared(names)[:, None, :]
    known = named + shares.pair**0.5 * pair
    return known.double(), shares.prompt**0.5 * half_shared(prompts).double()


def _over_pairs(given: Float[Tensor, "edit name name"]) -> Float[Tensor, " edit"]:
    """The mean over all ordered pairs of different names."""
    names = given.shape[-1]
    total = given.sum((-1, -2)) - given.diagonal(dim1=-2, dim2=-1).sum(-1)
    return total / (names * (names - 1))


def _table(
    accuracy: Float[Tensor, "prompt edit"], weight: Float[Tensor, "prompt edit"], moved: Float[Tensor, "prompt edit"]
) -> CellTable:
    """Results as a table; both dictionaries have the same random ones."""
    columns = accuracy.new_zeros(*accuracy.shape, _COLUMNS)
    columns[..., _ACCURACY], columns[..., _WEIGHT], columns[..., _MOVED] = accuracy, weight, moved
    edits, null = columns[:, : len(_KEYS)], columns[:, len(_KEYS) :].unflatten(1, (NULL_SEEDS, -1))
    return CellTable(_KEYS, edits, _NULL_KEYS, torch.cat([null, null], 2))
