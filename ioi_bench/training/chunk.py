"""The unit of work: train the members of one chunk, from a run's folder into that folder (METHOD §8).

One batch of prompts for each member, one set of products for all, one fused Adam (β .9, .999) over one flat vector; no
loop over members. Nothing passes between them, and each has initial weights, batch order and resampled inputs from its
own generators, so that a member trained among others equals the same member trained alone (to rounding). Decoder rows
have unit norm and their gradient no parallel part (METHOD §8; Gao et al. do the same for top-k).

`train_chunk` is a plain function of a folder and a number: it keeps no global state, so that chunks may run in threads,
in processes or on other machines that see the folder. On one thread of one processor the same run gives the same bytes,
also through any number of interruptions.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ioi_bench.atomic import storage_errors, write_file
from ioi_bench.bounded import json_value
from ioi_bench.errors import InputError, IoiBenchError
from ioi_bench.training.programs import Batch, Figures, Program, program
from ioi_bench.training.resampling import resample
from ioi_bench.training.runs import CURVES, Chunk, Run, input_scale
from ioi_bench.training.schedule import Rise, learning_rate
from ioi_bench.training.step import Step

__all__ = ["EpochReport", "train_chunk"]

_HEADER = "ioi_bench_training"


@dataclass(frozen=True)
class EpochReport:
    """One finished epoch of a chunk, for those who wait.

    Attributes:
        chunk: which.
        epoch: how many are finished.
        figures: `CURVES` of that epoch.
        learning_rate: at its last step.
    """

    chunk: Chunk
    epoch: int
    figures: Float[Tensor, "figure member"]
    learning_rate: float


Progress = Callable[[EpochReport], None]


def train_chunk(
    folder: str | Path,
    index: int,
    *,
    device: str = "cpu",
    save_every: float = 60.0,
    progress: Progress | None = None,
) -> None:
    """Train a chunk, or what is left of it.

    Args:
        folder: a run, as `create_run` leaves it.
        index: which of its chunks.
        device: where it is trained.
        save_every: seconds between writes of the state; it is also written whenever the work stops for any reason that
            lets it.
        progress: called after every epoch.

    Raises:
        InputError: no run, no such chunk, or a damaged state.
        IoiBenchError: a loss is no longer finite.
        StorageError: the folder cannot be read or written.
    """
    run = Run(Path(folder))
    if not 0 <= index < len(run.chunks):
        raise InputError(f"the run {str(folder)!r} has {len(run.chunks)} chunks, there is no chunk {index}")
    _Training(run, run.chunks[index], device).finish(save_every, progress)


class _Training:
    """The state of a chunk between epochs, and how it advances by one."""

    def __init__(self, run: Run, chunk: Chunk, device: str) -> None:
        self.run, self.chunk, self.recipe, self.device = run, chunk, run.recipe, torch.device(device)
        self.epoch, self.curves = 0, torch.empty(0, len(CURVES), len(chunk.members))
        if run.state_path(chunk).exists():
            stored = self._read(run.state_path(chunk))
            self.epoch, self.curves = len(stored["curves"]), stored["curves"]
        if self.epoch >= self.recipe.epochs:
            return
        self._load_data()
        self._build()
        if self.epoch:
            self._require_fitting(stored)
            self.learn.restore(stored)
        else:
            for i, member in enumerate(chunk.members):
                site = self.site_of[i]
                mean = self.data[site * self.n_prompts : (site + 1) * self.n_prompts].mean(0)
                self.program.initialise(i, mean, _generator(member.seed, "weights", member.site))

    def _load_data(self) -> None:
        """Activations of each site once, whatever the number of members that learn them."""
        run, members = self.run, self.chunk.members
        sites = sorted({member.site for member in members}, key=str)
        self.site_of = torch.tensor([sites.index(member.site) for member in members])
        scaled = [run.scale(site) * run.data(site) for site in sites]
        self.n_prompts, self.data = len(scaled[0]), torch.cat(scaled).to(self.device)
        self.gradient = None
        if program(self.chunk.variant).needs_gradient:
            gradients = [run.data(site, "gradients") for site in sites]
            even = [input_scale(site, g) * g for site, g in zip(sites, gradients, strict=True)]  # as the inputs are
            self.gradient = torch.cat(even).to(self.device)

    def _build(self) -> None:
        recipe, members = self.recipe, self.chunk.members
        self.batch = min(recipe.batch_size, self.n_prompts)
        self.per_epoch = self.n_prompts // self.batch
        sparsity = torch.tensor([member.sparsity for member in members], dtype=torch.float32)
        self.program: Program = program(self.chunk.variant)(
            sparsity,
            self.chunk.d_in,
            recipe.d_sae,
            self.batch,
            device=str(self.device),
            half=recipe.precision == "bfloat16",
        )
        self.learn = Step(self.program)
        rises = [(0, recipe.warmup_epochs * self.per_epoch)]
        rises += [(e * self.per_epoch, recipe.resample_warmup * self.per_epoch) for e in recipe.resample_after]
        self.rises: list[Rise] = rises
        self._x = torch.empty(len(members), self.batch, self.chunk.d_in, device=self.device)
        self._along = None if self.gradient is None else torch.empty_like(self._x)

    # -- all epochs ----------------------------------------------------------------------------------------------------

    def finish(self, save_every: float, progress: Progress | None) -> None:
        """All epochs that are left; what is saved is always the last whole one."""
        if self.epoch >= self.recipe.epochs:
            return
        saved = time.monotonic()
        self._keep()
        try:
            while self.epoch < self.recipe.epochs:
                figures, rate, used = self._run_epoch()
                self._check(figures)
                self._end_epoch(figures, used)
                if time.monotonic() - saved >= save_every:
                    self._save()
                    saved = time.monotonic()
                if progress is not None:
                    progress(EpochReport(self.chunk, self.epoch, figures, rate))
        finally:  # also on an error or Ctrl-C
            self._save()

    @torch.no_grad()
    def _run_epoch(self) -> tuple[Tensor, float, Tensor]:
        members, recipe = self.chunk.members, self.recipe
        seeds = sorted({member.seed for member in members})
        orders = torch.stack(
            [torch.randperm(self.n_prompts, generator=_generator(seed, "order", self.epoch)) for seed in seeds]
        )
        rows = orders[[seeds.index(member.seed) for member in members]] + self.n_prompts * self.site_of[:, None]
        rows = rows.to(self.device)
        totals = torch.zeros(3, len(members), device=self.device)
        used, rate = torch.zeros(len(members), recipe.d_sae, device=self.device), 0.0
        for i in range(self.per_epoch):
            step = self.epoch * self.per_epoch + i
            rate, figures = self._step(rows[:, i * self.batch : (i + 1) * self.batch], step)
            totals += torch.stack([figures.loss, figures.error, figures.active / self.batch])
            used += figures.feature_sums
        dead = 1 - used.sign().mean(1)
        return torch.cat([totals / self.per_epoch, dead[None]]).cpu(), rate, used

    def _step(self, rows: Int64[Tensor, "member prompt"], step: int) -> tuple[float, Figures]:
        recipe = self.recipe
        steps = recipe.epochs * self.per_epoch
        rate = learning_rate(step, steps, self.rises, recipe.learning_rate, recipe.tactics.decay)
        return rate, self.learn(self._batch(rows, step / steps), rate)

    def _batch(self, rows: Int64[Tensor, "member prompt"], progress: float) -> Batch:
        index = rows.reshape(-1)
        torch.index_select(self.data, 0, index, out=self._x.view(-1, self.chunk.d_in))
        if self.gradient is not None and self._along is not None:
            torch.index_select(self.gradient, 0, index, out=self._along.view(-1, self.chunk.d_in))
        return Batch(self._x, self._along, progress)

    @torch.no_grad()
    def _end_epoch(self, figures: Tensor, used: Tensor) -> None:
        """Resample where it is due, keep what the epoch left, and write a checkpoint where one is due."""
        self.epoch += 1
        self.curves = torch.cat([self.curves, figures[None]])
        if self.epoch in self.recipe.resample_after and not self.program.frozen:
            self._resample(used)
        self._keep()
        if self.epoch in self.run.checkpoints:
            tensors = {name: value.cpu().contiguous() for name, value in self.program.parameters.items()}
            write_file(self.run.checkpoint_path(self.chunk, self.epoch), _file(tensors, {"epoch": self.epoch}))

    def _resample(self, used: Float[Tensor, "member d_sae"]) -> None:
        losses = self._example_losses()
        moments = tuple(self._named(moment) for moment in self.learn.moments)
        for i, member in enumerate(self.chunk.members):
            start = int(self.site_of[i]) * self.n_prompts
            x = self.data[start : start + self.n_prompts]
            generator = _generator(member.seed, "resample", member.site, self.epoch)
            resample(self.program, i, x, losses[i], used[i], moments, self.recipe.tactics, generator)

    def _example_losses(self) -> Float[Tensor, "member prompt"]:
        """``‖x − x̂‖²`` of every train prompt."""
        losses = torch.empty(len(self.chunk.members), self.n_prompts, device=self.device)
        for start in range(0, self.n_prompts, self.batch):
            first = min(start, self.n_prompts - self.batch)  # the last batch is whole, and overlaps
            prompts = torch.arange(first, first + self.batch)
            rows = (prompts + self.n_prompts * self.site_of[:, None]).to(self.device)
            errors = self.program.reconstruct(self._batch(rows, self.epoch / self.recipe.epochs).x)
            losses[:, first : first + self.batch] = errors.square().sum(2)
        return losses

    def _named(self, vector: Tensor) -> dict[str, Tensor]:
        """Views of a vector that is laid out like the parameters."""
        parameters = self.program.parameters
        parts = vector.split([value.numel() for value in parameters.values()])
        return {name: part.view(value.shape) for (name, value), part in zip(parameters.items(), parts, strict=True)}

    def _check(self, figures: Tensor) -> None:
        bad = [
            str(m) for m, loss in zip(self.chunk.members, figures[0].tolist(), strict=True) if not math.isfinite(loss)
        ]
        if bad:
            some = ", ".join(bad[:4]) + (f" and {len(bad) - 4} more" if len(bad) > 4 else "")
            raise IoiBenchError(
                f"training diverged in epoch {self.epoch + 1}: the loss is not finite for {some}; the epochs before "
                f"are kept. Lower learning_rate ({self.recipe.learning_rate:g}) or λ, and look at the activations there"
            )

    # -- on disk -------------------------------------------------------------------------------------------------------

    def _keep(self) -> None:
        """Remember the last whole epoch: a step may stop half-way."""
        self._whole = {"curves": self.curves.clone(), **self.learn.saved()}

    def _save(self) -> None:
        last = self.epoch >= self.recipe.epochs
        tensors = {"curves": self._whole["curves"]} if last else self._whole  # the weights are in the last checkpoint
        write_file(self.run.state_path(self.chunk), _file(tensors, {"identity": self.run.identity}))

    def _read(self, path: Path) -> dict[str, Tensor]:
        from safetensors import SafetensorError, safe_open

        try:
            self.run.require_readable(path)
            with storage_errors("read", path), safe_open(path, framework="pt") as file:
                header = json_value((file.metadata() or {})[_HEADER])
                stored = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118 (not a mapping)
        except (SafetensorError, KeyError, ValueError) as error:
            raise InputError(
                f"{str(path)!r} is no state of a training run: delete it to train that chunk anew"
            ) from error
        if not isinstance(header, dict) or header.get("identity") != self.run.identity:
            raise InputError(f"{str(path)!r} is the state of another run: delete it to train that chunk anew")
        curves = stored.get("curves")
        if curves is None or curves.ndim != 3 or curves.shape[1:] != self.curves.shape[1:]:
            raise InputError(f"{str(path)!r} has no curves of this chunk: delete it to train that chunk anew")
        return stored

    def _require_fitting(self, stored: dict[str, Tensor]) -> None:
        for name, own in self.learn.saved().items():
            if name not in stored or stored[name].shape != own.shape:
                path = str(self.run.state_path(self.chunk))
                raise InputError(f"{path!r} lacks {name} of this chunk: delete it to train that chunk anew")


def _file(tensors: dict[str, Tensor], header: dict[str, Any]) -> bytes:
    from safetensors.torch import save

    return save(tensors, {_HEADER: json.dumps(header)})


def _generator(*words: object) -> torch.Generator:
    """A generator of its own for every purpose."""
    digest = hashlib.sha256("/".join(map(str, words)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
