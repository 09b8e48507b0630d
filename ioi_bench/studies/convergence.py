"""How far the SAEs of a run have come: what still moves at the end, and what longer runs would change.

**Converged** is a rule, not a look: over the last quarter of the epochs before the learning rate falls, neither loss
nor error of the train prompts moves by `CONVERGED` or more, as means over a variant's sites and seeds at one sparsity.
Once the rate falls both settle, however far training has come. What the rule cannot see, the last doubling of the
epochs shows: error, L0 and edit distance on validation, at the end and at half of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ioi_bench.dictionary import Dictionary
from ioi_bench.errors import InputError
from ioi_bench.evaluation.candidate_estimate import CandidatesEstimate, estimate_candidates
from ioi_bench.evaluation.data import Progress, silent
from ioi_bench.evaluation.finished_run import headline_attributes
from ioi_bench.evaluation.selection import candidates_table
from ioi_bench.studies.post.correlations import served_rows
from ioi_bench.studies.post.training_tables import CONVERGED, curve_table, steady_span
from ioi_bench.training import Member, Recipe, Run

if TYPE_CHECKING:
    import pandas as pd

    from ioi_bench.lm.circuit import Circuit
    from ioi_bench.lm.model import LanguageModel

__all__ = ["FIGURES", "ConvergenceStudy", "Ends", "compared", "ends_table", "half_way", "study_convergence"]

FIGURES = {"l2": "error", "l0": "L0", "distance_relative": "edit distance"}
"""Columns of candidates that are shown, and what they are called."""

_KIND = ["variant", "sparsity"]


class Ends:
    """A run with two of its checkpoints: the last, and the one at half of it."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.checkpoints = tuple(dict.fromkeys((half_way(run.checkpoints), run.checkpoints[-1])))

    @property
    def members(self) -> tuple[Member, ...]:
        """The run's."""
        return self._run.members

    @property
    def recipe(self) -> Recipe:
        """The run's."""
        return self._run.recipe

    @property
    def provenance(self) -> Mapping[str, Any]:
        """The run's."""
        return self._run.provenance

    def dictionary(self, member: Member, epoch: int) -> Dictionary:
        """The run's."""
        return self._run.dictionary(member, epoch)


@dataclass(frozen=True)
class ConvergenceStudy:
    """What was found.

    Attributes:
        ends: of every run, a row a variant and sparsity: see `ends_table`.
        compared: of what several runs have trained, a row a variant, sparsity and run: see `compared`.
        curves: of the first run: epoch by epoch, means over sites and seeds.
        spans: of every run: the epochs over which the rule looks.
    """

    ends: pd.DataFrame
    compared: pd.DataFrame
    curves: pd.DataFrame
    spans: Mapping[str, tuple[int, int]]

    def to_json(self) -> dict[str, Any]:
        """All tables as JSON values; NaN is None."""
        tables = {"ends": self.ends, "compared": self.compared}
        found = {name: table.astype(object).where(table.notna(), None) for name, table in tables.items()}
        rows = {name: table.to_dict("records") for name, table in found.items()}
        return {"rule": {"moves_less_than": CONVERGED, "spans": dict(self.spans)}, **rows}


def study_convergence(
    runs: Mapping[str, Run],
    model: LanguageModel,
    circuit: Circuit,
    *,
    prompts: int | None = None,
    train_prompts: int | None = None,
    cache_dir: Path | None = None,
    announce: Callable[[str, CandidatesEstimate], None] | None = None,
    progress: Progress = silent,
) -> ConvergenceStudy:
    """Look at finished runs; validation figures that selection has kept in a run's folder are taken from there.

    Args:
        runs: by name.
        model, circuit: what they were trained on.
        prompts, train_prompts: only the first so many of validation, and of train, to judge edits.
        cache_dir: where captures are kept.
        announce: told of every run how much there is to judge, and how long it will take.
        progress: called as ``progress(what, done, total)``.

    Raises:
        InputError: a run is unfinished; `SuiteError`: or is of another model.
    """
    import pandas as pd

    served, ends, rows, spans = headline_attributes(circuit), {}, {}, {}
    for name, run in runs.items():
        run.require_finished()
        at = Ends(run)
        options: dict[str, Any] = {"prompts": prompts, "train_prompts": train_prompts, "cache_dir": cache_dir}
        options |= {"keep": run.folder / "selection", "progress": progress}
        if announce is not None:
            announce(name, estimate_candidates(at, model, circuit, **options))
        rows[name] = served_rows(candidates_table(at, model, circuit, **options), served)
        spans[name] = steady_span(run.recipe.epochs, decay=run.recipe.tactics.decay)
        ends[name] = ends_table(curve_table(run.curves, spans[name]), rows[name])
    first = next(iter(runs))
    tables = [table.assign(run=name) for name, table in ends.items()]
    return ConvergenceStudy(
        pd.concat(tables, ignore_index=True),
        compared(rows),
        curve_table(runs[first].curves, spans[first]),
        spans,
    )


def half_way(checkpoints: Sequence[int]) -> int:
    """The checkpoint that is nearest to half of the last; the earlier of two.

    >>> half_way((1, 64, 100, 128, 250)), half_way((2,))
    (128, 2)
    """
    return min(checkpoints, key=lambda epoch: (abs(2 * epoch - checkpoints[-1]), epoch))


def ends_table(curves: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """What still moved, by variant and sparsity.

    Args:
        curves: of `curve_table`.
        rows: candidates of the two checkpoints (`served_rows`).

    Returns:
        Columns variant, sparsity, n (SAEs), ``loss_change`` and ``change`` (of the error) over the rule's span,
        ``converged``, ``half`` and ``end`` (the epochs), and of each of `FIGURES` the mean at both, such as
        ``l0_half`` and ``l0_end``.
    """
    last = curves[curves["epoch"] == curves["epoch"].max()]
    rule = last.set_index(_KIND)[["loss_change", "change", "converged"]]
    half, end = rows["epoch"].min(), rows["epoch"].max()
    means = [
        rows[rows["epoch"] == epoch].groupby(_KIND, sort=False)[list(FIGURES)].mean().add_suffix(f"_{name}")
        for name, epoch in (("half", half), ("end", end))
    ]
    n = rows[rows["epoch"] == end].groupby(_KIND, sort=False).size().rename("n")
    found = means[1].join(means[0]).join(n).join(rule).reset_index()
    return found.assign(half=half, end=end)


def compared(rows: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The last checkpoints of several runs, over the SAEs (variant, sparsity, seed, site) that all of them have.

    Args:
        rows: by run, of `served_rows`.

    Returns:
        A row a variant, sparsity and run: ``n`` (SAEs), ``end`` (its epochs), and the means of `FIGURES`. Empty where
        there is one run.

    Raises:
        InputError: the runs have nothing in common.
    """
    import pandas as pd

    columns = [*_KIND, "run", "n", "end", *FIGURES]
    if len(rows) < 2:
        return pd.DataFrame(columns=columns)
    last = {name: own[own["epoch"] == own["epoch"].max()] for name, own in rows.items()}
    shared = set.intersection(*(set(_members(own)) for own in last.values()))
    if not shared:
        raise InputError(
            f"the runs {', '.join(rows)} have no SAE in common: give runs of recipes that share a variant, a λ or k, "
            "and a seed; or look at each alone"
        )
    found = []
    for name, own in last.items():
        for kind, some in own[[member in shared for member in _members(own)]].groupby(_KIND, sort=False):
            about = dict(zip(_KIND, kind, strict=True))
            end = {"run": name, "n": len(some), "end": int(some["epoch"].iloc[0])}
            found.append({**about, **end, **some[list(FIGURES)].mean().to_dict()})
    order = {kind: i for i, kind in enumerate(dict.fromkeys((row["variant"], row["sparsity"]) for row in found))}
    found.sort(key=lambda row: order[row["variant"], row["sparsity"]])
    return pd.DataFrame(found, columns=columns)


def _members(own: pd.DataFrame) -> Iterable[tuple[Any, ...]]:
    return own[[*_KIND, "seed", "site"]].itertuples(index=False, name=None)
