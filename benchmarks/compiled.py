"""Whether `torch.compile` pays for a training step on a processor: it does not, and so training has no such option.

The same step (loss and gradients by hand, then Adam and unit rows) of one chunk, as it is and with its gradients
compiled, in turn in one thread; the ratio is of the medians of processor time, which other work on the machine moves
little. The products take two thirds of the time and stay what they are; the rest already works in place, in buffers
that are touched again and again, where compiled code allocates new ones. There is no goal: a ratio above 1.2 would be a
reason to think again (``bound``). Top-k is left out: its selection is NumPy's, at which the compiler stops.
``largest_difference`` is that of any weight after the steps; ``compile_seconds`` are spent once.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ioi_bench.training.programs import Batch, program
from ioi_bench.training.step import Step

MEMBERS, D_IN, D_SAE, BATCH = 4, 64, 512, 512
SPARSITY = {"relu": 2.5, "gated": 2.5}
ROUNDS, STEPS, RATE = 15, 6, 1e-3


def learner(variant: str) -> Step:
    made = program(variant)(torch.full((MEMBERS,), SPARSITY[variant]), D_IN, D_SAE, BATCH)
    for i in range(MEMBERS):
        made.initialise(i, torch.zeros(D_IN), torch.Generator().manual_seed(i))
    return Step(made)


def compiled(learn: Step) -> Callable[[Tensor], object]:
    """`Step`, its gradients compiled."""

    def gradients(x: Tensor) -> tuple[Tensor, ...]:
        figures = learn.program.backward(Batch(x, x))
        learn.program.remove_parallel_gradient()
        return figures.loss, figures.error, figures.active, figures.feature_sums

    fast = torch.compile(gradients, dynamic=False)

    @torch.no_grad()
    def step(x: Tensor) -> None:
        fast(x)
        learn._adam.param_groups[0]["lr"] = RATE
        learn._adam.step()
        learn.program.normalise()

    return step


def seconds(call: Callable[[Tensor], object], x: Tensor) -> float:
    start = time.process_time()
    for batch in x:
        call(batch)
    return (time.process_time() - start) / len(x)


def measure(variant: str) -> dict[str, Any]:
    torch.compiler.reset()
    plain, fast = learner(variant), learner(variant)
    x = torch.randn(STEPS, MEMBERS, BATCH, D_IN, generator=torch.Generator().manual_seed(0))
    steps = (lambda batch: plain(Batch(batch, batch), RATE), compiled(fast))
    start = time.perf_counter()
    steps[1](x[0])
    took = time.perf_counter() - start
    steps[0](x[0])
    times = [[seconds(step, x) for step in steps] for _ in range(ROUNDS)]
    ours, theirs = (statistics.median(column) for column in zip(*times, strict=True))
    return {
        "name": f"torch.compile of a step, {variant}, {MEMBERS} SAEs, d_in {D_IN}, d_sae {D_SAE}",
        "ratio": ours / theirs,
        "goal": None,
        "bound": 1.0,
        "seconds": ours,
        "compiled_seconds": theirs,
        "largest_difference": float((plain.program.flat - fast.program.flat).abs().max()),
        "compile_seconds": took,
    }


def run() -> list[dict[str, Any]]:
    """A record a variant: the ratio, with 1 for its bound; none where there is no compiler."""
    if shutil.which("g++") is None and shutil.which("clang++") is None:
        print("  no C++ compiler: nothing to measure", file=sys.stderr)
        return []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as training's threads have
    try:
        return [measure(variant) for variant in SPARSITY]
    finally:
        torch.set_num_threads(threads)
