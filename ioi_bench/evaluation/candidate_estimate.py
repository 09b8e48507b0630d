"""How long `candidates_table` will take, from some dictionaries that are really judged."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ioi_bench.evaluation.candidate_figures import site_view
from ioi_bench.evaluation.candidate_job import job_of, members_by_site
from ioi_bench.evaluation.candidate_rows import Finished
from ioi_bench.evaluation.candidates import judge_site
from ioi_bench.evaluation.data import Progress, silent
from ioi_bench.evaluation.finished_run import FinishedRun, MemberT, edits_at
from ioi_bench.sites import Site
from ioi_bench.threads import in_threads

if TYPE_CHECKING:
    from ioi_bench.lm.circuit import Circuit
    from ioi_bench.lm.model import LanguageModel

__all__ = ["CandidatesEstimate", "estimate_candidates"]

_MEASURED = 8
"""Dictionaries that are judged at each of the sites that are measured."""


@dataclass(frozen=True)
class CandidatesEstimate:
    """Work, and the seconds that it takes.

    Attributes:
        dictionaries: all, over members and checkpoints.
        left: those of them that have no rows yet.
        seconds: for what is left.
    """

    dictionaries: int
    left: int
    seconds: float


def estimate_candidates(
    run: FinishedRun[MemberT],
    model: LanguageModel,
    circuit: Circuit,
    *,
    keep: str | Path | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> CandidatesEstimate:
    """Measure what `candidates_table` with the same arguments has still to do; nothing is written into ``keep``.

    Some dictionaries of those that are left are judged, in as many threads as the table would use, at sites that edit
    about as many attributes as sites do on average. What is done is told by the rows in ``keep``, without a look at the
    weights.

    Raises:
        IoiBenchError: as `candidates_table`.
    """
    job = job_of(run, model, circuit, progress=progress or silent, **options)
    members = members_by_site(run, circuit)
    finished = Finished(None if keep is None else Path(keep), job.key)
    left = {
        site: [(member, epoch) for epoch in run.checkpoints for member in some if not finished.has(member, epoch)]
        for site, some in members.items()
    }
    total, n_left = sum(map(len, members.values())) * len(run.checkpoints), sum(map(len, left.values()))
    if not n_left:
        return CandidatesEstimate(total, 0, 0.0)
    started = time.perf_counter()
    job.prepare()
    reading = time.perf_counter() - started
    sites = _usual_sites(circuit, [site for site, some in left.items() if some])
    samples = {site: _spread(left[site], _MEASURED) for site in sites}

    def judge(site: Site, how_many: int | None = None) -> None:
        view = site_view(site, edits_at(circuit)[site], *job.data)
        for member, epoch in samples[site][:how_many]:
            judge_site(run, job, view, [member], epoch, _ignore)

    in_threads(lambda site: judge(site, 1), sites)  # not counted: buffers are touched for the first time
    started = time.perf_counter()
    in_threads(judge, sites)
    each = (time.perf_counter() - started) / sum(map(len, samples.values()))
    return CandidatesEstimate(total, n_left, reading + each * n_left)


def _ignore(n: int) -> None:
    del n


def _usual_sites(circuit: Circuit, sites: Sequence[Site]) -> list[Site]:
    """As many as there are threads, of those whose number of edits is nearest to the mean."""
    edits = edits_at(circuit)
    mean = sum(len(edits[site]) for site in sites) / len(sites)
    return sorted(sites, key=lambda site: abs(len(edits[site]) - mean))[: torch.get_num_threads()]


def _spread(left: Sequence[tuple[MemberT, int]], n: int) -> list[tuple[MemberT, int]]:
    """``n`` of these, evenly apart: of all variants and checkpoints."""
    n = min(n, len(left))
    return [left[(2 * i + 1) * len(left) // (2 * n)] for i in range(n)]
