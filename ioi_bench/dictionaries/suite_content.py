"""A suite: dictionaries for many sites of one model, frozen and named by the hash of its content.

How it lies on disk: `ioi_bench.dictionaries.suite`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, Protocol

import torch
from torch import Tensor

from ioi_bench.dictionaries.architectures import ARCHITECTURES, Architecture
from ioi_bench.dictionary import Dictionary, affine_decoder
from ioi_bench.errors import InputError, SuiteError
from ioi_bench.sites import HEAD_COMPONENTS, HookPoint, Role, Site

__all__ = ["ModelShape", "Suite", "canonical_json", "check_fits", "describe", "expected_d_in", "require_native"]


class ModelShape(Protocol):
    """The sizes of a model that decide how long an activation is."""

    @property
    def n_layers(self) -> int:
        """Number of blocks."""
        ...

    @property
    def n_heads(self) -> int:
        """Heads a block."""
        ...

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        ...

    @property
    def d_head(self) -> int:
        """Width of a head."""
        ...


@dataclass(frozen=True, eq=False)
class Suite:
    """Dictionaries by site, the model they are for, and what made them.

    Attributes:
        name: what the card calls it.
        model: the model's name, such as ``ioi-mini``.
        model_sha256: hash of that model; ``None`` if it is not known, which fits any model of the right sizes.
        dictionaries: one dictionary a site; kept in the order of the sites' names.
        metadata: JSON values: architecture, training configuration, variant, declared training data.

    Raises:
        InputError: no dictionaries, or metadata that JSON cannot hold.
    """

    name: str
    model: str
    dictionaries: Mapping[Site, Dictionary]
    model_sha256: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.dictionaries:
            raise InputError(f"suite {self.name!r} has no dictionaries: give at least one site")
        ordered = {site: self.dictionaries[site] for site in sorted(self.dictionaries, key=str)}
        object.__setattr__(self, "dictionaries", MappingProxyType(ordered))
        object.__setattr__(self, "metadata", MappingProxyType(json.loads(canonical_json(dict(self.metadata)))))

    @classmethod
    def at_hook(
        cls,
        name: str,
        model: str,
        hook: HookPoint | str,
        dictionary: Dictionary,
        metadata: Mapping[str, Any] | None = None,
    ) -> Suite:
        """One dictionary of a hook point, at every role there.

        Raises:
            InputError: the text is no hook point.
        """
        point = HookPoint.parse(hook) if isinstance(hook, str) else hook
        return cls.at_hooks(name, model, {point: dictionary}, metadata)

    @classmethod
    def at_hooks(
        cls,
        name: str,
        model: str,
        dictionaries: Mapping[HookPoint, Dictionary] | Mapping[str, Dictionary],
        metadata: Mapping[str, Any] | None = None,
    ) -> Suite:
        """Dictionaries of hook points, each at every role there. Text is read by `HookPoint.parse`.

        Raises:
            InputError: the text is no hook point.
        """
        points = {HookPoint.parse(hook) if isinstance(hook, str) else hook: one for hook, one in dictionaries.items()}
        sites = {point.at(role): dictionary for point, dictionary in points.items() for role in Role}
        return cls(name, model, sites, metadata=metadata or {})

    @property
    def hooks(self) -> tuple[HookPoint, ...]:
        """The hook points of its sites, in their order."""
        return tuple(sorted({site.point for site in self.dictionaries}, key=str))

    @property
    def sites(self) -> tuple[Site, ...]:
        """All sites, by name."""
        return tuple(self.dictionaries)

    @property
    def architectures(self) -> tuple[str, ...]:
        """What its dictionaries are, by name, each once: ``topk``, or the class of one that is not built in."""
        return tuple(sorted({_architecture(dictionary) for dictionary in self.dictionaries.values()}))

    @cached_property
    def sha256(self) -> str:
        """Hash of the header and of every tensor's name, type, shape and bytes, whatever files they came from."""
        digest = hashlib.sha256(canonical_json(describe(self)).encode())
        for site, dictionary in self.dictionaries.items():
            for name, tensor in sorted(_tensors(dictionary).items()):
                digest.update(canonical_json([str(site), name, str(tensor.dtype), list(tensor.shape)]).encode())
                digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def to(self, dtype: torch.dtype) -> Suite:
        """The same suite stored in another precision (float16 halves the file; computing stays float32).

        Raises:
            InputError: a dictionary is not of a built-in architecture.
            DictionaryError: a weight does not fit into that precision.
        """
        converted: dict[Site, Dictionary] = {}
        for site, dictionary in self.dictionaries.items():
            native = require_native(site, dictionary)
            changes: dict[str, Any] = {name: tensor.to(dtype) for name, tensor in native.tensors.items()}
            converted[site] = replace(native, **changes)
        return replace(self, dictionaries=converted)


def canonical_json(value: Any) -> str:
    """One text for one value: sorted keys, no spaces.

    Raises:
        InputError: the value holds something that JSON has not (also NaN and Inf).
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"a suite's metadata must be plain JSON values: {error}") from error


def describe(suite: Suite) -> dict[str, Any]:
    """The header without its tensors, as it is hashed and stored."""
    dictionaries: dict[str, Any] = {}
    for site, dictionary in suite.dictionaries.items():
        entry = {"architecture": _architecture(dictionary), "d_in": dictionary.d_in, "d_sae": dictionary.d_sae}
        settings: dict[str, Any] = {}
        if isinstance(dictionary, Architecture):
            settings = {name: getattr(dictionary, name) for name in dictionary.settings}
        dictionaries[str(site)] = {**entry, "settings": settings}
    return {
        "schema_version": 1,
        "name": suite.name,
        "model": suite.model,
        "model_sha256": suite.model_sha256,
        "metadata": dict(suite.metadata),
        "dictionaries": dictionaries,
    }


def _architecture(dictionary: Dictionary) -> str:
    return dictionary.name if isinstance(dictionary, Architecture) else type(dictionary).__name__


@torch.no_grad()
def _tensors(dictionary: Dictionary) -> dict[str, Tensor]:
    """The weights; of a dictionary that is not ours, which may hold anything, its behaviour on a fixed input."""
    if isinstance(dictionary, Architecture):
        return dictionary.tensors
    decoder = affine_decoder(dictionary)
    probe = torch.randn(32, dictionary.d_in, generator=torch.Generator().manual_seed(0))
    return {"directions": decoder.directions, "offset": decoder.offset, "encode": dictionary.encode(probe)}


def require_native(site: Site, dictionary: Dictionary) -> Architecture:
    """The dictionary, known to be of a built-in architecture.

    Raises:
        InputError: it is not.
    """
    if not isinstance(dictionary, Architecture):
        raise InputError(
            f"{site}: {type(dictionary).__name__} is not a built-in architecture, so it has no native form on disk; "
            f"copy its weights into one ({', '.join(ARCHITECTURES)})"
        )
    return dictionary


def expected_d_in(site: Site, model: ModelShape) -> int:
    """How long the activation at a site is.

    Raises:
        SuiteError: the model has no such layer or head.
    """
    if site.layer >= model.n_layers:
        raise SuiteError(f"{site}: the model has layers 0 to {model.n_layers - 1}, there is no layer {site.layer}")
    if site.head is not None and site.head >= model.n_heads:
        raise SuiteError(f"{site}: the model has heads 0 to {model.n_heads - 1}, there is no head {site.head}")
    if site.component not in HEAD_COMPONENTS:
        return model.d_model
    return model.d_head * (model.n_heads if site.head is None else 1)


def check_fits(suite: Suite, model: ModelShape, model_sha256: str) -> None:
    """Check that a suite is for this model and that every dictionary is as long as its site's activations.

    Raises:
        SuiteError: another model, a layer or head that does not exist, a wrong d_in.
    """
    if suite.model_sha256 is not None and suite.model_sha256 != model_sha256:
        raise SuiteError(
            f"suite {suite.name!r} is for the model {suite.model!r} (sha256 {suite.model_sha256[:12]}…), but the model "
            f"given has sha256 {model_sha256[:12]}…: name the suite's own model, or a suite trained on this one"
        )
    for site, dictionary in suite.dictionaries.items():
        expected = expected_d_in(site, model)
        if dictionary.d_in != expected:
            raise SuiteError(
                f"{site}: the dictionary has d_in = {dictionary.d_in}, but the activations there have {expected} "
                "dimensions: was it trained at another hook or on another model?"
            )
