"""Training 55 sites × 4 sparsities together, against the same SAEs one after another by a plain loop.

The plain loop is what one would write: a module with the loss of the paper, autograd, `torch.optim.Adam`, the
decoder's parallel gradient removed and its rows made unit norm. Both take the same steps on as many threads as torch
has, in turn; each ratio is of the medians of wall time per SAE and step. ``matmul_share`` is the time that the matrix
products of the batched program take alone, run the same way, as a share of the whole;
``post_sweep_hours`` is how long 2,000 epochs of 20,000 prompts would take for all of these SAEs.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ioi_bench.sites import Site
from ioi_bench.threads import in_threads
from ioi_bench.training import Recipe, create_run, train_run

SITES, D_IN, D_SAE, BATCH, STEPS = 55, 64, 512, 512, 8
SPARSITIES = {"relu": (0.5, 1.0, 2.5, 5.0), "gated": (0.5, 1.0, 2.5, 5.0), "topk": (3.0, 6.0, 12.0, 24.0)}
PRODUCTS = {
    "relu": 5,
    "topk": 5,
    "gated": 7,
}  # encode, decode, and the gradients of W_dec, f and W_enc; gated: aux, too
ROUNDS, ALONE = 3, 6  # how often each is timed; how many SAEs the plain loop trains each time
GOAL = 1.5


class Plain(nn.Module):
    """One SAE, as the papers write it."""

    def __init__(self, variant: str, sparsity: float) -> None:
        super().__init__()
        self.variant, self.sparsity = variant, sparsity
        rows = nn.functional.normalize(torch.randn(D_SAE, D_IN), dim=1)
        self.W_dec, self.W_enc = nn.Parameter(rows), nn.Parameter(rows.T.clone())
        self.b_enc, self.b_dec = nn.Parameter(torch.zeros(D_SAE)), nn.Parameter(torch.zeros(D_IN))
        if variant == "gated":
            self.r_mag, self.b_mag = nn.Parameter(torch.zeros(D_SAE)), nn.Parameter(torch.zeros(D_SAE))

    def loss(self, x: Tensor) -> Tensor:
        u = (x - self.b_dec) @ self.W_enc
        penalty: Tensor | float = 0.0
        if self.variant == "gated":
            gate = u + self.b_enc
            f = (gate > 0) * torch.relu(self.r_mag.exp() * u + self.b_mag)
            opened = torch.relu(gate)
            fixed = opened @ self.W_dec.detach() + self.b_dec.detach()
            penalty = self.sparsity * opened.sum(1) + (x - fixed).square().sum(1)
        elif self.variant == "topk":
            f = torch.relu(u + self.b_enc)
            best = f.topk(int(self.sparsity), dim=1)
            f = torch.zeros_like(f).scatter(1, best.indices, best.values)
        else:
            f = torch.relu(u + self.b_enc)
            penalty = self.sparsity * f.sum(1)
        error = f @ self.W_dec + self.b_dec - x
        return (error.square().sum(1) + penalty).mean()

    def learn(self, x: Tensor) -> None:
        """`STEPS` steps."""
        adam = torch.optim.Adam(self.parameters(), lr=3e-4)
        for step in range(STEPS):
            adam.zero_grad()
            self.loss(x[step * BATCH : (step + 1) * BATCH]).backward()
            with torch.no_grad():
                gradient = self.W_dec.grad
                assert gradient is not None
                gradient -= (gradient * self.W_dec).sum(1, keepdim=True) * self.W_dec
            adam.step()
            with torch.no_grad():
                self.W_dec /= self.W_dec.norm(dim=1, keepdim=True)


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def products(members: int, count: int) -> Callable[[], object]:
    """The matrix products of ``STEPS`` steps alone, each ``[BATCH, D_IN] × [D_IN, D_SAE]`` in size, chunk by chunk."""
    size = 32
    buffers = [
        (torch.randn(size, BATCH, D_IN), torch.randn(size, D_IN, D_SAE), torch.empty(size, BATCH, D_SAE))
        for _ in range(torch.get_num_threads())
    ]

    def chunk(index: int) -> None:
        a, b, out = buffers[index % len(buffers)]
        for _ in range(STEPS * count):
            torch.bmm(a, b, out=out)

    return lambda: in_threads(chunk, range(round(members / size)))


def measure(variant: str) -> dict[str, Any]:
    sites = [Site.parse(f"z.{i // 12}.{i % 12}@end") for i in range(SITES)]
    generator = torch.Generator().manual_seed(0)
    data = {site: torch.randn(STEPS * BATCH, D_IN, generator=generator) for site in sites}
    recipe = Recipe(variants={variant: SPARSITIES[variant]}, d_sae=D_SAE, epochs=1, batch_size=BATCH)
    members = SITES * 4
    alone, together, matmul = [], [], []
    only = products(members, PRODUCTS[variant])
    for round_ in range(ROUNDS + 1):
        with tempfile.TemporaryDirectory() as folder:
            run = create_run(Path(folder) / "run", recipe, data)
            taken = (
                seconds(lambda: train_run(run.folder)) / members,  # noqa: B023 (called at once)
                seconds(
                    lambda: [Plain(variant, SPARSITIES[variant][i % 4]).learn(data[sites[i]]) for i in range(ALONE)]
                )
                / ALONE,
                seconds(only) / members,
            )
        if round_:  # the first is warm-up
            for kept, value in zip((together, alone, matmul), taken, strict=True):
                kept.append(value / STEPS)
    ours, theirs, least = (statistics.median(kept) for kept in (together, alone, matmul))
    return {
        "name": f"training {variant}, {SITES} sites × 4, d_in {D_IN}, d_sae {D_SAE}",
        "ratio": theirs / ours,
        "goal": GOAL,
        "unit": "×",
        "seconds": ours,
        "direct_seconds": theirs,
        "matmul_share": least / ours,
        "matmul_share_goal": 0.7,  # whichever is reached first
        "post_sweep_hours": ours * members * 2000 * (20_000 // BATCH) / 3600,
    }


def run() -> list[dict[str, Any]]:
    """Records: ratio of medians per SAE and step, goal, and the share of the matrix products."""
    return [measure(variant) for variant in SPARSITIES]
