"""What hooks return: small frozen records, one kind a hook. A record names a thing and says how to make or use it.

Names are lower case, with digits, dots, dashes and underscores; summaries are one line. What a record's functions
raise reaches the user as a `PluginError` that names the record and its plugin.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from jaxtyping import Float, Int64
from torch import Tensor

from ioi_bench.dictionaries.architectures import Architecture
from ioi_bench.dictionaries.source import Source
from ioi_bench.errors import PluginError
from ioi_bench.sites import Cell, HookPoint, Site

if TYPE_CHECKING:
    import torch

    from ioi_bench.dictionaries.suite import Suite
    from ioi_bench.dictionary import Dictionary
    from ioi_bench.editing import EditMethod
    from ioi_bench.lm.circuit import Circuit
    from ioi_bench.lm.model import LanguageModel
    from ioi_bench.task import Split

__all__ = [
    "API_VERSION",
    "ArchitectureRecord",
    "Baseline",
    "EditRecord",
    "FitInputs",
    "LoadOptions",
    "Loader",
    "MetricInputs",
    "MetricRecord",
    "ModelRecord",
    "Recognised",
    "Record",
    "Reporter",
]

API_VERSION = 1
"""Raised when a hook or a record changes so that plugins must change; a plugin may declare ``IOI_BENCH_API = 1``."""


@dataclass(frozen=True)
class Record:
    """What all records share.

    Attributes:
        name: what the user calls it by.
        summary: one line for the lists.
    """

    name: str
    summary: str


@dataclass(frozen=True)
class LoadOptions:
    """What the user said of a source; what is None or absent is read from it.

    Attributes:
        hook: where the dictionaries read (``--hook``).
        arch: the architecture, where files do not tell (``--arch``).
        model: the model's name (``--model``).
        scale: a factor on the inputs (``--scale``); ``"sqrt-d"`` asks for mean norm √d_in. It is applied to what a
            loader gives; `Loader.load` does not see it.
        settings: what a loader asks for by name (``--set key=value``).
    """

    hook: HookPoint | None = None
    arch: str | None = None
    model: str | None = None
    scale: float | str | None = None
    settings: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def said(self) -> dict[str, str]:
        """What was said, as text: for the card."""
        given = {"hook": self.hook, "arch": self.arch, "scale": self.scale}
        told = {name: str(value) for name, value in given.items() if value is not None}
        return told | {f"set {key}": value for key, value in self.settings.items()}

    def overridden(self, given: LoadOptions) -> LoadOptions:
        """These, except where ``given`` says otherwise."""
        said = {name: value for name, value in vars(given).items() if value is not None and name != "settings"}
        return replace(self, **said, settings={**self.settings, **given.settings})


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
        sites: where its dictionaries stand, if the source names roles; by default every role of its hooks.
    """

    architecture: str
    hooks: tuple[HookPoint, ...]
    d_in: int
    d_sae: int
    model: str | None = None
    normalisation: str = "none"
    notes: tuple[str, ...] = ()
    sites: tuple[Site, ...] = ()


@dataclass(frozen=True)
class Loader(Record):
    """A format of dictionaries on disk (hook ``ioi_bench_loaders``).

    Attributes:
        name: such as ``saelens``; ``--loader`` takes it.
        recognise: None where the source is of another format. It must not raise for what is not its own; a source that
            is its own and cannot be used (a transcoder, say) is a `SuiteError` with the reason.
        load: the suite. One dictionary at a hook point is given at all roles: `Suite.at_hook`.
        keys: what ``--set`` takes, with a line of help each.
        generic: it recognises by common signs alone, such as names of tensors; it is asked only where no other loader
            knows the source.
    """

    recognise: Callable[[Source, LoadOptions], Recognised | None]
    load: Callable[[Source, LoadOptions], Suite]
    keys: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    generic: bool = False


@dataclass(frozen=True)
class ArchitectureRecord(Record):
    """An architecture of the native format (hook ``ioi_bench_architectures``).

    Attributes:
        name: what ``suite.json`` calls it; the class's own ``name``.
        cls: the class.

    Raises:
        PluginError: the class is no `Architecture`, or calls itself otherwise.
    """

    cls: type[Architecture]

    def __post_init__(self) -> None:
        if not (isinstance(self.cls, type) and issubclass(self.cls, Architecture)):
            raise PluginError(f"the architecture {self.name!r} is {self.cls!r}, expected a subclass of Architecture")
        if getattr(self.cls, "name", None) != self.name:
            raise PluginError(
                f"the architecture {self.name!r} has a class that calls itself {getattr(self.cls, 'name', None)!r}: "
                "set its class attribute `name` to the same text"
            )


@dataclass(frozen=True)
class MetricInputs:
    """What a metric sees: some prompts of one cell, under one edit.

    Attributes:
        cell: the cross-section and the attributes edited there.
        edited_logits: at END, under the edit.
        clean_logits: at END, of the run without an edit.
        counterfactual_logits: at END, under the ground-truth patch (METHOD §6): the counterfactual's activations in the
            same sites.
        edited, clean, counterfactual: the activations that were written, at each site of the cell.
        names: tokens of the base's IO and S and of the counterfactual's IO and S.
    """

    cell: Cell
    edited_logits: Float[Tensor, "prompt vocab"]
    clean_logits: Float[Tensor, "prompt vocab"]
    counterfactual_logits: Float[Tensor, "prompt vocab"]
    edited: Mapping[Site, Float[Tensor, "prompt d_in"]]
    clean: Mapping[Site, Float[Tensor, "prompt d_in"]]
    counterfactual: Mapping[Site, Float[Tensor, "prompt d_in"]]
    names: Int64[Tensor, "prompt name"]


@dataclass(frozen=True)
class MetricRecord(Record):
    """A further figure for every cell × method × budget (hook ``ioi_bench_metrics``): reported, never scored.

    Attributes:
        measure: one value a prompt, ``[prompt]``; NaN where it is not defined. The card shows means with intervals.
        direction: which way is better.
    """

    measure: Callable[[MetricInputs], Float[Tensor, " prompt"]]
    direction: Literal["higher", "lower", "none"] = "none"


@dataclass(frozen=True)
class EditRecord(Record):
    """An edit method (hook ``ioi_bench_edits``): `EditInputs` and budgets in, an `Edit` out."""

    edit: EditMethod


@dataclass(frozen=True)
class FitInputs:
    """What a baseline may be fitted to: the train split, never the prompts that are judged.

    Attributes:
        model: the model that is run.
        sites: where dictionaries are wanted.
        cell: what they will be judged in, of a baseline that is fitted cell by cell; None of any other.
        split: the train prompts, for tokens and counterfactuals.
        activations: of these prompts, ``[prompt, d_in]``: at the sites, and where the suite's dictionaries read.
        values: of these prompts, by attribute (``io``, ``s``, ``pos``), the index of the value, ``[prompt]``.
        n_values: by attribute, how many values there are.
        suite: the dictionaries that are judged; empty unless the baseline asks for them (``Baseline.needs_suite``).
        reads: of dictionaries of the suite that read elsewhere than at their site, where.
        seeds: one for each site.
    """

    model: LanguageModel
    sites: tuple[Site, ...]
    cell: Cell | None
    split: Split
    activations: Mapping[Site, Float[Tensor, "prompt d_in"]]
    values: Mapping[str, Int64[Tensor, " prompt"]]
    n_values: Mapping[str, int]
    suite: Mapping[Site, Dictionary]
    reads: Mapping[Site, Site]
    seeds: Mapping[Site, int]

    def read_by(self, site: Site) -> Float[Tensor, "prompt d_read"]:
        """What the suite's dictionary for a site is shown of train."""
        return self.activations[self.reads.get(site, site)]


@dataclass(frozen=True)
class Baseline(Record):
    """Dictionaries made without training an SAE (hook ``ioi_bench_baselines``): a row beside the suite's.

    Give ``fit``, or ``fit_all`` where train activations of one site are not enough.

    Attributes:
        fit: train activations ``[prompt, d_in]`` of a site and a seed to a dictionary.
        fit_all: everything that may be known to a dictionary for each of its sites.
        per_cell: ``fit_all`` is called for each cell, with the sites of its cross-section: the dictionaries may know
            what will be edited. By default it is called once, with all sites.
        needs_suite: it is made from the suite that is judged (``FitInputs.suite``), and so is no property of the track.
        edit: an edit that is done in place of the methods that are asked for; it is given one budget, ``d_in``.
        model: another model, from the one that is judged and a seed: everything is done there, on the same prompts.

    Raises:
        PluginError: neither ``fit`` nor ``fit_all``, or both.
    """

    fit: Callable[[Float[Tensor, "prompt d_in"], int], Dictionary] | None = None
    fit_all: Callable[[FitInputs], Mapping[Site, Dictionary]] | None = None
    per_cell: bool = False
    needs_suite: bool = False
    edit: EditMethod | None = None
    model: Callable[[LanguageModel, int], LanguageModel] | None = None

    def __post_init__(self) -> None:
        if (self.fit is None) == (self.fit_all is None):
            raise PluginError(
                f"the baseline {self.name!r} has {'neither' if self.fit is None else 'both'} of fit and fit_all: give "
                "fit(train, seed) for a dictionary from activations alone, or fit_all(inputs) for one that needs "
                "labels, the model or the suite"
            )


@dataclass(frozen=True)
class ModelRecord(Record):
    """A model and its circuit (hook ``ioi_bench_models``): a track.

    Attributes:
        load: the model, on a device.
        circuit: its circuit.
        layers, heads: how many layers, and heads in each; where they are given, dictionaries at others are refused
            before the model is loaded.
        d_model: width of the residual stream; where it is given too, so is a dictionary of another width warned about.
    """

    load: Callable[[torch.device | str], LanguageModel]
    circuit: Callable[[], Circuit]
    layers: int | None = None
    heads: int | None = None
    d_model: int | None = None


@dataclass(frozen=True)
class Reporter(Record):
    """A way to write a card (hook ``ioi_bench_reporters``).

    Attributes:
        suffix: of the file, such as ``.md``.
        write: the card (``ioi_bench.Card``) to this path.
    """

    suffix: str
    write: Callable[[Any, Path], None]
