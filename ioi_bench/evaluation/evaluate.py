"""The main job: a suite, or the source of one, in; a score card out."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ioi_bench.atomic import storage_errors
from ioi_bench.dictionaries.source import Source
from ioi_bench.dictionaries.suite import Suite, check_fits
from ioi_bench.editing.base import check_budgets
from ioi_bench.errors import InputError, StorageError, UnknownNameError
from ioi_bench.evaluation.anchor_files import anchors_for
from ioi_bench.evaluation.anchor_records import CardAnchors, TrackAnchors
from ioi_bench.evaluation.anchors import MATCHED, suite_anchors, suite_baselines
from ioi_bench.evaluation.assemble import Results, assemble, write_results
from ioi_bench.evaluation.baselines import Asked, baseline_row, judge_baseline
from ioi_bench.evaluation.bootstrap import Bootstrap, name_pairs
from ioi_bench.evaluation.card import Card, Made
from ioi_bench.evaluation.choices import choose, load_track, outsiders, read_suite, to_sqrt_d
from ioi_bench.evaluation.cross_site import projected
from ioi_bench.evaluation.data import Capture, Progress, silent, split_of
from ioi_bench.evaluation.fitting import make_study
from ioi_bench.evaluation.fresh import with_fresh
from ioi_bench.evaluation.inputs import Inputs, gather
from ioi_bench.evaluation.preflight import preflight as run_preflight
from ioi_bench.evaluation.preflight import require_readable
from ioi_bench.evaluation.provenance import hardware, versions
from ioi_bench.evaluation.ranking import rank_cells
from ioi_bench.evaluation.score import SCORING
from ioi_bench.evaluation.study import run_study
from ioi_bench.lm.circuit import Circuit, RankedCell
from ioi_bench.lm.model import LanguageModel
from ioi_bench.plugins.loading import SQRT_D, Loaded
from ioi_bench.plugins.manager import Plugins
from ioi_bench.plugins.records import Baseline, LoadOptions
from ioi_bench.plugins.reporters import write_report
from ioi_bench.sites import Cell, HookPoint, Site
from ioi_bench.task import Split

__all__ = ["DEFAULT_BUDGETS", "DEFAULT_METHODS", "evaluate", "make_study"]

DEFAULT_BUDGETS = (1, 2, 4, 8, 16)
DEFAULT_METHODS = ("exchange", "split", "aware", "universal")


def evaluate(
    suite: Suite | Loaded | Source | str | Path,
    *,
    options: LoadOptions | None = None,
    loader: str | None = None,
    model: LanguageModel | str | Path | None = None,
    circuit: Circuit | HookPoint | str | Path | None = None,
    track: str | None = None,
    ranking: Mapping[Cell, RankedCell] | None = None,
    cells: Sequence[str] | None = None,
    split: Split | str = "test",
    prompts: int | None = None,
    train_prompts: int | None = None,
    budgets: Sequence[int] = DEFAULT_BUDGETS,
    methods: Sequence[str] = DEFAULT_METHODS,
    baselines: Sequence[str] = (),
    anchors: TrackAnchors | str | Path | None = None,
    reports: Sequence[str] = (),
    plugins: Plugins | None = None,
    device: str = "cpu",
    batch_size: int = 512,
    seed: int = 0,
    preflight: bool = True,
    cross_site: bool = False,
    fresh: int | None = None,
    cache_dir: str | Path | None = None,
    inputs: Inputs | None = None,
    out: str | Path | None = None,
    progress: Progress | None = None,
) -> Card:
    """Judge a suite of dictionaries by what editing their features does (METHOD §5–7).

    Args:
        suite: a suite, or a source of dictionaries in any format that a loader knows: a path, or what was opened.
        options: what a source does not say itself: hook, architecture, scale, settings of the loader.
        loader: which loader reads the source; by default the one that knows it.
        model: a loaded model, the name of one, or a directory; by default the one that the suite names.
        circuit: a circuit, or what `load_circuit` takes, or a hook point for its single-hook cells; by default the
            model's own (``gpt2``'s for a directory), and for a suite of one hook point outside it that hook's.
        track: ``circuit`` or ``hook``, where a dictionary of a circuit's head could be judged on either.
        ranking: which cells count; by default the circuit's frozen set, found afresh where it has none.
        cells: names of those that are judged, such as ``io@nm-out``; by default all of the circuit.
        split: the prompts that are edited, by name or as they were drawn (a season's, say); F1 rankings and means
            always come from train.
        prompts: only the first so many.
        train_prompts: only the first so many train prompts (faster; the card says so).
        budgets: numbers of features that edits may change; 1, 2 and 4 are scored.
        methods: edit methods by name.
        baselines: by name; each is judged like the suite and has a row on the card.
        anchors: of the track, as `ioi_bench.evaluation.anchors` computes and writes them; by default those that ship.
        reports: reporters by name; each writes ``report-NAME`` into ``out``.
        plugins: what else is known; by default the installed plugins. All their metrics are measured.
        device: where the model runs; dictionaries run on the CPU.
        batch_size: prompts at once; changes memory and time, not results.
        seed: of bootstrap and random dictionaries.
        preflight: stop where the dictionaries plainly read inputs of another kind (`ioi_bench.evaluation.preflight`).
        cross_site: judge dictionaries of the stream on the circuit's q, k and v, through the heads' own maps.
        fresh: judge the suite also on so many prompts that are drawn from its own hash, and warn where it is better on
            those that it could know (`ioi_bench.evaluation.fresh`).
        cache_dir: where captures are kept; ``None`` keeps none.
        inputs: what `gather` found of the same model, circuit and prompts, to judge many suites on: nothing is
            captured, and only its cells are on the card.
        out: a folder for ``card.json``, ``prompts.parquet``, ``card.png`` and ``card.svg``.
        progress: called as ``progress(what, done, total)``.

    Raises:
        InputError: budgets, prompts or paths that make no sense; `UnknownNameError` and `SuiteError` among them.
        PluginError: what was asked for belongs to a plugin that is broken.
        ModelUnavailableError: the model is not here and cannot be fetched.
        StorageError: ``out`` cannot be written.
    """
    clock = _Clock()
    tell = progress or silent
    budgets, methods = _checked(tuple(budgets), batch_size), tuple(methods)
    if reports and out is None:
        raise InputError(f"the reports {', '.join(reports)} have nowhere to go: give out, a folder")
    with clock("load"):
        plugins, options = plugins or Plugins.load(), options or LoadOptions()
        chosen = choose(plugins, methods, baselines, reports)
        suite, came = read_suite(suite, options, loader, plugins)
        model, circuit = load_track(
            options.model if model is None else model,
            circuit,
            device,
            plugins,
            suite,
            track=track,
            cross_site=cross_site,
        )
        check_fits(suite, model, model.sha256)
        judged, train = (split_of(circuit, name, n) for name, n in ((split, prompts), ("train", train_prompts)))
    folder = None if out is None else _writable(Path(out))
    sources = projected(suite, model, circuit)[1] if cross_site else {}
    if preflight:
        with clock("preflight"):
            require_readable(run_preflight(suite, model, train, sqrt_d=options.scale == SQRT_D))
    with clock("activations and skyline"):
        if inputs is None:
            capture = Capture(model, batch_size, None if cache_dir is None else Path(cache_dir), tell)
            inputs = gather(capture, circuit, judged, train, sources=sources, cells=_cells_named(circuit, cells))
        elif cells is not None:
            raise InputError("cells and inputs were given: the cells are those of the inputs")
        else:
            _check_inputs(inputs, model, circuit, judged, train, sources)
    boot = Bootstrap.of(name_pairs(judged.prompts), seed=seed)
    with clock("ranking"):
        frozen = circuit.ranked if ranking is None else ranking
        ranked = frozen or rank_cells(inputs, boot, batch_size=batch_size, progress=tell, untrained_seeds=1)
    of_track, why_none = anchors_for(model, circuit, anchors)
    suite = to_sqrt_d(suite, inputs) if options.scale == SQRT_D else suite
    placed = projected(suite, model, circuit)[0] if cross_site else suite
    counts = [cell for cell in circuit.headline if cell in ranked and ranked[cell].ranked]
    scored = [cell for cell in counts if cell in inputs.cells]

    beside = suite_baselines(plugins)
    with clock("train statistics"):
        study, missing = make_study(
            placed,
            inputs,
            scored,
            methods,
            budgets,
            edits=chosen.edits,
            measures=chosen.measures,
            anchors=beside,
            seed=seed,
            progress=tell,
        )
    with clock("edits and patched runs"):
        tables = run_study(study, batch_size, tell)
        for site, codes in study.suite.items():
            if codes.watched is not None:
                codes.watched.require_same_again(site)
    results = Results(study, tables, boot, inputs.mean_codes, ranked, missing, bool(frozen))
    made = Made(
        scoring=SCORING,
        spec=judged.spec.name,
        spec_sha256=judged.spec.sha256,
        model=model.name,
        model_sha256=model.sha256,
        circuit=circuit.track,
        circuit_sha256=circuit.sha256,
        suite=suite.name,
        suite_sha256=suite.sha256,
        source=came.source,
        loader=came.loader,
        architectures=suite.architectures,
        options=options.said
        | ({} if preflight else {"preflight": "no"})
        | ({"cross-site": "yes"} if cross_site else {})
        | ({} if anchors is None else {"anchors": "given"}),
        plugins=outsiders(plugins, chosen, came, suite, model),
        split=judged.name,
        n_prompts=len(judged),
        n_train_prompts=len(train),
        full_train=train_prompts is None,
        budgets=budgets,
        methods=methods,
        seed=seed,
        n_draws=len(boot.weights) - 1,
        device=str(model.device),
        versions=versions(),
        hardware=hardware(model.device),
        wall_seconds=0.0,
        timing={},
    )
    with clock("bootstrap"):
        names = {one.name: one.summary for one in (plugins.find(Baseline, MATCHED), *beside)}
        own = suite_anchors(names, tables.cells, study.null_methods, boot) if scored else ()
        card = assemble(results, made, circuit, CardAnchors(track=of_track, note=why_none, suite=own))
    asked = Asked(
        scored=tuple(scored),
        methods=methods,
        budgets=budgets,
        batch_size=batch_size,
        seed=seed,
        edits=chosen.edits,
        measures=chosen.measures,
        suite=placed.dictionaries,
    )
    rows = []
    for baseline in chosen.baselines:
        with clock("baselines"):
            rows.append(baseline_row(baseline, judge_baseline(baseline, inputs, asked, tell), ranked, boot))
    if fresh is not None:
        with clock("fresh prompts"):
            on_fresh = partial(
                evaluate,
                suite,
                model=model,
                circuit=circuit,
                ranking=ranked,
                plugins=plugins,
                seed=seed,
                prompts=fresh,
                train_prompts=train_prompts,
                batch_size=batch_size,
                preflight=False,
                cross_site=cross_site,
                cache_dir=cache_dir,
                progress=_under("fresh prompts", tell),
            )
            card = with_fresh(card, on_fresh)
    card = card.model_copy(update={"baselines": tuple(rows), "made": made.model_copy(update=clock.read())})
    if folder is not None:
        write_results(card, results, folder)
        for reporter in chosen.reporters:
            write_report(reporter, card, folder)
    return card


def _cells_named(circuit: Circuit, names: Sequence[str] | None) -> tuple[Cell, ...] | None:
    if names is None:
        return None
    known = {str(cell): cell for cell in (*circuit.headline, *circuit.further)}
    for name in names:
        if name not in known:
            raise UnknownNameError("cell", name, known)
    if not names:
        raise InputError(f"no cells: give some of {', '.join(known)}")
    return tuple(known[name] for name in dict.fromkeys(names))


def _check_inputs(
    inputs: Inputs,
    model: LanguageModel,
    circuit: Circuit,
    judged: Split,
    train: Split,
    sources: Mapping[Site, Site],
) -> None:
    """Inputs of other prompts would give a card that says what is not so."""
    n_train = len(next(iter(inputs.train.activations.values())))
    same = (
        inputs.model.sha256 == model.sha256
        and inputs.circuit.sha256 == circuit.sha256
        and inputs.data.split.prompts == judged.prompts
        and n_train == len(train)
        and dict(inputs.data.sources) == dict(sources)
    )
    if not same:
        raise InputError(
            f"the inputs were gathered from {len(inputs.data)} prompts and {n_train} train prompts of "
            f"{inputs.circuit.track!r} with {inputs.model.name!r}, and do not fit what is asked for: {len(judged)} "
            f"and {len(train)} of {circuit.track!r} with {model.name!r}; gather them with the same arguments"
        )


def _under(name: str, tell: Progress) -> Progress:
    return lambda what, done, total: tell(f"{name}: {what}", done, total)


@dataclass
class _Clock:
    """Where the time goes."""

    started: float = field(default_factory=time.perf_counter)
    spent: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, what: str) -> Iterator[None]:
        before = time.perf_counter()
        yield
        self.spent[what] = self.spent.get(what, 0.0) + time.perf_counter() - before

    def read(self) -> dict[str, object]:
        return {"wall_seconds": time.perf_counter() - self.started, "timing": dict(self.spent)}


def _checked(budgets: tuple[int, ...], batch_size: int) -> tuple[int, ...]:
    check_budgets(budgets)
    if batch_size < 1:
        raise InputError(f"the batch size must be at least 1, got {batch_size}")
    return budgets


def _writable(folder: Path) -> Path:
    """Find out before the work and not after it."""
    with storage_errors("write to", folder):
        folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise StorageError(f"cannot write to {str(folder)!r}: permission denied; choose another folder")
    return folder
