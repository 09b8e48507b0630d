"""What a source is, and what an evaluation would score of it: told without a model and without weights."""

from __future__ import annotations

from dataclasses import dataclass

from ioi_bench.dictionaries.reading import MODEL_NAMES
from ioi_bench.dictionaries.source import Source
from ioi_bench.errors import UnknownNameError
from ioi_bench.lm.circuit import Circuit, load_circuit, track_for
from ioi_bench.lm.source import locate, read_config
from ioi_bench.plugins.loading import claim_source
from ioi_bench.plugins.manager import Plugins
from ioi_bench.plugins.records import LoadOptions, ModelRecord, Recognised
from ioi_bench.sites import Role, Site

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
    """

    origin: str
    loader: str
    recognised: Recognised
    sites: tuple[Site, ...]
    model: str
    track: str
    cells: tuple[CellCover, ...]


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
    layers, heads = _layers_and_heads(model, known.get(model))
    for site in sites:
        if layers is not None and heads is not None:
            site.check_within(model, layers, heads)
    circuit = track_for(sites, circuit, model, track) or circuit
    return Inspection(
        source.origin, claim.loader.name, claim.recognised, sites, model, circuit.track, _covers(sites, circuit)
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


def _layers_and_heads(model: str, record: ModelRecord | None) -> tuple[int | None, int | None]:
    """As the record says, or a directory's configuration (which may leave out what is as in GPT-2 small)."""
    if record is not None:
        return record.layers, record.heads
    config = read_config(locate(model)[1])
    return config.get("n_layer", 12), config.get("n_head", 12)


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
