"""Training SAEs at many sites in one program (METHOD §8).

Activations are scaled so that their mean norm is √d_in. Sites of one d_in are stacked and take their steps together:
one batch of prompts, one set of products, one Adam (β .9, .999) over one flat vector. Nothing passes between sites,
and each has initial weights from its own generator, so that a site trained among others equals the same site trained
alone (to rounding). Decoder rows have unit norm and their gradient no parallel part, for relu and gated (METHOD §8)
and, as Gao et al. do, for topk.

On one processor and number of threads, the same seed gives the same bytes, also through any number of interruptions.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ioi_bench.dictionaries.architectures import Architecture
from ioi_bench.errors import InputError, IoiBenchError
from ioi_bench.sites import Site
from ioi_bench.training.config import TrainConfig
from ioi_bench.training.programs import Figures, Program, program
from ioi_bench.training.schedule import learning_rate
from ioi_bench.training.state import GroupState, RunState

__all__ = ["EpochReport", "input_scale", "train_suite"]

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class EpochReport:
    """One finished epoch of the sites of one d_in; figures are means over the epoch, in the SAEs' units.

    Attributes:
        epoch: how many are finished.
        epochs: how many there will be.
        sites: whose figures these are.
        loss: everything that is minimised.
        error: ``‖x − x̂‖²`` alone.
        l0: active features a prompt.
        dead: share of features that no prompt of the epoch activated.
        learning_rate: at the epoch's last step.
    """

    epoch: int
    epochs: int
    sites: tuple[Site, ...]
    loss: Float[Tensor, " site"]
    error: Float[Tensor, " site"]
    l0: Float[Tensor, " site"]
    dead: Float[Tensor, " site"]
    learning_rate: float


Progress = Callable[[EpochReport], None]


def train_suite(
    activations: Mapping[Site, Float[Tensor, "prompt d_in"]],
    config: TrainConfig,
    *,
    resume_path: str | Path | None = None,
    save_every: float = 60.0,
    progress: Progress | None = None,
) -> dict[Site, Architecture]:
    """Train one dictionary at every site.

    Args:
        activations: of the same train prompts at every site, in the model's units.
        config: the settings.
        resume_path: a file that keeps the state of the run: written about every ``save_every`` seconds, and whenever
            the run stops for any reason that lets it; a run with the same settings and activations goes on from it.
        save_every: seconds between writes.
        progress: called after every epoch of every group of sites with one d_in.

    Returns:
        Frozen dictionaries by site.

    Raises:
        InputError: no or unusable activations, or a state file of another run.
        IoiBenchError: the loss is no longer finite.
        StorageError: the state cannot be read or written.
    """
    groups = _grouped(activations)
    path = None if resume_path is None else Path(resume_path)
    state = RunState(path, {} if path is None else _identity(activations, config))
    trained: dict[Site, Architecture] = {}
    try:
        for d_in, sites in groups.items():
            group = _Group(sites, [activations[site] for site in sites], config, state.groups.get(d_in))
            trained |= group.run(state, save_every, progress)
    finally:
        state.save()  # on an error or Ctrl-C, the last whole epoch
    return trained


def input_scale(site: Site, activations: Float[Tensor, "prompt d_in"]) -> float:
    """What to multiply activations by so that their mean norm is √d_in.

    Raises:
        InputError: all are zero, or some are not finite.
    """
    norm = float(activations.double().norm(dim=1).mean())
    if not (math.isfinite(norm) and norm > 0):
        raise InputError(f"{site}: the mean norm of the train activations is {norm}, expected a positive number")
    return math.sqrt(activations.shape[1]) / norm


def _grouped(activations: Mapping[Site, Tensor]) -> dict[int, tuple[Site, ...]]:
    """Sites by d_in, in the order of their names."""
    if not activations:
        raise InputError("no activations were given: nothing to train")
    lengths = {len(a) for a in activations.values()}
    if len(lengths) > 1 or 0 in lengths:
        raise InputError(f"every site needs the same train prompts, at least one; got {sorted(lengths)} activations")
    groups: dict[int, tuple[Site, ...]] = {}
    for site in sorted(activations, key=str):
        d_in = activations[site].shape[1]
        groups[d_in] = (*groups.get(d_in, ()), site)
    return groups


def _identity(activations: Mapping[Site, Tensor], config: TrainConfig) -> dict[str, object]:
    hashes = {}
    for site in sorted(activations, key=str):
        data = activations[site].detach().contiguous().view(torch.uint8).numpy()
        hashes[str(site)] = hashlib.sha256(data.data).hexdigest()
    return {"settings": config.to_json(), "activations": hashes}


def _generator(*words: object) -> torch.Generator:
    """A generator of its own for every purpose."""
    digest = hashlib.sha256("/".join(map(str, words)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


class _Group:
    """The sites of one d_in, trained together."""

    def __init__(
        self, sites: tuple[Site, ...], activations: list[Tensor], config: TrainConfig, start: GroupState | None
    ) -> None:
        self.sites, self.config = sites, config
        self.scales = [input_scale(site, a) for site, a in zip(sites, activations, strict=True)]
        self.data = torch.stack([s * a.float() for s, a in zip(self.scales, activations, strict=True)])
        n_sites, self.n_prompts, d_in = self.data.shape
        self.batch = min(config.batch_size, self.n_prompts)
        self.per_epoch = self.n_prompts // self.batch
        lam = torch.tensor([config.lam_at(site) for site in sites])
        self.program: Program = program(config.architecture, n_sites, d_in, config.d_sae, self.batch, lam, config.k)
        self.first, self.second = torch.zeros_like(self.program.flat), torch.zeros_like(self.program.flat)
        self._x = torch.empty(n_sites, self.batch, d_in)
        self.epoch = 0
        if start is None:
            for i, site in enumerate(sites):
                self.program.initialise(i, self.data[i].mean(0), _generator(config.seed, "weights", site))
        else:
            self.epoch = start.epoch
            self.program.flat.copy_(start.weights)
            self.first.copy_(start.first)
            self.second.copy_(start.second)

    def run(self, state: RunState, save_every: float, progress: Progress | None) -> dict[Site, Architecture]:
        """All epochs that are left; `state` holds the last whole one throughout."""
        d_in, saved = self.data.shape[2], time.monotonic()
        while self.epoch < self.config.epochs:
            report = self._run_epoch()
            self._check(report)
            self.epoch += 1
            state.groups[d_in] = GroupState(
                self.epoch, self.program.flat.clone(), self.first.clone(), self.second.clone()
            )
            if time.monotonic() - saved >= save_every:
                state.save()
                saved = time.monotonic()
            if progress is not None:
                progress(report)
        return {site: self.program.export(i, self.scales[i]) for i, site in enumerate(self.sites)}

    @torch.no_grad()
    def _run_epoch(self) -> EpochReport:
        order = torch.randperm(self.n_prompts, generator=_generator(self.config.seed, "order", self.epoch))
        rate, totals = 0.0, torch.zeros(3, len(self.sites))
        used = torch.zeros(len(self.sites), self.config.d_sae)
        for i in range(self.per_epoch):
            rate, figures = self._step(order[i * self.batch : (i + 1) * self.batch], self.epoch * self.per_epoch + i)
            totals += torch.stack([figures.loss, figures.error, figures.active / self.batch])
            used += figures.feature_sums
        loss, error, l0 = totals / self.per_epoch
        dead = 1 - used.sign().mean(1)
        return EpochReport(self.epoch + 1, self.config.epochs, self.sites, loss, error, l0, dead, rate)

    def _step(self, prompts: Int64[Tensor, " prompt"], step: int) -> tuple[float, Figures]:
        config, program = self.config, self.program
        rate = learning_rate(
            step, config.epochs * self.per_epoch, config.warmup_epochs * self.per_epoch, config.learning_rate
        )
        torch.index_select(self.data, 1, prompts, out=self._x)
        figures = program.backward(self._x)
        program.remove_parallel_gradient()
        gradient = program.flat_gradient
        self.first.lerp_(gradient, 1 - BETA1)
        self.second.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
        correction1, correction2 = 1 - BETA1 ** (step + 1), 1 - BETA2 ** (step + 1)
        spread = torch.sqrt(self.second, out=gradient).div_(math.sqrt(correction2)).add_(EPSILON)
        program.flat.addcdiv_(self.first, spread, value=-rate / correction1)
        program.normalise()
        return rate, figures

    def _check(self, report: EpochReport) -> None:
        bad = [
            str(site) for site, loss in zip(self.sites, report.loss.tolist(), strict=True) if not math.isfinite(loss)
        ]
        if bad:
            raise IoiBenchError(
                f"training diverged in epoch {report.epoch}: the loss is not finite at {', '.join(bad)}; the state "
                f"before that epoch is kept if a resume_path was given. Lower learning_rate "
                f"({self.config.learning_rate:g}) or lam, and look at the activations there"
            )
