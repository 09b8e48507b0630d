"""All chunks of a run, and how long they will take."""

from __future__ import annotations

import time
from pathlib import Path
from threading import Event

import torch

from ioi_bench.threads import in_threads
from ioi_bench.training.chunk import EpochReport, Progress, train_chunk
from ioi_bench.training.programs import Batch, program
from ioi_bench.training.runs import Chunk, Run
from ioi_bench.training.step import Step

__all__ = ["estimate", "train_run"]


def train_run(folder: str | Path, *, device: str = "cpu", progress: Progress | None = None) -> Run:
    """Train what is left of a run; on a processor as many chunks at a time as torch has threads, one thread each.

    Raises:
        InputError: no run, or a damaged state.
        IoiBenchError: a loss is no longer finite.
        StorageError: the folder cannot be read or written.
    """
    run, stop = Run(Path(folder)), Event()

    def tell(report: EpochReport) -> None:
        if stop.is_set():
            raise InterruptedError("another chunk failed")
        if progress is not None:
            progress(report)

    def one(index: int) -> None:
        train_chunk(run.folder, index, device=device, progress=tell)

    indices = range(len(run.chunks))
    if torch.device(device).type == "cpu":
        in_threads(one, indices, stop=stop)
    else:
        for index in indices:
            one(index)
    return run


def estimate(run: Run, *, device: str = "cpu", steps: int = 3, resumed: bool = False) -> float:
    """Seconds that the whole run will take, from some steps of every kind of chunk.

    Args:
        run: a planned one.
        device: where it is trained.
        steps: how many are measured.
        resumed: leave out the epochs that are done.
    """
    per_member: dict[tuple[str, int], float] = {}
    seconds, chunks = 0.0, 0
    for chunk in run.chunks:
        epochs = run.recipe.epochs - (run.epochs_done(chunk) if resumed else 0)
        if not epochs:
            continue
        kind = (chunk.variant, chunk.d_in)
        if kind not in per_member:
            per_member[kind] = _step_seconds(run, chunk, device, steps) / len(chunk.members)
        prompts = int(run.provenance.get("train_prompts", len(run.data(chunk.members[0].site))))
        per_epoch = max(1, prompts // run.recipe.batch_size)
        seconds += per_member[kind] * len(chunk.members) * per_epoch * epochs
        chunks += 1
    at_once = min(torch.get_num_threads(), max(1, chunks)) if torch.device(device).type == "cpu" else 1
    return seconds / at_once


@torch.no_grad()
def _step_seconds(run: Run, chunk: Chunk, device: str, steps: int) -> float:
    threads = torch.get_num_threads()
    recipe, members = run.recipe, len(chunk.members)
    sparsity = torch.tensor([member.sparsity for member in chunk.members])
    if torch.device(device).type == "cpu":
        torch.set_num_threads(1)
    try:
        made = program(chunk.variant)(
            sparsity, chunk.d_in, recipe.d_sae, recipe.batch_size, device=device, half=recipe.precision == "bfloat16"
        )
        for i in range(members):
            made.initialise(i, torch.zeros(chunk.d_in, device=device), torch.Generator().manual_seed(i))
        x = torch.randn(members, recipe.batch_size, chunk.d_in, device=device)
        learn, started = Step(made), 0.0
        for i in range(steps + 2):  # the first two are not counted: buffers are touched for the first time
            if i == 2:
                started = time.perf_counter()
            learn(Batch(x, x), 1e-4)
        if torch.device(device).type == "cuda":
            torch.cuda.synchronize()
        return (time.perf_counter() - started) / steps
    finally:
        torch.set_num_threads(threads)
