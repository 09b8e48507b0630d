"""Public dictionaries on the Hub by name: where their files lie, and what a loader must be told.

The table is `gpt2.toml`, beside this file, with the source of every fact in it.

>>> chosen = release("gpt2-small-res-jb", 8)
>>> chosen.uri
'hf://jbloom/GPT2-Small-SAEs-Reformatted/blocks.8.hook_resid_pre'
>>> str(chosen.options.hook), chosen.options.model
('blocks.8.hook_resid_pre', 'gpt2')
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from ioi_bench.errors import InputError, UnknownNameError
from ioi_bench.plugins.records import LoadOptions
from ioi_bench.sites import HookPoint

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["Chosen", "Published", "Release", "all_known", "release", "releases"]

_MODEL = "gpt2"


@dataclass(frozen=True)
class Published:
    """One dictionary of a release.

    Attributes:
        layer: what ``--layer`` takes; the hook's, save where the release counts on after the last one.
        hook: where it reads.
        d_sae: its number of features.
        path: the sub-folder, or the file, in the repository.
        norm_factor: the factor on its inputs, where the release gives one apart from the files: a setting of the
            loader ``saelens``, which refuses it where the files do not ask for one.
    """

    layer: int
    hook: HookPoint
    d_sae: int
    path: str
    norm_factor: float | None = None


@dataclass(frozen=True)
class Release:
    """Dictionaries that were published together.

    Attributes:
        name: what ``--release`` takes, SAELens's name.
        title: one line.
        repo: on the Hub.
        loader: the name of the loader that reads them.
        architecture: such as ``topk``.
        normalisation: what is done to inputs, in words.
        licence: as the repository states it; empty where it states none.
        sources: where these facts are from.
        dictionaries: by layer, then width.
    """

    name: str
    title: str
    repo: str
    loader: str
    architecture: str
    normalisation: str
    licence: str
    sources: tuple[str, ...]
    dictionaries: tuple[Published, ...]

    @property
    def layers(self) -> tuple[int, ...]:
        """What ``--layer`` may be."""
        return tuple(sorted({published.layer for published in self.dictionaries}))

    def choose(self, published: Published) -> Chosen:
        """What opens and loads one of `dictionaries`."""
        factor = published.norm_factor
        settings = {} if factor is None else {"norm-factor": repr(factor)}
        options = LoadOptions(hook=published.hook, model=_MODEL, settings=MappingProxyType(settings))
        return Chosen(self, published, f"hf://{self.repo}/{published.path}", options)


@dataclass(frozen=True)
class Chosen:
    """One dictionary, ready to be opened.

    Attributes:
        uri: for `ioi_bench.hub.open_hub`; its ``main``, which is pinned when it is opened.
        options: for the loader called ``release.loader``.
    """

    release: Release
    published: Published
    uri: str
    options: LoadOptions

    @property
    def name(self) -> str:
        """``gpt2-small-res-jb, layer 8``, with the width where the layer has several."""
        several = sum(other.layer == self.published.layer for other in self.release.dictionaries) > 1
        width = f", width {self.published.d_sae}" if several else ""
        return f"{self.release.name}, layer {self.published.layer}{width}"


@cache
def releases() -> tuple[Release, ...]:
    """The table, in the order of the file."""
    table = tomllib.loads(files("ioi_bench.releases").joinpath("gpt2.toml").read_text("utf-8"))
    return tuple(_release(row) for row in table["release"])


def _release(row: dict) -> Release:
    published = (Published(**{**entry, "hook": HookPoint.parse(entry["hook"])}) for entry in row["dictionaries"])
    ordered = sorted(published, key=lambda entry: (entry.layer, entry.d_sae))
    return Release(**{**row, "sources": tuple(row["sources"]), "dictionaries": tuple(ordered)})


def release(name: str, layer: int, width: int | None = None) -> Chosen:
    """One dictionary by name.

    Args:
        name: of the release.
        layer: one of its layers.
        width: its number of features, where the release has several at that layer.

    Raises:
        UnknownNameError: no such release; near misses are named.
        InputError: it has no such layer or width, or several widths and none was given.
    """
    known = {entry.name: entry for entry in releases()}
    if name not in known:
        raise UnknownNameError("release", name, known)
    found = known[name]
    at_layer = [published for published in found.dictionaries if published.layer == layer]
    if not at_layer:
        layers = ", ".join(map(str, found.layers))
        raise InputError(f"{name!r} has no dictionary at layer {layer}: give one of {layers}")
    fitting = [published for published in at_layer if width in (None, published.d_sae)]
    if len(fitting) != 1:
        widths = ", ".join(str(published.d_sae) for published in at_layer)
        given = f"none of width {width}" if width is not None else f"{len(at_layer)} dictionaries"
        raise InputError(f"{name!r} has {given} at layer {layer}: give --width, one of {widths}")
    return found.choose(fitting[0])


def all_known() -> tuple[Chosen, ...]:
    """Every dictionary of every release: what ``--all-known`` goes through."""
    return tuple(found.choose(published) for found in releases() for published in found.dictionaries)
