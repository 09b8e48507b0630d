"""What a study runs: the dictionaries of a suite, and what stands beside them, with their train statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock

from ioi_bench.dictionaries.nulls import matched_null, standard_null
from ioi_bench.dictionaries.suite import Suite
from ioi_bench.dictionary import Dictionary
from ioi_bench.editing import EDITS, EditMethod
from ioi_bench.errors import SuiteError
from ioi_bench.evaluation.codes import SiteCodes
from ioi_bench.evaluation.data import Progress
from ioi_bench.evaluation.inputs import Inputs, null_seed
from ioi_bench.evaluation.measures import Measures
from ioi_bench.evaluation.score import NULL_SEEDS
from ioi_bench.evaluation.study import Study
from ioi_bench.plugins.records import Baseline, FitInputs
from ioi_bench.sites import ATTRIBUTES, Cell, Site
from ioi_bench.threads import in_threads

__all__ = ["fitted_dictionaries", "make_study"]


def make_study(
    suite: Suite,
    inputs: Inputs,
    scored: Sequence[Cell],
    methods: tuple[str, ...],
    budgets: tuple[int, ...],
    *,
    edits: Mapping[str, EditMethod] = EDITS,
    measures: Measures | None = None,
    anchors: Sequence[Baseline] = (),
    seed: int,
    progress: Progress,
) -> tuple[Study, frozenset[Site]]:
    """The suite's dictionaries, and nulls for the cells that are scored (METHOD §7); random ones at sites it lacks.

    ``anchors`` are made from the suite, and run where its nulls are.

    Raises:
        SuiteError: the suite has no site of the circuit.
        DictionaryError: a dictionary breaks its contract.
    """
    sites, null_sites = inputs.sites_of(inputs.cells), inputs.sites_of(scored)
    missing = frozenset(site for site in sites if site not in suite.dictionaries)
    if len(missing) == len(sites):
        raise SuiteError(
            f"suite {suite.name!r} has no dictionary for any site of the circuit {inputs.circuit.track!r}: it has "
            f"{_some(suite.sites)}; the circuit has {_some(sites)}"
        )
    placed: dict[Site, Dictionary] = {
        site: standard_null(inputs.train_at(site), null_seed(seed, "missing", site))
        if site in missing
        else suite.dictionaries[site]
        for site in sites
    }
    beside = {
        anchor.name: fitted_dictionaries(anchor, inputs, null_sites, None, placed, seed)
        for anchor in anchors
        if null_sites
    }
    lock, done = Lock(), 0

    def fit(site: Site) -> _Fitted:
        nonlocal done
        codes = inputs.codes(site, placed[site], inputs.cells, budgets[-1], explain=True, matched=scored)
        seeds = [null_seed(seed, i, site) for i in range(NULL_SEEDS)] if site in null_sites else []
        others = [matched_null(codes.use, inputs.train_at(site), one) for one in seeds]
        own = {name: made[site] for name, made in beside.items() if site in null_sites}
        fitted = _Fitted(
            codes,
            [inputs.codes(site, null, scored, budgets[-1]) for null in others],
            {name: inputs.codes(site, one, scored, budgets[-1]) for name, one in own.items()},
        )
        with lock:
            done += 1
            progress("train statistics", done, len(sites))
        return fitted

    fitted = dict(zip(sites, in_threads(fit, sites), strict=True))
    study = Study(
        model=inputs.model,
        data=inputs.data,
        cells=inputs.cells,
        sites=inputs.sites,
        suite={site: one.codes for site, one in fitted.items()},
        skylines=inputs.skylines,
        nulls=tuple({site: fitted[site].nulls[i] for site in null_sites} for i in range(NULL_SEEDS)),
        null_cells=frozenset(scored),
        methods=methods,
        budgets=budgets,
        edits=edits,
        measures=measures or Measures(),
        anchors={name: {site: fitted[site].anchors[name] for site in null_sites} for name in beside},
    )
    return study, missing


@dataclass(frozen=True)
class _Fitted:
    """What stands at one site."""

    codes: SiteCodes
    nulls: list[SiteCodes]
    anchors: dict[str, SiteCodes]


def fitted_dictionaries(
    baseline: Baseline,
    inputs: Inputs,
    sites: Sequence[Site],
    cell: Cell | None,
    suite: Mapping[Site, Dictionary],
    seed: int,
) -> dict[Site, Dictionary]:
    """A baseline's dictionaries at some sites, each with a seed of its own; ``cell`` of one that is fitted by cell."""
    seeds = {site: null_seed(seed, "baseline", baseline.name, site) for site in sites}
    if baseline.fit is not None:
        return {site: baseline.fit(inputs.train_at(site), seeds[site]) for site in sites}
    assert baseline.fit_all is not None  # the record has one or the other
    sources = inputs.data.sources
    given = FitInputs(
        model=inputs.model,
        sites=tuple(sites),
        cell=cell,
        split=inputs.train_split,
        activations=inputs.train.activations,
        values={name: inputs.train.values[name] for name in ATTRIBUTES},
        n_values={name: inputs.train.n_values[name] for name in ATTRIBUTES},
        suite=suite if baseline.needs_suite else {},
        reads={site: sources[site] for site, one in suite.items() if site in sources and hasattr(one, "d_read")},
        seeds=seeds,
    )
    return dict(baseline.fit_all(given))


def _some(sites: Sequence[Site]) -> str:
    return ", ".join(map(str, sites[:4])) + (", …" if len(sites) > 4 else "")
