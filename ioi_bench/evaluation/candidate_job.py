"""What a table of candidates is asked for: prompts, edits and data, with the members that are judged on them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ioi_bench.dictionaries.suite import Suite
from ioi_bench.dictionary import Dictionary
from ioi_bench.editing import EDITS, EditMethod
from ioi_bench.editing.base import check_budgets
from ioi_bench.errors import InputError, SuiteError, UnknownNameError
from ioi_bench.evaluation.candidate_figures import LogitDifferences
from ioi_bench.evaluation.data import Capture, Progress, SplitData, TrainData, read_split, read_train, split_of
from ioi_bench.evaluation.finished_run import FinishedRun, MemberT, RunMember, edits_at
from ioi_bench.sites import Cell, Site
from ioi_bench.task import Split

if TYPE_CHECKING:
    from ioi_bench.lm.circuit import Circuit
    from ioi_bench.lm.model import LanguageModel

__all__ = ["Job", "job_of", "members_by_site"]

_VERSION = 1
"""Raised whenever the figures of the same dictionary would change: rows of another version are not taken up."""


def _cells(circuit: Circuit) -> tuple[Cell, ...]:
    return tuple(dict.fromkeys((*circuit.headline, *circuit.further)))


@dataclass(frozen=True)
class Job:
    """What a table was asked for."""

    model: LanguageModel
    circuit: Circuit
    validation: Split
    train: Split
    edits: Mapping[str, EditMethod]
    budget: int
    ld_prompts: int
    capture: Capture

    @cached_property
    def key(self) -> str:
        """Hash of everything but the dictionaries that decides the rows. No test prompt enters it."""
        spec = self.train.spec
        prompts = hashlib.sha256()
        for split in (self.train, self.validation):
            for row in zip(split.prompts, split.io_targets, split.s_targets, strict=True):
                prompts.update(f"{spec.text(row[0])}\t{row[0].pattern}\t{row[1]}\t{row[2]}\n".encode())
        parts = {
            "version": _VERSION,
            "model": self.model.sha256,
            "edits": {str(site): edits for site, edits in edits_at(self.circuit).items()},
            "prompts": prompts.hexdigest(),
            "methods": sorted(self.edits),
            "budget": self.budget,
            "ld_prompts": self.ld_prompts,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @cached_property
    def data(self) -> tuple[TrainData, SplitData]:
        """Activations; captured only where some dictionary has still to be judged."""
        cells = _cells(self.circuit)
        train = read_train(self.capture, self.circuit, cells, self.train, {})
        return train, read_split(self.capture, self.circuit, cells, self.validation, {})

    @cached_property
    def logit_differences(self) -> LogitDifferences:
        """Of the clean runs of the first prompts, and under mean ablation of each site alone."""
        train, data = self.data
        return LogitDifferences.of(self.model, data, train, self.ld_prompts)

    def prepare(self) -> None:
        """Make what threads share, before there are any."""
        _ = self.data
        if self.ld_prompts:
            _ = self.logit_differences

    def content(self, member: RunMember, dictionary: Dictionary) -> str:
        """Hash of a dictionary's weights."""
        return Suite("candidate", self.model.name, {member.site: dictionary}).sha256


def job_of(
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
    progress: Progress,
) -> Job:
    """Check what `candidates_table` was asked for, and say it in one.

    Raises:
        UnknownNameError, InputError, SuiteError: as there.
    """
    check_budgets((budget,))
    for name in methods:
        if name not in edits:
            raise UnknownNameError("edit method", name, edits)
    if not methods or len(set(methods)) != len(methods) or ld_prompts < 0:
        raise InputError(
            f"give edit methods by distinct names and 0 or more ld_prompts; got {list(methods)} and {ld_prompts}"
        )
    _check_run(run, model)
    return Job(
        model,
        circuit,
        split_of(circuit, "validation", prompts),
        split_of(circuit, "train", train_prompts),
        {name: edits[name] for name in methods},
        budget,
        ld_prompts,
        Capture(model, batch_size, None if cache_dir is None else Path(cache_dir), progress),
    )


def _check_run(run: FinishedRun[MemberT], model: LanguageModel) -> None:
    trained_on = run.provenance.get("model_sha256")
    if trained_on is not None and trained_on != model.sha256:
        raise SuiteError(
            f"the run was trained on activations of a model with sha256 {str(trained_on)[:12]}…, but {model.name!r} "
            f"has {model.sha256[:12]}…: name the run's own model, or train anew"
        )


def members_by_site(run: FinishedRun[MemberT], circuit: Circuit) -> dict[Site, list[MemberT]]:
    """What is judged at each site of the circuit.

    Raises:
        InputError: nothing.
    """
    found: dict[Site, list[MemberT]] = {site: [] for site in edits_at(circuit)}
    for member in run.members:
        if member.site in found:
            found[member.site].append(member)
    found = {site: some for site, some in found.items() if some}
    if not found or not run.checkpoints:
        raise InputError(
            f"the run has nothing to select among: {len(run.members)} members and {len(run.checkpoints)} checkpoints, "
            f"{sum(map(len, found.values()))} of the members at sites of the circuit {circuit.track!r}; name the "
            "circuit that it was trained for, or finish the run"
        )
    return found
