"""What an evaluation was asked for by name: source, model, edit methods, metrics, baselines, reports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ioi_bench.dictionaries.architectures import Architecture
from ioi_bench.dictionaries.scaled import rescaled
from ioi_bench.dictionaries.source import Source
from ioi_bench.dictionaries.suite import Suite
from ioi_bench.editing import EditMethod
from ioi_bench.errors import InputError, UnknownNameError
from ioi_bench.evaluation.cross_site import cross_site_track
from ioi_bench.evaluation.hooks import suites_by_hook, track_of
from ioi_bench.evaluation.inputs import Inputs
from ioi_bench.evaluation.measures import Measures
from ioi_bench.lm.circuit import Circuit, hook_circuit, load_circuit
from ioi_bench.lm.model import LanguageModel, load_model
from ioi_bench.plugins.discovery import BUILT_IN
from ioi_bench.plugins.inspection import model_name
from ioi_bench.plugins.loading import Loaded, load_source, scaled_by
from ioi_bench.plugins.manager import KINDS, Plugins
from ioi_bench.plugins.records import (
    ArchitectureRecord,
    Baseline,
    EditRecord,
    Loader,
    LoadOptions,
    MetricRecord,
    ModelRecord,
    Record,
    Reporter,
)
from ioi_bench.plugins.sources import open_source
from ioi_bench.sites import HookPoint

__all__ = ["Choices", "Origin", "choose", "load_track", "outsiders", "read_suite", "to_sqrt_d"]


@dataclass(frozen=True)
class Origin:
    """Where a suite came from, for the card; nothing of one that was made in Python."""

    source: str | None = None
    loader: str | None = None


@dataclass(frozen=True)
class Choices:
    """What was chosen by name."""

    edits: Mapping[str, EditMethod]
    measures: Measures
    baselines: tuple[Baseline, ...]
    reporters: tuple[Reporter, ...]


def choose(plugins: Plugins, methods: Sequence[str], baselines: Sequence[str], reports: Sequence[str]) -> Choices:
    """Look the names up; all metrics that plugins give are measured.

    Raises:
        UnknownNameError: no such edit method, baseline or reporter.
        InputError: no edit methods, or a name twice.
        PluginError: it belongs to a plugin that is broken.
    """
    for word, names in (("edit methods", methods), ("baselines", baselines), ("reports", reports)):
        if len(set(names)) != len(names) or (word == "edit methods" and not names):
            raise InputError(f"give {word} by distinct names, got {', '.join(names) or 'none'}")
    edits = {name: plugins.find(EditRecord, name).edit for name in methods}
    metrics = tuple(plugins.all(MetricRecord).values())
    asked = frozenset(metric.name for metric in metrics if plugins.owner(MetricRecord, metric.name) in plugins.asked)
    found = tuple(plugins.find(Baseline, name) for name in baselines)
    reporters = tuple(plugins.find(Reporter, name) for name in reports)
    return Choices(edits, Measures(metrics, asked), found, reporters)


def outsiders(plugins: Plugins, chosen: Choices, origin: Origin, suite: Suite, model: LanguageModel) -> dict[str, str]:
    """What took part and is not ioi-bench's own, with the plugin that it comes from: for the card."""
    native = {one.name for one in suite.dictionaries.values() if isinstance(one, Architecture)}
    used: list[tuple[type[Record], Iterable[str]]] = [
        (Loader, [origin.loader] if origin.loader else []),
        (ArchitectureRecord, sorted(native)),
        (ModelRecord, [model.name]),
        (EditRecord, chosen.edits),
        (MetricRecord, [metric.name for metric in chosen.measures.metrics]),
        (Baseline, [baseline.name for baseline in chosen.baselines]),
    ]
    origins = {info.name: info.origin for info in plugins.infos}
    owners = {
        f"{KINDS[kind].word} {name}": plugins.owner(kind, name)
        for kind, names in used
        for name in names
        if name in plugins.all(kind)
    }
    return {what: f"{owner} ({origins[owner]})" for what, owner in owners.items() if owner != BUILT_IN}


def read_suite(
    given: Suite | Loaded | Source | str | Path, options: LoadOptions, loader: str | None, plugins: Plugins
) -> tuple[Suite, Origin]:
    """The suite, and what the card says of where it came from.

    Of a suite with dictionaries at several hook points, ``options.hook`` chooses one.

    Raises:
        SuiteError, InputError, PluginError: as `load_source`.
    """
    if isinstance(given, Suite):
        return _chosen(scaled_by(given, options.scale), options.hook), Origin()
    if not isinstance(given, Loaded):
        source = given if isinstance(given, Source) else open_source(given)
        given = load_source(source, options, loader, plugins=plugins)
    return _chosen(given.suite, options.hook), Origin(given.source.origin, given.claim.loader.name)


def _chosen(suite: Suite, hook: HookPoint | None) -> Suite:
    if hook is None or len(suite.hooks) == 1 or hook not in suite.hooks:
        return suite
    return suites_by_hook(suite)[hook]


def load_track(
    model: LanguageModel | str | Path | None,
    circuit: Circuit | HookPoint | str | Path | None,
    device: str,
    plugins: Plugins,
    suite: Suite,
    *,
    track: str | None = None,
    cross_site: bool = False,
) -> tuple[LanguageModel, Circuit]:
    """The model, by default the one that the suite names, and the track.

    By default the model's circuit (``gpt2``'s for a directory), or the track of the suite's own hook point
    (`track_for`, which takes ``track``); a `HookPoint` asks for its own. ``cross_site`` takes the circuit's part that
    stream dictionaries are projected to.

    Raises:
        SuiteError: several hook points, none of them in the circuit.
        UnknownNameError: no model or circuit of that name.
        InputError, ModelUnavailableError: as `load_model` and `load_circuit`.
    """
    models = plugins.all(ModelRecord)
    if model is None:
        model = model_name(suite.model, plugins)
    name = model.name if isinstance(model, LanguageModel) else str(model)
    if not isinstance(model, LanguageModel):
        if name in models:
            model = plugins.find(ModelRecord, name).load(device)
        elif Path(name).name == name and not Path(name).exists():
            raise UnknownNameError("model", name, models)
        else:
            model = load_model(model, device)
    if circuit is None or isinstance(circuit, HookPoint):
        own = models[name].circuit() if name in models else load_circuit("gpt2")
        if cross_site:
            if circuit is not None:
                raise InputError(f"cross-site scores on the heads of a circuit, not at the hook point {circuit}")
            return model, cross_site_track(own)
        if circuit is None:
            return model, track_of(suite, own, model.name, track)
        return model, hook_circuit(model.name, circuit, own.task)
    circuit = circuit if isinstance(circuit, Circuit) else load_circuit(circuit)
    return model, cross_site_track(circuit) if cross_site else circuit


def to_sqrt_d(suite: Suite, inputs: Inputs) -> Suite:
    """Multiply the inputs of each hook point so that their mean norm on train is √d_in, over the circuit's roles."""
    norms: dict[HookPoint, list[float]] = {}
    for site, activations in inputs.train.activations.items():
        hook = site.point
        norms.setdefault(hook, []).append(activations.double().norm(dim=1).mean().item())
    factors = {}
    for site, dictionary in suite.dictionaries.items():
        found = norms.get(site.point)
        if found:
            factors[site] = dictionary.d_in**0.5 / (sum(found) / len(found))
    return rescaled(suite, factors)
