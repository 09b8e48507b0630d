"""Records of third parties, wrapped: what their functions raise or wrongly return becomes an error that names them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from types import NoneType
from typing import Any, TypeVar

import torch
from torch import Tensor

from ioi_bench.dictionaries.suite_content import Suite
from ioi_bench.dictionary import Dictionary
from ioi_bench.editing import Edit, EditInputs
from ioi_bench.errors import IoiBenchError, PluginError, StorageError
from ioi_bench.lm.circuit import Circuit
from ioi_bench.lm.model import LanguageModel
from ioi_bench.plugins.records import (
    Baseline,
    EditRecord,
    FitInputs,
    Loader,
    MetricInputs,
    MetricRecord,
    ModelRecord,
    Recognised,
    Record,
    Reporter,
)

__all__ = ["guarded"]

R = TypeVar("R", bound=Record)

_RETURNS: dict[tuple[type, str], tuple[type, ...]] = {
    (Loader, "recognise"): (Recognised, NoneType),
    (Loader, "load"): (Suite,),
    (EditRecord, "edit"): (Edit,),
    (MetricRecord, "measure"): (Tensor,),
    (Baseline, "fit"): (Dictionary,),
    (Baseline, "fit_all"): (Mapping,),
    (Baseline, "edit"): (Edit,),
    (Baseline, "model"): (LanguageModel,),
    (ModelRecord, "load"): (LanguageModel,),
    (ModelRecord, "circuit"): (Circuit,),
    (Reporter, "write"): (object,),
}


def guarded(record: R, word: str, plugin: str) -> R:
    """The record with its functions wrapped; ``word`` is its kind, for messages."""
    who = f"the {word} {record.name!r} of the plugin {plugin!r}"
    wrapped: dict[str, Any] = {
        field.name: _wrapped(getattr(record, field.name), who, _RETURNS[type(record), field.name])
        for field in fields(record)
        if (type(record), field.name) in _RETURNS and getattr(record, field.name) is not None
    }
    return replace(record, **wrapped)


def _wrapped(function: Callable[..., Any], who: str, returns: tuple[type, ...]) -> Callable[..., Any]:
    @functools.wraps(function, updated=())
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            found = function(*args, **kwargs)
        except (IoiBenchError, MemoryError):
            raise
        except OSError as error:
            raise StorageError(f"{who} met the file system's refusal: {error}") from error
        except Exception as error:
            raise PluginError(
                f"{who} failed: {type(error).__name__}: {error}; tell its author (--debug shows where)"
            ) from error
        if not isinstance(found, returns):
            expected = " or ".join(kind.__name__ for kind in returns)
            raise PluginError(f"{who} returned {_told(found)}, expected {expected}")
        wrong = _misshapen(found, args)
        if wrong:
            raise PluginError(f"{who} returned {wrong}")
        return found

    return call


def _misshapen(found: object, args: tuple[Any, ...]) -> str:
    """What is wrong with the shape of an edit or of a metric's values; empty if nothing is."""
    if isinstance(found, Edit) and args and isinstance(args[0], EditInputs):
        inputs, budgets = args
        expected = (len(budgets), *inputs.a_s.shape)
        if found.budgets != budgets or tuple(found.edited.shape) != expected:
            given = f"an edit of shape {list(found.edited.shape)} at the budgets {found.budgets}"
            return f"{given}, expected {list(expected)} at {budgets}"
        if len(found.removed) != len(inputs) or len(found.added) != len(inputs):
            return f"picks for {len(found.removed)} and {len(found.added)} prompts, expected {len(inputs)}"
        if not found.edited.isfinite().all():
            return "edited activations with NaN or Inf in them"
    if isinstance(found, Mapping) and args and isinstance(args[0], FitInputs):
        lacking = [site for site in args[0].sites if not isinstance(found.get(site), Dictionary)]
        return f"no dictionary for {lacking[0]}, expected one for each of {len(args[0].sites)} sites" if lacking else ""
    if isinstance(found, Tensor) and args and isinstance(args[0], MetricInputs):
        n = len(args[0].edited_logits)
        if tuple(found.shape) != (n,) or found.dtype == torch.bool or found.is_complex():
            return f"values of shape {list(found.shape)} and {found.dtype}, expected one real number a prompt, [{n}]"
    return ""


def _told(found: object) -> str:
    return "nothing" if found is None else f"something of type {type(found).__name__}"
