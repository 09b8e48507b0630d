"""Checks of a native architecture on disk, and the same dictionary in other precisions and on other devices."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from ioi_bench.dictionaries.architectures import Architecture
from ioi_bench.dictionaries.suite import Suite, load_suite, save_suite
from ioi_bench.errors import DictionaryError, UnknownNameError
from ioi_bench.sites import Site
from ioi_bench.testing.examples import DictionaryExample
from ioi_bench.testing.results import Check, Finding, NotApplicable
from ioi_bench.testing.tensors import require_equal

__all__ = ["STORAGE_CHECKS", "in_other_precisions", "on_device"]

_SITE = Site.parse("resid_pre.0@end")
_PRECISIONS = (torch.float16, torch.bfloat16, torch.float64)
_SMALL = 256 * 2**20


def in_other_precisions(dictionary: Any) -> Iterator[tuple[str, Any]]:
    """A native dictionary with its weights in every precision into which they fit, one by one; nothing for others."""
    if not isinstance(dictionary, Architecture):
        return
    for dtype in _PRECISIONS:
        try:
            converted = _with_tensors(dictionary, partial(Tensor.to, dtype=dtype))
        except DictionaryError:  # a weight beyond the range of float16
            continue
        yield f"in {dtype}", converted


def on_device(dictionary: Any, device: str) -> Any:
    """The dictionary on a device.

    Raises:
        NotApplicable: there is no telling how to move it.
    """
    if isinstance(dictionary, Architecture):
        return _with_tensors(dictionary, partial(Tensor.to, device=device))
    if isinstance(dictionary, torch.nn.Module):
        return copy.deepcopy(dictionary).to(device)
    raise NotApplicable("it is neither a native architecture nor a torch module, so it cannot be moved from here")


def _with_tensors(dictionary: Architecture, change: Callable[[Tensor], Tensor]) -> Architecture:
    changes: dict[str, Any] = {name: change(tensor) for name, tensor in dictionary.tensors.items()}
    return replace(dictionary, **changes)


def _serialisation(case: DictionaryExample) -> None:
    d = case.dictionary
    if not isinstance(d, Architecture):
        raise NotApplicable("it is not a native architecture: its loader is what reads it from disk")
    if sum(tensor.nbytes for tensor in d.tensors.values()) > _SMALL:
        raise NotApplicable(f"it has more than {_SMALL // 2**20} MB: give a smaller one of its class to check this")
    suite = Suite("conformance", "any", {_SITE: d}, metadata={"checked": True})
    with TemporaryDirectory() as folder:
        for name in ("suite", "suite.safetensors"):
            save_suite(suite, Path(folder) / name)
            try:
                read = load_suite(Path(folder) / name)
            except UnknownNameError as error:
                raise Finding(str(error), "register the class with the hook ioi_bench_architectures") from error
            _require_same(suite, read, case)


def _require_same(suite: Suite, read: Suite, case: DictionaryExample) -> None:
    advice = "declare every tensor in `axes` and everything else in `settings`, and convert nothing when made"
    before, after = suite.dictionaries[_SITE], read.dictionaries[_SITE]
    if type(after) is not type(before) or not isinstance(before, Architecture) or not isinstance(after, Architecture):
        raise Finding(f"a {type(after).__name__} after loading", "give every architecture a name of its own")
    for name, tensor in before.tensors.items():
        if after.tensors[name].dtype != tensor.dtype:
            raise Finding(f"{name} of {after.tensors[name].dtype}, not {tensor.dtype}, after loading", advice)
        require_equal(f"{name} before and after", tensor, after.tensors[name], advice)
    require_equal("features before and after", before.encode(case.x()), after.encode(case.x()), advice)
    require_equal("reconstructions before and after", before.decode(case.codes()), after.decode(case.codes()), advice)
    if read.sha256 != suite.sha256:
        raise Finding("another sha256 after loading", advice)


STORAGE_CHECKS = (Check("serialisation", "save_suite and load_suite give back the same dictionary", _serialisation),)
