"""What hooks return: small frozen records, one kind a hook. A record names a thing and says how to make or use it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from jaxtyping import Float
from torch import Tensor

from ioi_bench.dictionaries.source import Source
from ioi_bench.sites import HookPoint

if TYPE_CHECKING:
    import torch

    from ioi_bench.dictionaries.suite import Suite
    from ioi_bench.dictionary import Dictionary
    from ioi_bench.editing import EditMethod
    from ioi_bench.lm.circuit import Circuit
    from ioi_bench.lm.model import LanguageModel

__all__ = ["API_VERSION", "Baseline", "EditRecord", "LoadOptions", "Loader", "ModelRecord", "Recognised", "Reporter"]

API_VERSION = 1
"""Raised when a hook or a record changes so that plugins must change; a plugin may declare ``IOI_BENCH_API = 1``."""


@dataclass(frozen=True)
class LoadOptions:
    """What the user said of a source; what is None or absent is read from it.

    Attributes:
        hook: where the dictionaries read (``--hook``).
        arch: the architecture, where files do not tell (``--arch``).
        model: the model's name (``--model``).
        scale: a factor on the inputs (``--scale``); ``"sqrt-d"`` asks for mean norm √d_in.
        settings: what a loader asks for by name (``--set key=value``).
    """

    hook: HookPoint | None = None
    arch: str | None = None
    model: str | None = None
    scale: float | str | None = None
    settings: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class Recognised:
    """What a source is, told from names, keys, shapes and configuration: no weights are read for it.

    Attributes:
        architecture: such as ``topk``.
        hooks: where its dictionaries read; empty where the source does not say (then ``--hook`` is needed).
        d_in, d_sae: sizes, of the first dictionary where there are many.
        model: the model that it says it is for.
        normalisation: what is done to inputs, in words: ``none``, ``layer norm``, ``inputs × 1.37``.
        notes: what a user should know, a sentence each.
    """

    architecture: str
    hooks: tuple[HookPoint, ...]
    d_in: int
    d_sae: int
    model: str | None = None
    normalisation: str = "none"
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Loader:
    """A format of dictionaries on disk (hook ``ioi_bench_loaders``).

    Attributes:
        name: such as ``saelens``; ``--loader`` takes it.
        summary: one line for the list.
        recognise: None where the source is of another format. It must not raise for what is not its own; a source that
            is its own and cannot be used (a transcoder, say) is a `SuiteError` with the reason.
        load: the suite. One dictionary at a hook point is given at all roles: `Suite.at_hook`.
        keys: what ``--set`` takes, with a line of help each.
    """

    name: str
    summary: str
    recognise: Callable[[Source, LoadOptions], Recognised | None]
    load: Callable[[Source, LoadOptions], Suite]
    keys: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class EditRecord:
    """An edit method (hook ``ioi_bench_edits``): `EditInputs` and budgets in, an `Edit` out."""

    name: str
    summary: str
    edit: EditMethod


@dataclass(frozen=True)
class Baseline:
    """A dictionary fitted to a site without training an SAE (hook ``ioi_bench_baselines``): a row beside the suite's.

    Attributes:
        fit: train activations ``[prompt, d_in]`` and a seed to a dictionary.
    """

    name: str
    summary: str
    fit: Callable[[Float[Tensor, "prompt d_in"], int], Dictionary]


@dataclass(frozen=True)
class ModelRecord:
    """A model and its circuit (hook ``ioi_bench_models``): a track.

    Attributes:
        load: the model, on a device.
        circuit: its circuit.
    """

    name: str
    summary: str
    load: Callable[[torch.device | str], LanguageModel]
    circuit: Callable[[], Circuit]


@dataclass(frozen=True)
class Reporter:
    """A way to write a card (hook ``ioi_bench_reporters``).

    Attributes:
        suffix: of the file, such as ``.md``.
        write: the card (``ioi_bench.Card``) to this path.
    """

    name: str
    summary: str
    suffix: str
    write: Callable[[Any, Path], None]
