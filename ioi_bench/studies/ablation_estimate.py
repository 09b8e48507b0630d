"""How long the study of tactics will take, from some steps of training and some dictionaries that are judged."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ioi_bench.evaluation.data import Progress, silent
from ioi_bench.evaluation.finished_run import edits_at
from ioi_bench.evaluation.selection import candidates_table
from ioi_bench.studies.ablation import FULL
from ioi_bench.studies.ablation_study import CHUNK_MEMBERS, METHODS, recipes_to_train
from ioi_bench.training import Recipe, Run, TrainInputs, UntrainedRun, estimate

if TYPE_CHECKING:
    from ioi_bench.lm.circuit import Circuit
    from ioi_bench.lm.model import LanguageModel

__all__ = ["AblationEstimate", "estimate_ablation"]


@dataclass(frozen=True)
class AblationEstimate:
    """Work, and the seconds that it takes from nothing.

    Attributes:
        runs: that are trained, the full one among them.
        saes: that are trained, over all runs.
        judged: dictionaries, over all checkpoints and runs.
        training, judging: seconds.
    """

    runs: int
    saes: int
    judged: int
    training: float
    judging: float


def estimate_ablation(
    recipe: Recipe,
    inputs: TrainInputs,
    model: LanguageModel,
    circuit: Circuit,
    folder: Path,
    *,
    prompts: int | None = None,
    device: str = "cpu",
    cache_dir: Path | None = None,
    progress: Progress | None = None,
) -> AblationEstimate:
    """Measure, as `study_ablation` with the same arguments would work. It plans the full run in its folder.

    Raises:
        InputError, StorageError: as `study_ablation`.
    """
    recipes = recipes_to_train(recipe)
    run = inputs.plan(folder / FULL, recipe, chunk_members=CHUNK_MEMBERS)
    judged = sum(len(run.members) * len(one.kept) for one in recipes.values())
    sites = {member.site for member in run.members}
    per_dictionary = _judging_seconds(run, model, circuit, prompts, cache_dir, progress)
    return AblationEstimate(
        runs=len(recipes),
        saes=len(recipes) * len(run.members),
        judged=judged,
        training=len(recipes) * estimate(run, device=device),
        judging=judged * per_dictionary / min(torch.get_num_threads(), len(sites)),
    )


def _judging_seconds(
    run: Run,
    model: LanguageModel,
    circuit: Circuit,
    prompts: int | None,
    cache_dir: Path | None,
    progress: Progress | None,
) -> float:
    """Of one dictionary in one thread, at a site that edits about as many attributes as sites do on average."""
    tell, edits = progress or silent, edits_at(circuit)
    mean = sum(map(len, edits.values())) / len(edits)
    site = min(edits, key=lambda one: abs(len(edits[one]) - mean))
    own = [member for member in run.members if member.site == site]
    untrained = UntrainedRun(run, own, (1, 2))
    times: list[float] = []

    def watch(what: str, done: int, total: int) -> None:
        if what == "dictionaries" and done:
            times.append(time.perf_counter())
        tell(f"estimate: {what}", done, total)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the study's threads have
    try:
        options: dict[str, Any] = {"train_prompts": run.recipe.train_prompts, "ld_prompts": 0, "cache_dir": cache_dir}
        candidates_table(untrained, model, circuit, methods=METHODS, prompts=prompts, progress=watch, **options)
    finally:
        torch.set_num_threads(threads)
    done = 2 * len(own)  # as many as end, and one is not counted: all of the data is read before it
    return (times[-1] - times[0]) / max(1, done - 1)
