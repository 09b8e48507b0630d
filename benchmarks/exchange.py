"""The `exchange` edit against the direct formulation, which builds ``[prompt, d_sae, d_in]`` in every round.

Both run in the same process, on one thread, in turn; the ratio is of the medians of the processor time, so that other
load on the machine counts for neither. The direct formulation needs 5 GB at the larger size.

Most of what the direct formulation costs is memory. At the smaller size its blocks have 26 MB, and whether their pages
are fresh or kept is glibc's choice by what ran before; so the size is measured in a new process, which has its own
defaults, and once more where glibc was told to keep every page. There the direct
formulation is little but arithmetic: that record has no goal, but a bound, the ratio that the two matrix products alone
would have.
"""

from __future__ import annotations

import ctypes
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ioi_bench.dictionary import AffineDecoder
from ioi_bench.editing import EditInputs, FeatureStatistics
from ioi_bench.editing.exchange import exchange


@dataclass(frozen=True)
class Case:
    """A size to measure at; ``l0`` features are active on each side of each prompt."""

    prompts: int
    d_sae: int
    d_in: int
    rounds: int
    l0: int
    goal: float
    repeats: int

    @property
    def name(self) -> str:
        return f"exchange ({self.prompts}, {self.d_sae}, {self.d_in}, k={self.rounds}), L0 {self.l0}"


CASES = (
    Case(200, 512, 64, rounds=2, l0=20, goal=50, repeats=20),
    Case(20, 24576, 768, rounds=2, l0=32, goal=200, repeats=3),
)


def planted(case: Case) -> EditInputs:
    """Sparse features with unit directions, and activations that they explain up to noise.

    The two sides share features by chance only, so about 2·L0 a prompt change: more than under a real counterfactual.
    """
    generator = torch.Generator().manual_seed(0)

    def sparse() -> Tensor:
        features = torch.zeros(case.prompts, case.d_sae)
        where = torch.rand(case.prompts, case.d_sae, generator=generator).topk(case.l0, dim=1).indices
        return features.scatter_(1, where, torch.rand(case.prompts, case.l0, generator=generator) + 0.1)

    directions = torch.nn.functional.normalize(torch.randn(case.d_sae, case.d_in, generator=generator), dim=1)
    decoder = AffineDecoder(directions, torch.zeros(case.d_in))
    f_s, f_t = sparse(), sparse()
    a_s, a_t = (
        decoder(f) + 0.1 * torch.randn(case.prompts, case.d_in, generator=generator) / case.d_in**0.5
        for f in (f_s, f_t)
    )
    nothing = torch.zeros(1, case.d_sae)
    values = torch.zeros(case.prompts, dtype=torch.int64)
    return EditInputs(decoder, a_s, a_t, f_s, f_t, values, values, FeatureStatistics(nothing, nothing, nothing[0]))


@torch.no_grad()
def direct(inputs: EditInputs, rounds: int) -> Tensor:
    """METHOD §5 word for word: every feature's edited activation, its distance to the target, the nearest one."""
    edited, delta = inputs.a_s, inputs.f_t - inputs.f_s
    chosen = torch.zeros_like(delta, dtype=torch.bool)
    everyone = torch.arange(len(edited))
    for _ in range(rounds):
        after = edited[:, None] + delta[:, :, None] * inputs.directions
        pick = (after - inputs.a_t[:, None]).norm(dim=2).masked_fill(chosen, torch.inf).argmin(1)
        chosen[everyone, pick] = True
        edited = edited + delta[everyone, pick, None] * inputs.directions[pick]
    return edited


def seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def keep_pages() -> None:
    """Freed blocks of up to 32 MB stay with the process (glibc; elsewhere this does nothing)."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(-3, 1 << 25)  # M_MMAP_THRESHOLD
        mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD


def measure(case: Case) -> dict[str, Any]:
    """Medians of `exchange`, of the direct formulation and of the matrix products alone, taken in turn."""
    inputs = planted(case)
    # the same result (near ties may be settled otherwise, so distances are compared), and both are warm
    results = exchange(inputs, (case.rounds,)).edited[0], direct(inputs, case.rounds)
    torch.testing.assert_close(*((result - inputs.a_t).norm(dim=1) for result in results), rtol=1e-5, atol=0)
    ours, theirs, products = [], [], []
    for _ in range(case.repeats):
        theirs.append(seconds(lambda: direct(inputs, case.rounds)))
        ours.extend(seconds(lambda: exchange(inputs, (case.rounds,))) for _ in range(5))
        products.extend(seconds(lambda: inputs.a_s @ inputs.directions.T) * case.rounds for _ in range(5))
    fast, slow, least = (statistics.median(taken) for taken in (ours, theirs, products))
    return {
        "name": case.name,
        "ratio": slow / fast,
        "goal": case.goal,
        "unit": "×",
        "seconds": fast,
        "direct_seconds": slow,
        "bound": slow / least,
    }


def measure_small(*, kept: bool) -> dict[str, Any]:
    """The smaller size in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.exchange", "kept" if kept else "new"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1])
    found = json.loads(done.stdout)
    return found | {"name": f"{found['name']}, kept pages", "goal": None} if kept else _with_goal(found)


def _with_goal(found: dict[str, Any]) -> dict[str, Any]:
    """Without the bound, which is of the whole dictionary: only active features enter."""
    return {key: value for key, value in found.items() if key != "bound"}


def run() -> list[dict[str, Any]]:
    """Records: name, ratio of medians, goal, unit, and the medians in seconds."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [measure_small(kept=False), measure_small(kept=True), _with_goal(measure(CASES[1]))]
    finally:
        torch.set_num_threads(threads)


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1:] == ["kept"]:
        keep_pages()
    print(json.dumps(measure(CASES[0])))
