"""Candidates for selection: every member of a training run at every checkpoint, judged on validation (METHOD §8).

Edit distance needs the activations of one site and no model run, so that a sweep of ten thousand dictionaries is judged
in minutes. Rankings by F1 and means come from train, everything else from validation; nothing is read from test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from ioi_bench.dictionary import Dictionary
from ioi_bench.editing import EDITS, EditMethod
from ioi_bench.errors import DictionaryError
from ioi_bench.evaluation.candidate_figures import SiteView, site_view, spoilt_figures
from ioi_bench.evaluation.candidate_job import Job, job_of, members_by_site
from ioi_bench.evaluation.candidate_rows import COLUMNS, Finished
from ioi_bench.evaluation.data import Progress, silent
from ioi_bench.evaluation.finished_run import FinishedRun, MemberT, edits_at
from ioi_bench.sites import Site
from ioi_bench.threads import in_threads

if TYPE_CHECKING:
    import pandas as pd

    from ioi_bench.lm.circuit import Circuit
    from ioi_bench.lm.model import LanguageModel

__all__ = ["candidates_table", "judge_site"]


def candidates_table(
    run: FinishedRun[MemberT],
    model: LanguageModel,
    circuit: Circuit,
    *,
    methods: Sequence[str] = tuple(EDITS),
    budget: int = 2,
    prompts: int | None = None,
    train_prompts: int | None = None,
    ld_prompts: int = 256,
    edits: Mapping[str, EditMethod] = EDITS,
    batch_size: int = 512,
    cache_dir: str | Path | None = None,
    keep: str | Path | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Judge every member of a run at every checkpoint, alone at its site, by edits on validation prompts.

    A row is one dictionary × attribute × method, with `COLUMNS`; sorted by variant, seed, site, sparsity, epoch, then
    attributes and methods in their own order. L0, L2 loss and FVU are of validation, the dead share is of train.
    Dictionaries that break their contract (NaN, Inf) have NaN for figures and say why in ``problem``.

    Args:
        run: a finished training run.
        model, circuit: what it was trained on; members at sites outside the circuit are left out.
        methods: edit methods by name.
        budget: the number of rounds of each edit.
        prompts: only the first so many of validation.
        train_prompts: only the first so many of train, for F1, means and dead shares.
        ld_prompts: so many validation prompts are run through the model with the site's reconstructions; 0 for none.
        edits: what methods there are.
        batch_size: prompts captured at once; changes memory and time, not results.
        cache_dir: where captures are kept; ``None`` keeps none.
        keep: a folder for finished rows: work that was cut off goes on from there, and rows of dictionaries that have
            changed since are made anew. ``None`` keeps none.
        progress: called as ``progress(what, done, total)``.

    Raises:
        UnknownNameError: no such edit method.
        InputError: a budget or numbers of prompts that make no sense; a run without a member in the circuit.
        SuiteError: the run was trained on another model.
        StorageError: ``keep`` cannot be written.
    """
    tell = progress or silent
    job = job_of(
        run,
        model,
        circuit,
        methods=methods,
        budget=budget,
        prompts=prompts,
        train_prompts=train_prompts,
        ld_prompts=ld_prompts,
        edits=edits,
        batch_size=batch_size,
        cache_dir=cache_dir,
        progress=tell,
    )
    members = members_by_site(run, circuit)
    finished = Finished(None if keep is None else Path(keep), job.key)
    try:
        _judge_all(run, job, members, finished, tell)
    finally:
        finished.save()  # also on an error or Ctrl-C
    wanted = {
        (m.variant, float(m.sparsity), m.seed, str(m.site), epoch)
        for some in members.values()
        for m in some
        for epoch in run.checkpoints
    }
    return finished.table(wanted, methods)


def _judge_all(
    run: FinishedRun[MemberT],
    job: Job,
    members: Mapping[Site, Sequence[MemberT]],
    finished: Finished,
    tell: Progress,
) -> None:
    """Checkpoint by checkpoint, the sites of one in threads."""
    total = sum(map(len, members.values())) * len(run.checkpoints)
    done, lock = 0, Lock()

    def advance(n: int) -> None:
        nonlocal done
        with lock:
            done += n
            tell("dictionaries", done, total)

    for epoch in run.checkpoints:
        left = {site: [m for m in some if not _is_done(run, job, m, epoch, finished)] for site, some in members.items()}
        advance(sum(len(members[site]) - len(some) for site, some in left.items()))
        sites = [site for site, some in left.items() if some]
        if not sites:
            continue
        job.prepare()

        def judge(site: Site, epoch: int = epoch, left: Mapping[Site, Sequence[MemberT]] = left) -> None:
            view = site_view(site, edits_at(job.circuit)[site], *job.data)
            finished.add(judge_site(run, job, view, left[site], epoch, advance))

        in_threads(judge, sites)


def _is_done(run: FinishedRun[MemberT], job: Job, member: MemberT, epoch: int, finished: Finished) -> bool:
    if not finished.has(member, epoch):
        return False
    return finished.has(member, epoch, _loaded(run, job, member, epoch)[1])


def _loaded(
    run: FinishedRun[MemberT], job: Job, member: MemberT, epoch: int
) -> tuple[Dictionary | DictionaryError, str]:
    """A dictionary and the hash of its weights; or why it cannot be used: training that diverged leaves NaN."""
    try:
        dictionary = run.dictionary(member, epoch)
    except DictionaryError as error:
        return error, ""
    return dictionary, job.content(member, dictionary)


def judge_site(
    run: FinishedRun[MemberT],
    job: Job,
    view: SiteView,
    members: Iterable[MemberT],
    epoch: int,
    advance: Callable[[int], None],
) -> list[dict[str, Any]]:
    """All rows of some members at one site and checkpoint, the expensive part of `candidates_table`."""
    rows: list[list[dict[str, Any]]] = []
    patched = {}
    for i, member in enumerate(members):
        dictionary, content = _loaded(run, job, member, epoch)
        problem = str(dictionary) if isinstance(dictionary, DictionaryError) else ""
        if not isinstance(dictionary, DictionaryError):
            try:
                figures, edited, patched[i] = view.judge(dictionary, job.edits, job.budget, job.ld_prompts)
            except DictionaryError as error:
                problem = str(error)
        if problem:
            figures, edited = spoilt_figures(view.edits, job.edits)
        shared = {
            "variant": member.variant,
            "sparsity": float(member.sparsity),
            "seed": member.seed,
            "site": str(member.site),
            "epoch": epoch,
            "sha256": content,
            **figures,
            "ld_recovered": float("nan"),
            "ld_reliable": False,
            "problem": problem,
            "budget": job.budget,
            "prompts": len(job.validation),
            "train_prompts": len(job.train),
        }
        rows.append([{**shared, **one} for one in edited])
        advance(1)
    if job.ld_prompts and patched:
        recovered, reliable = job.logit_differences.recovered(view.site, list(patched.values()))
        for i, value in zip(patched, recovered, strict=True):
            for row in rows[i]:
                row |= {"ld_recovered": value, "ld_reliable": reliable}
    flat = [row for some in rows for row in some]
    assert all(set(row) == set(COLUMNS) for row in flat)
    return flat
