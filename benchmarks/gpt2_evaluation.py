"""A whole evaluation at GPT-2's size: where the time goes, and how much memory it takes.

A GPT-2 of the true size with random weights, a random top-k suite at all 55 sites, the six headline cells (all counted
as ranked, so that their nulls are run), `exchange` at k ≤ 4, 256 prompts. It runs in a process of its own, whose peak
of resident memory is what counts. The first record compares memory with its bound of 6 GB (the ratio is bound over
peak); the second shows what bounds the time: forward passes, and comparing their logits over the whole vocabulary.
What is left is reading, edits and nulls.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from ioi_bench.dictionaries.architectures import TopK
from ioi_bench.dictionaries.suite import Suite
from ioi_bench.sites import Site

MEMORY_BOUND_GB = 6.0
PROMPTS, TRAIN_PROMPTS, D_SAE = 256, 1000, 512


def evaluate_once(directory: Path) -> dict[str, Any]:
    """Seconds by part, the share of processor time in forward passes, and peak memory in GB."""
    from benchmarks._memory import peak_bytes
    from benchmarks._offline_gpt2 import gpt2_tokenizer, save_random_gpt2
    from ioi_bench.evaluation import runs, study
    from ioi_bench.evaluation.evaluate import evaluate
    from ioi_bench.lm import load_circuit, model
    from ioi_bench.lm.circuit import RankedCell

    save_random_gpt2(directory, gpt2_tokenizer(), scale=2.0)
    circuit = load_circuit("gpt2")
    forward = [timed(model, "capture"), timed(study, "clean_run")]
    forward += [timed(module, "patched_logits") for module in (study, runs)]
    compared = [timed(module, "compare") for module in (study, runs)]
    before = time.process_time()
    card = evaluate(
        random_suite(circuit.sites),
        model=directory,
        circuit=circuit,
        ranking={cell: RankedCell(True, "") for cell in circuit.headline},
        prompts=PROMPTS,
        train_prompts=TRAIN_PROMPTS,
        budgets=(1, 2, 4),
        methods=("exchange",),
        batch_size=PROMPTS // 2,  # a batch for each of two threads, so that a thread's time is its own
    )
    spent = time.process_time() - before
    return {
        "seconds": card.made.wall_seconds,
        "timing": card.made.timing,
        "forward_share": sum(map(sum, forward)) / spent,
        "compare_share": sum(map(sum, compared)) / spent,
        "peak_gb": peak_bytes() / 2**30,
    }


def random_suite(sites: Sequence[Site]) -> Suite:
    """Top-k dictionaries with random unit rows."""
    generator = torch.Generator().manual_seed(0)

    def one() -> TopK:
        rows = torch.nn.functional.normalize(torch.randn(D_SAE, 64, generator=generator), dim=1)
        return TopK(W_enc=rows.T.contiguous(), b_enc=torch.zeros(D_SAE), W_dec=rows, b_dec=torch.zeros(64), k=3)

    return Suite("random", "gpt2-random", {site: one() for site in sites})


def timed(module: ModuleType, name: str) -> list[float]:
    """Have a function of a module keep the processor seconds of its own thread, call by call."""
    function, seconds = getattr(module, name), []

    def call(*args: Any, **kwargs: Any) -> Any:
        before = time.thread_time()
        try:
            return function(*args, **kwargs)
        finally:
            seconds.append(time.thread_time() - before)

    setattr(module, name, call)
    return seconds


def run() -> list[dict[str, Any]]:
    """Records: memory against its bound, and the share of forward passes, with the seconds of every part."""
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "benchmarks.gpt2_evaluation", directory]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1])
    found = json.loads(done.stdout)
    what = f"evaluation at GPT-2's size, {PROMPTS} prompts"
    parts = {"seconds": found["seconds"], "parts": {name: round(s, 1) for name, s in found["timing"].items()}}
    return [
        {
            "name": f"{what}: 6 GB over the peak of resident memory",
            "ratio": MEMORY_BOUND_GB / found["peak_gb"],
            "goal": 1.0,
            "peak_gb": found["peak_gb"],
            **parts,
        },
        {
            "name": f"{what}: share of processor time in forward passes and in comparing logits",
            "ratio": found["forward_share"] + found["compare_share"],
            "goal": None,
            "bound": 1.0,
            "unit": "",
            "forward_share": found["forward_share"],
            "compare_share": found["compare_share"],
        },
    ]


if __name__ == "__main__":
    print(json.dumps(evaluate_once(Path(sys.argv[1]))))
