"""Checking a metric: one number a prompt, of that prompt alone (METHOD §6)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor

from ioi_bench.errors import InputError
from ioi_bench.testing.results import Case, Check, Finding, require_all
from ioi_bench.testing.tensors import (
    require_close,
    require_equal,
    require_shape,
    require_state_kept,
    require_unchanged,
)

__all__ = ["MetricCase", "check_metric"]

Metric = Callable[..., Float[Tensor, " prompt"]]
"""A metric's values per prompt; tensors are passed by name."""


@dataclass(frozen=True, eq=False)
class MetricCase:
    """A metric and the tensors on which it is checked.

    Attributes:
        metric: called with the arguments by name; gives ``[prompt]``.
        arguments: tensors of at least three prompts that differ.
        axes: along which axis an argument has its prompts; None where it is shared by all. 0 where nothing is said.
        may_be_nan: whether the metric says that it is NaN on some prompts.
        name: for messages; by default the function's name.

    Raises:
        InputError: too few prompts, or different numbers of them.
    """

    metric: Metric
    arguments: Mapping[str, Tensor]
    axes: Mapping[str, int | None] = field(default_factory=lambda: MappingProxyType({}))
    may_be_nan: bool = False
    name: str = ""

    def __post_init__(self) -> None:
        lengths = {name: self.arguments[name].shape[axis] for name, axis in self._axes.items() if axis is not None}
        if not set(self.axes) <= set(self.arguments):
            raise InputError(f"axes are given for {', '.join(self.axes)}; arguments are {', '.join(self.arguments)}")
        if len(set(lengths.values())) != 1 or min(lengths.values()) < 3:
            raise InputError(
                f"give arguments of at least three prompts, as many in each; found {lengths} (say in `axes` along "
                "which axis an argument has its prompts, or None for one that is shared)"
            )

    @property
    def _axes(self) -> dict[str, int | None]:
        return {name: self.axes.get(name, 0) for name in self.arguments}

    @property
    def subject(self) -> str:
        """What it is called in messages."""
        return f"metric {self.name or getattr(self.metric, '__name__', repr(self.metric))}"

    @property
    def checks(self) -> Sequence[Check]:
        """All checks of a metric."""
        return METRIC_CHECKS

    def further(self) -> Iterable[Case]:
        """Nothing."""
        return ()

    @property
    def n_prompts(self) -> int:
        """Prompts in the arguments."""
        return next(self.arguments[name].shape[axis] for name, axis in self._axes.items() if axis is not None)

    def of(self, prompts: Tensor) -> dict[str, Tensor]:
        """The arguments of these prompts, fresh at every call."""
        return {
            name: self.arguments[name].clone() if axis is None else self.arguments[name].index_select(axis, prompts)
            for name, axis in self._axes.items()
        }

    def all(self) -> dict[str, Tensor]:
        """The arguments of all prompts, fresh at every call."""
        return self.of(torch.arange(self.n_prompts))


def check_metric(
    metric: Metric,
    arguments: Mapping[str, Tensor],
    *,
    axes: Mapping[str, int | None] | None = None,
    may_be_nan: bool = False,
) -> None:
    """Raise unless the metric gives each prompt a number of its own: for a test of your own.

    Args:
        metric: called with the arguments by name; gives ``[prompt]``.
        arguments: tensors of at least three prompts that differ.
        axes: along which axis an argument has its prompts (0 where nothing is said), None for one that is shared.
        may_be_nan: whether the metric says that it is NaN on some prompts.

    >>> check_metric(lambda a, b: (a - b).norm(dim=-1), {"a": torch.eye(3), "b": torch.ones(3, 3)})

    Raises:
        ConformanceError: an `AssertionError`: what was checked, what was found, what to do.
        InputError: arguments on which nothing can be checked.
    """
    require_all(MetricCase(metric, arguments, axes or {}, may_be_nan))


def _shape(case: MetricCase) -> None:
    require_shape("the value", case.metric(**case.all()), (case.n_prompts,), "[prompt]")


def _dtype(case: MetricCase) -> None:
    value = case.metric(**case.all())
    if not value.is_floating_point():
        raise Finding(f"values of {value.dtype}", "return .float(), also of what is true or false: means are taken")


def _finite(case: MetricCase) -> None:
    value = case.metric(**case.all())
    infinite, nan = int(value.isinf().sum()), int(value.isnan().sum())
    if infinite or (nan and not case.may_be_nan):
        raise Finding(
            f"{infinite} Inf and {nan} NaN in {len(value)} values",
            "return NaN where the value is undefined, say so in the docstring and pass may_be_nan=True; never Inf",
        )
    if nan == len(value):
        raise Finding("NaN on every prompt", "pass arguments on which the metric is defined")


def _inputs_unchanged(case: MetricCase) -> None:
    arguments = case.all()
    require_unchanged(arguments, lambda: case.metric(**arguments))


def _determinism(case: MetricCase) -> None:
    first, second = case.metric(**case.all()).clone(), case.metric(**case.all())
    require_equal("two values of the same arguments", first, second, "draw nothing at random")


def _statelessness(case: MetricCase) -> None:
    value = case.metric(**case.all())
    before = value.clone()
    advice = "keep nothing between calls, and return a new tensor"
    case.metric(**case.of(torch.arange(case.n_prompts).flip(0)))
    require_equal("values that were returned, and the same tensor after another call,", before, value, advice)
    case.metric(**case.of(torch.tensor([1, 0])))
    require_equal("values before and after other prompts", before, case.metric(**case.all()), advice)


def _batch_invariance(case: MetricCase) -> None:
    whole, n = case.metric(**case.all()), case.n_prompts
    advice = "take no mean, maximum or rank over prompts: means are taken afterwards, with their interval"
    alone = torch.cat([case.metric(**case.of(torch.tensor([i]))) for i in range(n)])
    require_close("values of prompts alone and together", alone[:, None], whole[:, None], advice)
    order = torch.arange(n).flip(0)
    reverse = case.metric(**case.of(order))
    require_close("values of prompts in another order", reverse[:, None], whole[order][:, None], advice)
    half = case.metric(**case.of(torch.arange(n // 2 + 1)))
    require_close("values of the first half alone and with the rest", half[:, None], whole[: len(half), None], advice)


def _global_state(case: MetricCase) -> None:
    require_state_kept("the metric", lambda: case.metric(**case.all()))


METRIC_CHECKS = (
    Check("shape", "it gives one value a prompt", _shape, essential=True),
    Check("dtype", "values are floating point", _dtype, essential=True),
    Check("inputs-unchanged", "arguments are left as they are", _inputs_unchanged),
    Check("determinism", "the same arguments give the same values, bit for bit", _determinism),
    Check("statelessness", "no call changes what another returns", _statelessness),
    Check("finite", "values are finite, or NaN where the metric says so", _finite),
    Check("batch-invariance", "a prompt's value does not depend on the other prompts", _batch_invariance),
    Check("global-state", "the process's settings and random generators are left alone", _global_state),
)
