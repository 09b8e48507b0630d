"""What a source is, and what an evaluation would score of it: told without a model and without weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ioi_bench.dictionaries.reading import MODEL_NAMES
from ioi_bench.dictionaries.source import Source
from ioi_bench.errors import UnknownNameError
from ioi_bench.lm.circuit import Circuit, load_circuit, track_for
from ioi_bench.lm.source import locate, read_config
from ioi_bench.plugins.loading import claim_source
from ioi_bench.plugins.manager import Plugins
from ioi_bench.plugins.records import LoadOptions, ModelRecord, Recognised
from ioi_bench.sites import HookPoint, Role, Site

__all__ = ["DEFAULT_MODEL", "CellCover", "Inspection", "inspect_source", "model_name", "sites_of"]

DEFAULT_MODEL = "ioi-mini"


@dataclass(frozen=True)
class CellCover:
    """How many of a cell's sites have a dictionary; the others would stand as random ones."""

    cell: str
    headline: bool
    ranked: bool | None
    sites: int
    covered: int


@dataclass(frozen=True)
class Inspection:
    """What `inspect_source` found.

    Attributes:
        origin: the source as it was given.
        loader: which loader knows it.
        sites: where its dictionaries stand; empty where neither the source nor ``--hook`` says.
        model: the model that it would be scored on.
        track: its circuit's, or that of the only hook point where the circuit has none of its sites.
        cells: those of the track with a site that has a dictionary; empty where several hook points would each be a
            track of their own.
        warnings: what an evaluation would refuse, a sentence each.
    """

    origin: str
    loader: str
    recognised: Recognised
    sites: tuple[Site, ...]
    model: str
    track: str
    cells: tuple[CellCover, ...]
    warnings: tuple[str, ...] = ()


def inspect_source(
    source: Source,
    options: LoadOptions | None = None,
    loader: str | None = None,
    *,
    plugins: Plugins | None = None,
    track: str | None = None,
) -> Inspection:
    """Recognise a source, and compare its sites with the circuit's.

    Raises:
        SuiteError: no loader knows it, several do, or it cannot be used.
        UnknownNameError: there is no such loader or model.
        InputError: the model has no such layer or head.
    """
    plugins, options = plugins or Plugins.load(), options or LoadOptions()
    claim = claim_source(source, options, loader, plugins=plugins)
    model = options.model or model_name(claim.recognised.model, plugins)
    known = plugins.all(ModelRecord)
    circuit = known[model].circuit() if model in known else load_circuit("gpt2")
    sites = sites_of(claim.recognised, options)
    sizes = _sizes(model, known.get(model))
    for site in sites:
        if sizes.layers is not None and sizes.heads is not None:
            site.check_within(model, sizes.layers, sizes.heads)
    circuit = track_for(sites, circuit, model, track) or circuit
    return Inspection(
        source.origin,
        claim.loader.name,
        claim.recognised,
        sites,
        model,
        circuit.track,
        _covers(sites, circuit),
        tuple(_misfits(claim.recognised, sites, model, sizes)),
    )


def model_name(said: str | None, plugins: Plugins) -> str:
    """The model for a source that says it is for ``said``; ioi-mini where it says nothing.

    Raises:
        UnknownNameError: it names a model that is not known here.
    """
    if said is None:
        return DEFAULT_MODEL
    name = MODEL_NAMES.get(said, said)
    if name not in plugins.all(ModelRecord):
        raise UnknownNameError("model (the dictionaries name it; --model overrules)", said, plugins.all(ModelRecord))
    return name


def sites_of(recognised: Recognised, options: LoadOptions) -> tuple[Site, ...]:
    """Where the dictionaries of a source stand: at its own sites, or at every role of its hooks."""
    if recognised.sites:
        return recognised.sites
    hooks = (options.hook,) if options.hook is not None else recognised.hooks
    return tuple(hook.at(role) for hook in hooks for role in Role)


class _Sizes(NamedTuple):
    """A model's layers, heads in each, and width of the residual stream; None where they are not known."""

    layers: int | None
    heads: int | None
    d_model: int | None

    def at(self, hook: HookPoint) -> int | None:
        """How long the activation is there."""
        if self.d_model is None or self.heads is None:
            return None
        return self.d_model if hook.head is None else self.d_model // self.heads


def _sizes(model: str, record: ModelRecord | None) -> _Sizes:
    """As the record says, or a directory's configuration (which may leave out what is as in GPT-2 small)."""
    if record is not None:
        return _Sizes(record.layers, record.heads, record.d_model)
    config = read_config(locate(model)[1])
    return _Sizes(config.get("n_layer", 12), config.get("n_head", 12), config.get("n_embd", 768))


def _misfits(recognised: Recognised, sites: tuple[Site, ...], model: str, sizes: _Sizes) -> Iterator[str]:
    """That no hook point's activations are as long as the dictionary, whose width is known of the first alone."""
    widths = {site.point: sizes.at(site.point) for site in sites}
    if widths and None not in widths.values() and recognised.d_in not in widths.values():
        hook, width = next(iter(widths.items()))
        yield (
            f"it has d_in = {recognised.d_in:,}, but activations at {hook} of {model} have {width:,} dimensions: "
            "is it for another hook (--hook) or another model (--model)?"
        )


def _covers(sites: tuple[Site, ...], circuit: Circuit) -> tuple[CellCover, ...]:
    found, have = [], set(sites)
    for cell in (*circuit.headline, *circuit.further):
        needed = circuit.cross_sections[cell.cross_section].sites
        covered = len(have.intersection(needed))
        if covered:
            headline = cell in circuit.headline
            ranked = circuit.ranked[cell].ranked if circuit.ranked is not None and cell in circuit.ranked else None
            found.append(CellCover(str(cell), headline, ranked, len(needed), covered))
    return tuple(found)
