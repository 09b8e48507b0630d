"""The IOI SAEs of Makelov, Lange and Nanda 2024 and the post after it: bare state dicts of 64-dimensional head sites.

The equations of the authors' code (github.com/amakelov/sae, ``sae_variants.py``), told apart by their keys::

    vanilla  W_enc W_dec b_enc b_dec                    f = ReLU((x' − b_dec) W_enc + b_enc)
    gated    W_gate r_mag b_gate b_mag W_dec b_dec      u = (x' − b_dec) W_gate
                                                        f = 1[u + b_gate > 0] · (exp(r_mag) · u + b_mag)
    top-k    W_enc W_dec b_pre                          f = the k largest of (x' − b_pre) W_enc, 0 elsewhere

``x̂' = f W_dec + b_dec`` (``b_pre``). The gated magnitudes and the top-k values pass no ReLU: features may be negative.
``x' = scale · x`` has mean norm √64 over the authors' prompts. Neither the scale nor k is in the state dict: they are
given on the command line (``--set k=3``, ``--scale``), or the scales in a ``scales.json`` beside the files
(``{"z@L9H9@end": 0.8, …}``).

A file is named by its site, as the authors' ``Node.displayname`` writes it (``z@L9H9@end.pt``) or as ioi-bench does
(``z.9.9@end.pt``). They kept their runs in a store of their own rather than in a release of files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ioi_bench.dictionaries.architectures import Architecture, Gated, Relu
from ioi_bench.dictionaries.reading import building, needed, pick, state_dict, suite_name, whole_number
from ioi_bench.dictionaries.signed import SignedTopK
from ioi_bench.dictionaries.source import Source
from ioi_bench.dictionaries.suite import Suite
from ioi_bench.errors import InputError, SuiteError
from ioi_bench.plugins import ArchitectureRecord, Loader, LoadOptions, Recognised, hookimpl
from ioi_bench.sites import HEAD_COMPONENTS, HookPoint, Role, Site

__all__ = [
    "SignedGated",
    "ioi_bench_architectures",
    "ioi_bench_loaders",
    "load",
    "parse_sites",
    "recognise",
]

KEYS: Mapping[str, tuple[str, ...]] = {
    "signed-gated": ("W_gate", "r_mag", "b_gate", "b_mag", "W_dec", "b_dec"),
    "signed-topk": ("W_enc", "W_dec", "b_pre"),
    "relu": ("W_enc", "W_dec", "b_enc", "b_dec"),
}
SETTINGS = {"site": "where a single file's SAE reads: z.9.9@end", "k": "active features of a top-k SAE: 3"}
BASIS = (
    "The authors trained on GPT-2 with refactor_factored_attn_matrices=True: their q, k, v and z are in another basis "
    "than the raw ones of ioi-bench's gpt2, so that these weights fit only activations that are refactored alike."
)
SCALES = "scales.json"
UNSCALED = f"The scale of the inputs (mean norm √d_in) is not in the files: add --scale, or {SCALES} for many sites."
_DISPLAY = re.compile(r"(?P<component>[qkvz])@L(?P<layer>\d+)H(?P<head>\d+)(?:@(?P<role>[a-z0-9+]+))?")


@dataclass(frozen=True, eq=False, kw_only=True)
class SignedGated(Gated):
    """A gated SAE whose magnitudes pass no ReLU: features may be negative."""

    name: ClassVar[str] = "signed-gated"

    def encode(self, x: Float[Tensor, "prompt d_in"]) -> Float[Tensor, "prompt d_sae"]:
        """``1[u + b_gate > 0] · (exp(r_mag) · u + b_mag)``."""
        u = self.pre_activations(x)
        return (self.r_mag.float().exp() * u + self.b_mag.float()) * (u + self.b_gate.float() > 0)


def parse_sites(text: str) -> tuple[Site, ...]:
    """The sites that a name says; all roles where it says none, and nothing where it is no name of a head's site.

    >>> [str(site) for site in parse_sites("z@L9H9@end")]
    ['z.9.9@end']
    >>> [str(site) for site in parse_sites("q.9.6")][:2]
    ['q.9.6@io', 'q.9.6@s1']
    >>> parse_sites("optimizer")
    ()
    """
    match = _DISPLAY.fullmatch(text)
    if match is not None:
        role = "" if match["role"] is None else f"@{match['role']}"
        text = f"{match['component']}.{match['layer']}.{match['head']}{role}"
    try:
        sites = (Site.parse(text),) if "@" in text else tuple(HookPoint.parse(text).at(role) for role in Role)
    except InputError:
        return ()
    return sites if sites[0].component in HEAD_COMPONENTS and sites[0].head is not None else ()


def _kind(found: Mapping[str, Any]) -> str | None:
    return next((kind for kind, keys in KEYS.items() if set(found) == set(keys)), None)


def _files(source: Source, options: LoadOptions) -> dict[str, tuple[Site, ...]]:
    """The files that are named by a site, or the only one with the site that the user gives; in a suite's order."""
    names = [name for name in source.files if name.endswith(".pt")]
    if len(names) == 1:
        if options.hook is not None and options.hook.head is not None:
            return {names[0]: tuple(options.hook.at(role) for role in Role)}
        if "site" in options.settings:
            sites = parse_sites(options.settings["site"])
            if not sites:
                raise SuiteError(f"--set site={options.settings['site']} is no site of a head: write site=z.9.9@end")
            return {names[0]: sites}
    parsed = {name: parse_sites(PurePosixPath(name).stem) for name in names}
    named = {name: sites for name, sites in parsed.items() if sites}
    return dict(sorted(named.items(), key=lambda item: min(map(str, item[1]))))


def recognise(source: Source, options: LoadOptions) -> Recognised | None:
    """Tell the authors' state dicts by their keys; vanilla ones, whose keys are everybody's, by their names too."""
    sites = _files(source, options)
    names = list(sites) or [name for name in source.files if name.endswith(".pt")]
    found = state_dict(source, names[0]) if sites or len(names) == 1 else None
    kind = None if found is None else _kind(found)
    if found is None or kind is None or (kind == "relu" and not sites):
        return None
    if source.has(SCALES) and options.scale is not None:
        raise SuiteError(
            f"{source.origin!r} has a {SCALES}, and --scale was given: give one of them, or both would apply"
        )
    where = f"{names[0]!r} in {source.origin!r}"
    decoder = pick(found, ["W_dec"], where)["W_dec"]
    if decoder.ndim != 2:
        raise SuiteError(f"{where}: W_dec has the shape {list(decoder.shape)}, expected [d_sae, d_in]")
    hooks = dict.fromkeys(site.point for some in sites.values() for site in some)
    factor = f"inputs × {SCALES}" if source.has(SCALES) else "none given"
    notes = (BASIS,) if source.has(SCALES) or options.scale is not None else (BASIS, UNSCALED)
    stand = tuple(sorted((site for some in sites.values() for site in some), key=str))
    return Recognised(kind, tuple(hooks), decoder.shape[1], decoder.shape[0], "gpt2", factor, notes, stand)


def _factor(source: Source, name: str) -> float:
    """The scale of a file's inputs by ``scales.json``; 1 without."""
    if not source.has(SCALES):
        return 1.0
    factor = source.json(SCALES).get(PurePosixPath(name).stem)
    if isinstance(factor, bool) or not isinstance(factor, int | float):
        raise SuiteError(f"{SCALES!r} in {source.origin!r} gives {factor!r} for {name!r}, expected a number")
    return float(factor)


def _build(source: Source, name: str, options: LoadOptions) -> Architecture:
    found, where, scale = source.pt(name), f"{name!r} in {source.origin!r}", _factor(source, name)
    kind = None if not isinstance(found, Mapping) else _kind(found)
    if kind is None:
        expected = "; ".join(f"{name}: {' '.join(keys)}" for name, keys in KEYS.items())
        held = ", ".join(map(str, found)) if isinstance(found, Mapping) else type(found).__name__
        raise SuiteError(f"{where} holds {held}; expected the keys of one of the authors' SAEs ({expected})")
    tensors = pick(found, KEYS[kind], where)
    with building(where):
        if kind == "signed-gated":
            return SignedGated(W_enc=tensors.pop("W_gate"), **tensors, scale=scale)
        if kind == "relu":
            return Relu(**tensors, scale=scale)
        k = whole_number(needed(options.settings.get("k"), "its k", source, "add --set k=3 (the post's value)"), "k")
        no_bias = torch.zeros(tensors["W_enc"].shape[1:])
        return SignedTopK(b_enc=no_bias, b_dec=tensors.pop("b_pre"), **tensors, k=k, scale=scale)


def load(source: Source, options: LoadOptions) -> Suite:
    """One dictionary a file, at the site that its name says (at all roles where it says none).

    Raises:
        SuiteError: damaged, not of these layouts, a file without a site, two for one site, or no k.
    """
    files = _files(source, options)
    if not files:
        raise SuiteError(
            f"{source.origin!r} has no .pt file that is named by its site, such as z@L9H9@end.pt: rename the files, or "
            "give one with --set site=z.9.9@end"
        )
    dictionaries: dict[Site, Architecture] = {}
    for name, sites in files.items():
        dictionary = _build(source, name, options)
        for site in sites:
            if site in dictionaries:
                raise SuiteError(f"{source.origin!r} has two files for {site}: keep one; {name!r} is the second")
            dictionaries[site] = dictionary
    architectures = sorted({dictionary.name for dictionary in dictionaries.values()})
    metadata = {"format": "makelov", "architecture": ", ".join(architectures)}
    return Suite(suite_name(source), options.model or "gpt2", dictionaries, metadata=metadata)


@hookimpl
def ioi_bench_architectures() -> list[ArchitectureRecord]:
    """The architectures ``signed-gated`` and ``signed-topk``, so that a suite can be kept in the native format."""
    return [
        ArchitectureRecord(SignedGated.name, "gated, with magnitudes that may be negative", SignedGated),
        ArchitectureRecord(SignedTopK.name, "top-k, with values that may be negative", SignedTopK),
    ]


@hookimpl
def ioi_bench_loaders() -> list[Loader]:
    """The loader ``makelov``."""
    return [Loader("makelov", "Makelov, Lange and Nanda's IOI SAEs: state dicts by site", recognise, load, SETTINGS)]
