"""What every edit method takes and returns, and the train statistics that the named edits rank by (METHOD §5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ioi_bench.dictionary import AffineDecoder
from ioi_bench.errors import DictionaryError, InputError

__all__ = [
    "Edit",
    "EditInputs",
    "EditMethod",
    "FeatureStatistics",
    "apply_rounds",
    "check_budgets",
    "feature_statistics",
    "in_chunks",
    "statistics_of_sums",
    "widened",
]

_CHUNK_ELEMENTS = 1 << 20
_CACHED_ELEMENTS = 1 << 18  # what stays in a core's cache
_LEAST_CHUNK = 256  # below that, matrix products are slow
_STATISTICS_ELEMENTS = 1 << 21


@dataclass(frozen=True)
class FeatureStatistics:
    """What the features of a dictionary do on the train split; all that `aware` and `universal` may know.

    Attributes:
        f1: F1 of {feature active} against {the attribute has this value}, in [0, 1]; 0 where it is always active.
        conditional_mean: mean activation given the value, zeros included; 0 for a value that train does not contain.
        mean: mean activation over all train prompts.
    """

    f1: Float[Tensor, "value d_sae"]
    conditional_mean: Float[Tensor, "value d_sae"]
    mean: Float[Tensor, " d_sae"]

    def __post_init__(self) -> None:
        if self.f1.ndim != 2 or self.f1.shape != self.conditional_mean.shape or self.mean.shape != self.f1.shape[1:]:
            raise InputError(
                f"train statistics do not fit together: f1 {tuple(self.f1.shape)}, conditional_mean "
                f"{tuple(self.conditional_mean.shape)}, mean {tuple(self.mean.shape)}; expected [value, d_sae] twice, "
                "then [d_sae]"
            )


@torch.no_grad()
def feature_statistics(
    features: Float[Tensor, "prompt d_sae"], values: Int64[Tensor, " prompt"], n_values: int
) -> FeatureStatistics:
    """Count and average train features by the value of an attribute.

    A feature is active iff it is not 0 (METHOD §4). One that is active on every prompt tells no value from another: its
    F1 counts as 0, so that a constant feature is never taken for one that means something. Sums are kept in double
    precision; memory beyond the result is bounded, whatever the number of prompts.

    Args:
        features: train features, in the dictionary's units.
        values: index of the attribute's value on each prompt, in [0, n_values).
        n_values: number of values.

    Raises:
        InputError: no prompts, shapes that do not fit, or a value out of range.
    """
    if features.ndim != 2 or values.shape != features.shape[:1] or len(values) == 0:
        raise InputError(
            f"features {tuple(features.shape)} and values {tuple(values.shape)} do not fit: expected [prompt, d_sae] "
            "and [prompt] with at least one prompt"
        )
    _check_values("values", values, n_values)
    size = n_values * features.shape[1]
    sums, hits = torch.zeros(2, size, dtype=torch.float64, device=features.device)
    block = max(1, _STATISTICS_ELEMENTS // max(1, features.shape[1]))
    for start in range(0, len(features), block):
        part, value = features[start : start + block], values[start : start + block]
        row, column = part.nonzero(as_tuple=True)
        cell = value[row] * features.shape[1] + column
        sums += torch.bincount(cell, part[row, column].double(), minlength=size)
        hits += torch.bincount(cell, minlength=size)
    prompts = torch.bincount(values, minlength=n_values)
    return statistics_of_sums(sums.view(n_values, -1), hits.view(n_values, -1), prompts, features.dtype)


def statistics_of_sums(
    sums: Float[Tensor, "value d_sae"],
    hits: Float[Tensor, "value d_sae"],
    prompts: Int64[Tensor, " value"],
    dtype: torch.dtype = torch.float32,
) -> FeatureStatistics:
    """Statistics from what was summed by value, in double precision.

    Args:
        sums: of the features.
        hits: on how many prompts they were active.
        prompts: how many prompts have the value.
        dtype: of the result.

    A feature that is active on one prompt of two, the only one of its value:

    >>> one = torch.ones(1, 1, dtype=torch.float64)
    >>> found = statistics_of_sums(torch.cat([3 * one, 0 * one]), torch.cat([one, 0 * one]), torch.tensor([1, 1]))
    >>> found.f1.T.tolist(), found.conditional_mean.T.tolist(), found.mean.tolist()
    ([[1.0, 0.0]], [[3.0, 0.0]], [1.5])
    """
    total, each, active = prompts.sum(), prompts.double()[:, None], hits.sum(0)
    # F1 = 2·TP / (prompts of the value + prompts where active); both empty means nothing was named: 0
    f1 = 2 * hits / (each + active).clamp(min=1) * (active < total)
    return FeatureStatistics(*(x.to(dtype) for x in (f1, sums / each.clamp(min=1), sums.sum(0) / total)))


@dataclass(frozen=True)
class EditInputs:
    """One site, one attribute: base prompts, their counterfactuals, and the dictionary's features on both.

    Attributes:
        decoder: the dictionary's affine decoder.
        a_s, a_t: activations on the base prompts and on their counterfactuals, in the model's units.
        f_s, f_t: features of those activations.
        base, target: index of the edited attribute's value on the base prompt and on the counterfactual.
        train: statistics of the features on train, by the same values.

    Raises:
        DictionaryError: features or activations that do not have the decoder's sizes.
        InputError: numbers of prompts or dtypes that differ, or values out of range.
    """

    decoder: AffineDecoder
    a_s: Float[Tensor, "prompt d_in"]
    a_t: Float[Tensor, "prompt d_in"]
    f_s: Float[Tensor, "prompt d_sae"]
    f_t: Float[Tensor, "prompt d_sae"]
    base: Int64[Tensor, " prompt"]
    target: Int64[Tensor, " prompt"]
    train: FeatureStatistics

    def __post_init__(self) -> None:
        d_sae, d_in = self.decoder.directions.shape
        sizes = {"a_s": ("d_in", d_in), "a_t": ("d_in", d_in), "f_s": ("d_sae", d_sae), "f_t": ("d_sae", d_sae)}
        for name, (axis, size) in sizes.items():
            tensor: Tensor = getattr(self, name)
            if tensor.ndim != 2 or tensor.shape[1] != size:
                raise DictionaryError(
                    f"{name} has shape {tuple(tensor.shape)}, expected [prompt, {axis}] with {axis} = {size}"
                )
            if tensor.dtype != self.decoder.directions.dtype:
                raise InputError(
                    f"{name} is {tensor.dtype}, the decoder {self.decoder.directions.dtype}: convert one of them"
                )
        if self.train.f1.shape[1] != d_sae:
            raise DictionaryError(
                f"the train statistics are of {self.train.f1.shape[1]} features, the decoder has d_sae = {d_sae}: "
                "compute them with this dictionary"
            )
        lengths = {n: len(getattr(self, n)) for n in ("a_s", "a_t", "f_s", "f_t", "base", "target")}
        if len(set(lengths.values())) != 1 or not len(self):
            raise InputError(
                f"expected at least one prompt, and a counterfactual for each; got these numbers of prompts: {lengths}"
            )
        _check_values("base", self.base, len(self.train.f1))
        _check_values("target", self.target, len(self.train.f1))

    @property
    def directions(self) -> Float[Tensor, "d_sae d_in"]:
        """The decoder's directions."""
        return self.decoder.directions

    def __len__(self) -> int:
        return len(self.a_s)


@dataclass(frozen=True)
class Edit:
    """Edited activations at each budget, and the features that were changed round by round.

    Attributes:
        budgets: numbers of rounds, increasing.
        edited: ``a_s + Σ Δ`` over the first k rounds, so the error term of the dictionary stays.
        removed: the feature whose contribution in ``a_s`` the round took out, or −1.
        added: the feature whose contribution the round put in, or −1.
        added_value: the value at which it was put in, by a method that does not take the one it has in ``a_t``.
    """

    budgets: tuple[int, ...]
    edited: Float[Tensor, "budget prompt d_in"]
    removed: Int64[Tensor, "prompt round"]
    added: Int64[Tensor, "prompt round"]
    added_value: Float[Tensor, "prompt round"] | None = None

    def n_removed(self, budget: int) -> Int64[Tensor, " prompt"]:
        """Number of features removed within ``budget`` rounds.

        Raises:
            InputError: the budget is not one of this edit's.
        """
        return self._count(self.removed, budget)

    def n_added(self, budget: int) -> Int64[Tensor, " prompt"]:
        """Number of features added within ``budget`` rounds.

        Raises:
            InputError: the budget is not one of this edit's.
        """
        return self._count(self.added, budget)

    def _count(self, picks: Tensor, budget: int) -> Tensor:
        if budget not in self.budgets:
            raise InputError(f"this edit was made at budgets {self.budgets}, not at {budget}: ask for one of them")
        return (picks[:, :budget] >= 0).sum(1)


EditMethod = Callable[[EditInputs, tuple[int, ...]], Edit]
"""An edit method: inputs and budgets in, an `Edit` out. A budget k means k rounds."""


def check_budgets(budgets: tuple[int, ...]) -> None:
    """Raise `InputError` unless the budgets are positive whole numbers, strictly increasing."""
    whole = all(isinstance(k, int) and not isinstance(k, bool) and k > 0 for k in budgets)
    if not budgets or not whole or list(budgets) != sorted(set(budgets)):
        raise InputError(
            f"budgets {budgets!r} are not usable: give positive whole numbers in increasing order, such as 1,2,4"
        )


def in_chunks(inputs: EditInputs, budgets: tuple[int, ...], chunk: int | None, edit: Callable[[slice], Edit]) -> Edit:
    """Edit ``chunk`` prompts at a time.

    By default so many that ``[chunk, d_sae]`` stays in the cache, or 256, and at most about a million elements.
    """
    if chunk is not None and chunk < 1:
        raise InputError(f"a chunk of {chunk} prompts is not possible: give at least 1, or leave it out")
    d_sae = len(inputs.directions)
    step = chunk or max(1, min(_CHUNK_ELEMENTS // d_sae, max(_LEAST_CHUNK, _CACHED_ELEMENTS // d_sae)))
    parts = [edit(slice(start, start + step)) for start in range(0, len(inputs), step)]
    if len(parts) == 1:
        return parts[0]
    return Edit(
        budgets,
        torch.cat([part.edited for part in parts], 1),
        torch.cat([part.removed for part in parts]),
        torch.cat([part.added for part in parts]),
    )


def widened(picks: Tensor, rounds: int) -> Tensor:
    """Picks with −1 in the rounds for which there are no features left."""
    missing = rounds - picks.shape[1]
    return torch.nn.functional.pad(picks, (0, missing), value=-1) if missing else picks


def apply_rounds(
    inputs: EditInputs,
    budgets: tuple[int, ...],
    removed: Int64[Tensor, "prompt round"],
    added: Int64[Tensor, "prompt round"],
    added_value: Float[Tensor, "prompt round"],
) -> Edit:
    """Carry out picks that were made beforehand: ``Δ = −f_j(a_s) d_j`` and ``Δ = +added_value d_j`` each round."""
    taken = torch.where(removed >= 0, inputs.f_s.gather(1, removed.clamp(min=0)), 0)
    given = torch.where(added >= 0, added_value, 0)
    current, edited = inputs.a_s, []
    for i in range(budgets[-1]):
        current = current - taken[:, i, None] * inputs.directions[removed[:, i].clamp(min=0)]
        current = current + given[:, i, None] * inputs.directions[added[:, i].clamp(min=0)]
        if i + 1 in budgets:
            edited.append(current)
    return Edit(budgets, torch.stack(edited), removed, added)


def _check_values(name: str, values: Tensor, n_values: int) -> None:
    if values.dtype != torch.int64 or values.ndim != 1:
        given = f"{values.dtype} of shape {tuple(values.shape)}"
        raise InputError(f"{name} must be int64 indices of shape [prompt], one attribute value each; got {given}")
    low, high = int(values.min()), int(values.max())
    if low < 0 or high >= n_values:
        raise InputError(f"{name} has indices from {low} to {high}, but there are {n_values} attribute values")
