"""Training ioi-mini: a curriculum over names, then over prefixes with the sites mixed. One process, resumable.

The same seed gives the same weights on one thread; a killed run goes on from its last checkpoint.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ioi_bench.atomic import write_file
from ioi_bench.errors import InputError, IoiBenchError
from ioi_bench.lm.mini.data import MiniBatch, PromptSampler
from ioi_bench.lm.mini.network import MiniConfig, MiniNetwork
from ioi_bench.lm.mini.objective import (
    MIXED_SITES,
    N_HEADS,
    STAGES,
    MixedSite,
    attention_loss,
    axis_shares,
    expected_answer,
    frame_share,
    intervention,
    n_kinds,
    outside,
    pos_share,
    site_values,
)
from ioi_bench.lm.mini.vocabulary import build_tokenizer
from ioi_bench.sites import Role
from ioi_bench.task import IOI_V1_MINI, TaskSpec

__all__ = ["MiniRecipe", "Phase", "train_mini"]

Progress = Callable[[int, int, Mapping[str, float]], None]

_SMOOTHING = 0.95
_LEAST_MISSED = 0.01  # so that no site is ever forgotten


@dataclass(frozen=True)
class Phase:
    """A part of the curriculum: how many names and prefixes, how long at least and at most, and what must be reached.

    A phase ends when the smoothed accuracies (task, stages, other sites) all exceed ``goal``. ``mixing`` weighs the
    losses that keep the sites mixed; ``rate`` is the learning rate at its start and, linearly, at its end;
    ``interchange`` is how often each of the three stages, and any of the other sites, is swapped, and how often one
    head of a stage is held at its mean. Other sites and heads are drawn the more often the less the answer survives.
    """

    names: int
    prefixes: int
    least: int
    most: int
    goal: float
    mixing: float = 0.2
    rate: tuple[float, float] = (1e-3, 1e-3)
    interchange: tuple[float, float, float, float, float] = (0.26, 0.26, 0.22, 0.18, 0.08)


@dataclass(frozen=True)
class MiniRecipe:
    """Everything that decides the weights.

    ``pos_band`` and ``frame_band`` are shares of a mixed site's variance; ``axis_limit`` bounds the squared cosine of
    the position direction with any principal axis there, so that position is not simply an axis of PCA.
    """

    seed: int = 0
    batch: int = 96
    warmup: int = 50
    weight_decay: float = 0.01
    phases: tuple[Phase, ...] = (
        Phase(16, 4, 80, 1_000, 0.95),
        Phase(64, 4, 80, 1_000, 0.95),
        Phase(216, 4, 1_400, 1_400, 1.0, interchange=(0.2, 0.2, 0.32, 0.2, 0.08)),
        Phase(216, 4, 1_400, 1_400, 1.0, rate=(1e-3, 0.0), interchange=(0.2, 0.2, 0.32, 0.2, 0.08)),
        Phase(216, 4, 1_000, 1_000, 1.0, rate=(5e-4, 0.0), interchange=(0.15, 0.15, 0.22, 0.4, 0.08)),
        Phase(216, 4, 1_000, 1_000, 1.0, rate=(5e-4, 0.0), interchange=(0.15, 0.15, 0.22, 0.4, 0.08)),
    )
    pos_band: tuple[float, float] = (0.28, 0.34)
    frame_band: tuple[float, float] = (0.5, 0.58)
    axis_limit: float = 0.35
    band_weight: float = 40.0
    frame_weight: float = 40.0
    axis_weight: float = 10.0
    probe_weight: float = 0.03
    mover_probe_weight: float = 0.05

    @property
    def sha256(self) -> str:
        """Hash of the recipe."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


class _Probes(nn.Module):
    """Linear read-outs that keep S's name and the pattern decodable at the mixed sites and the name movers."""

    def __init__(self, config: MiniConfig) -> None:
        super().__init__()
        self.sites = (*MIXED_SITES, MixedSite("z", 2, Role.END))
        self.name = nn.ModuleList(nn.Linear(config.d_head, config.d_vocab) for _ in self.sites)
        self.pattern = nn.ModuleList(nn.Linear(config.d_head, 1) for _ in MIXED_SITES)


class _Trainer:
    def __init__(self, recipe: MiniRecipe, spec: TaskSpec) -> None:
        self.recipe, self.spec = recipe, spec
        self.tokenizer = build_tokenizer(spec)
        self.sampler = PromptSampler(spec, self.tokenizer)
        self.config = MiniConfig(len(self.tokenizer))
        torch.manual_seed(recipe.seed)
        self.network = MiniNetwork(self.config)
        self.probes = _Probes(self.config)
        self.parameters = [*self.network.parameters(), *self.probes.parameters()]
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=recipe.phases[0].rate[0], betas=(0.9, 0.98), weight_decay=recipe.weight_decay
        )
        self.generator = torch.Generator().manual_seed(recipe.seed + 1)
        self.missed = torch.full((n_kinds(self.config),), 0.5)
        self.covariance: dict[str, Tensor] = {}
        self.step, self.phase, self.since = 0, 0, 0
        self.smoothed: dict[str, float] = {}

    # -- one step ----------------------------------------------------------------------------------------------------

    def _pairs(self, phase: Phase) -> tuple[MiniBatch, MiniBatch]:
        """Base and source prompts: a quarter share S, a quarter differ in the pattern alone, half are independent."""
        n, generator = self.recipe.batch, self.generator

        def pick(size: int) -> Tensor:
            return torch.randint(size, (n,), generator=generator)

        def frames() -> Tensor:
            n_templates = len(self.spec.templates)
            return (pick(phase.prefixes) * n_templates + pick(n_templates)) * 2 + pick(2)

        def words(io: Tensor, s: Tensor) -> dict[str, Tensor]:
            places, objects = self.sampler.places, self.sampler.objects
            return {
                "io": self.sampler.names[io],
                "s": self.sampler.names[s],
                "place": places[pick(len(places))],
                "object": objects[pick(len(objects))],
            }

        def other_than(name: Tensor) -> Tensor:
            return (name + 1 + pick(phase.names - 1)) % phase.names

        frame, io = frames(), pick(phase.names)
        s = other_than(io)
        base_words = words(io, s)
        mode = torch.rand(n, generator=generator)
        same_s, flipped = mode < 0.25, mode > 0.75
        other_io = pick(phase.names)
        other_s = torch.where(same_s, s, other_than(other_io))
        other_io = torch.where(same_s, other_than(s), other_io)
        source_words = words(other_io, other_s)
        source_words = {key: torch.where(flipped, base_words[key], word) for key, word in source_words.items()}
        source_frame = torch.where(flipped, frame ^ 1, frames())
        return self.sampler.fill(frame, base_words), self.sampler.fill(source_frame, source_words)

    def _site_losses(self, source: MiniBatch, trace: Any, phase: Phase) -> dict[str, Tensor]:
        recipe, losses = self.recipe, {"probes": torch.zeros(()), "mixing": torch.zeros(())}
        n_frames = len(self.spec.templates) * len(self.spec.prefixes)
        for index, site in enumerate(self.probes.sites):
            a = site_values(trace, source, site)
            named = F.cross_entropy(self.probes.name[index](a).flatten(0, 1), source.s.repeat(len(a)))
            mixed = index < len(MIXED_SITES)
            losses["probes"] += (recipe.probe_weight if mixed else recipe.mover_probe_weight) * named
            if not mixed:
                continue
            pattern = self.probes.pattern[index](a).squeeze(-1)
            told = F.binary_cross_entropy_with_logits(pattern, source.abb.float().expand(len(a), -1))
            losses["probes"] += 0.3 * recipe.probe_weight * told
            weight, axes = phase.mixing, axis_shares(a, source.abb, self._covariance(str(index), a))
            frames = frame_share(a, source.frame, n_frames)
            losses["mixing"] += weight * recipe.band_weight * outside(pos_share(a, source.abb), *recipe.pos_band)
            losses["mixing"] += weight * recipe.frame_weight * outside(frames, *recipe.frame_band)
            losses["mixing"] += weight * recipe.axis_weight * outside(axes, 0.0, recipe.axis_limit) * axes.shape[1]
        return losses

    def _covariance(self, key: str, a: Tensor) -> Tensor:
        """A running covariance of a site, unit trace, without gradient."""
        centred = (a - a.mean(1, keepdim=True)).detach()
        now = torch.einsum("hnd,hne->hde", centred, centred)
        now = now / now.diagonal(dim1=1, dim2=2).sum(-1)[:, None, None].clamp_min(1e-9)
        before = self.covariance.get(key, now)
        self.covariance[key] = _SMOOTHING * before + (1 - _SMOOTHING) * now
        return self.covariance[key]

    def _learning_rate(self, phase: Phase) -> float:
        start, end = phase.rate
        return (start + (end - start) * self.since / phase.most) * min(1.0, (self.step + 1) / self.recipe.warmup)

    def advance(self) -> dict[str, float]:
        """One step; returns the smoothed accuracies and the losses."""
        phase = self.recipe.phases[self.phase]
        base, source = self._pairs(phase)
        kind = self._kinds(phase)
        clean, trace = self.network(source.tokens, source.at(Role.END))
        patch = intervention(self.config, base, source, trace, kind)
        patched, _ = self.network(base.tokens, base.at(Role.END), patch)
        answer = expected_answer(base, source, kind)
        losses = {
            "task": F.cross_entropy(clean, source.io),
            "interchange": F.cross_entropy(patched, answer),
            "attention": attention_loss(trace, source),
            **self._site_losses(source, trace, phase),
        }
        loss = torch.stack(list(losses.values())).sum()
        if not loss.isfinite():
            raise IoiBenchError(
                f"the loss is not finite at step {self.step}: nothing was written since the last checkpoint"
            )
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate(phase)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self._smooth(clean.argmax(-1) == source.io, patched.argmax(-1) == answer, kind)
        self._miss(kind, 1 - patched.detach().softmax(-1).gather(1, answer[:, None])[:, 0])
        self._next_phase(phase)
        return {**self.smoothed, **{f"loss_{name}": value.item() for name, value in losses.items()}}

    def _kinds(self, phase: Phase) -> Int[Tensor, " prompt"]:
        """One intervention a prompt."""
        *stages, others, heads = phase.interchange
        _, *missed = self._by_kind(self.missed)
        shares = [torch.tensor(stages)]
        shares += [total * part / part.sum() for total, part in zip((others, heads), missed, strict=True)]
        return torch.multinomial(torch.cat(shares), self.recipe.batch, replacement=True, generator=self.generator)

    def _by_kind(self, values: Tensor) -> tuple[Tensor, ...]:
        """Values of the stages, of the other sites and of the single heads."""
        return values.split([len(STAGES), len(values) - len(STAGES) - N_HEADS, N_HEADS])

    def _miss(self, kind: Int[Tensor, " prompt"], missed: Float[Tensor, " prompt"]) -> None:
        """Keep how far the answers under each kind of intervention were missed."""
        counts = torch.bincount(kind, minlength=len(self.missed))
        now = torch.zeros_like(self.missed).index_add(0, kind, missed) / counts.clamp_min(1)
        keep = 0.8**counts
        self.missed = (keep * self.missed + (1 - keep) * now).clamp_min(_LEAST_MISSED)

    def _smooth(self, clean: Tensor, patched: Tensor, kind: Tensor) -> None:
        groups = {"task": clean} | {stage.group: patched[kind == i] for i, stage in enumerate(STAGES)}
        for name, right in groups.items():
            if len(right):
                before = self.smoothed.get(name, 0.0)
                self.smoothed[name] = _SMOOTHING * before + (1 - _SMOOTHING) * right.float().mean().item()
        _, others, heads = self._by_kind(1 - self.missed)
        self.smoothed |= {"other sites": others.mean().item(), "one head": heads.mean().item()}

    def _next_phase(self, phase: Phase) -> None:
        self.step, self.since = self.step + 1, self.since + 1
        reached = self.since >= phase.least and min(self.smoothed.values()) > phase.goal
        if reached or self.since >= phase.most:
            self.phase, self.since = self.phase + 1, 0

    @property
    def done(self) -> bool:
        """Whether the last phase has ended."""
        return self.phase >= len(self.recipe.phases)

    # -- checkpoints -------------------------------------------------------------------------------------------------

    def save(self, path: Path) -> None:
        """Write everything that decides what follows."""
        state = {
            "recipe": self.recipe.sha256,
            "network": self.network.state_dict(),
            "probes": self.probes.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "covariance": self.covariance,
            "missed": self.missed,
            "counters": {"step": self.step, "phase": self.phase, "since": self.since},
            "smoothed": self.smoothed,
        }
        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_file(path, buffer.getvalue())

    def load(self, path: Path) -> None:
        """Go on from a checkpoint of the same recipe.

        Raises:
            InputError: it is damaged or of another recipe.
        """
        try:
            state = torch.load(path, weights_only=True)
            recipe = state["recipe"]
        except Exception as error:
            raise InputError(f"{path} is not a checkpoint of ioi-mini ({error}): delete it to start afresh") from error
        if recipe != self.recipe.sha256:
            raise InputError(f"{path} was written by another recipe: delete it to start afresh, or use that recipe")
        self.network.load_state_dict(state["network"])
        self.probes.load_state_dict(state["probes"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        self.covariance, self.smoothed, self.missed = state["covariance"], state["smoothed"], state["missed"]
        counters = state["counters"]
        self.step, self.phase, self.since = counters["step"], counters["phase"], counters["since"]


def train_mini(
    recipe: MiniRecipe | None = None,
    *,
    checkpoint: Path | None = None,
    checkpoint_every: int = 100,
    progress: Progress | None = None,
    spec: TaskSpec = IOI_V1_MINI,
) -> tuple[MiniNetwork, Any]:
    """Train ioi-mini from scratch, or from ``checkpoint`` where that file exists.

    Args:
        recipe: what decides the weights.
        checkpoint: where to keep the state between steps; None keeps none.
        checkpoint_every: steps between checkpoints.
        progress: called after each step with (step, upper bound of steps, figures).
        spec: the task.

    Returns:
        The network and its tokenizer.

    Raises:
        InputError: the checkpoint is damaged or of another recipe.
        IoiBenchError: the loss is no longer finite.
    """
    recipe = recipe or MiniRecipe()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums split among threads would round differently
    try:
        return _train(_Trainer(recipe, spec), checkpoint, checkpoint_every, progress)
    finally:
        torch.set_num_threads(threads)


def _train(
    trainer: _Trainer, checkpoint: Path | None, checkpoint_every: int, progress: Progress | None
) -> tuple[MiniNetwork, Any]:
    phases = trainer.recipe.phases
    if checkpoint is not None and checkpoint.exists():
        trainer.load(checkpoint)
    while not trainer.done:
        figures = trainer.advance()
        if checkpoint is not None and (trainer.step % checkpoint_every == 0 or trainer.done):
            trainer.save(checkpoint)
        if progress is not None:
            ahead = sum(phase.most for phase in phases[trainer.phase :]) - trainer.since
            progress(trainer.step, trainer.step + max(ahead, 0), {"phase": float(trainer.phase), **figures})
    return trainer.network, trainer.tokenizer
