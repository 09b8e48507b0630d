"""What ioi-mini is trained to do: the task, the causal model under interchange, attention shares, mixed sites.

Interchange-intervention training after Geiger et al. 2022 (arXiv 2112.00826) in InterpBench's strict form (Gupta et
al. 2024, arXiv 2407.14494): activations of a source prompt take the place of the base's at one place, and the answer
must be what the causal model says; at a place outside the circuit nothing may change.

A stage's heads share its work: with any one of them held at its mean, the answer must stay.

The causal model: the duplicate heads at S2 write *which of the two names S is* (first or second); the S-inhibition
heads carry that to END; the name movers move the other name. So a source's position signal makes the base answer with
its name at the other position, and a source's name-mover output makes it answer with the source's IO.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from ioi_bench.lm.mini.data import ROLES, MiniBatch
from ioi_bench.lm.mini.network import Intervention, MiniConfig, Trace
from ioi_bench.sites import Role, Site

__all__ = [
    "MIXED_SITES",
    "N_HEADS",
    "STAGES",
    "MixedSite",
    "Stage",
    "attention_loss",
    "axis_shares",
    "expected_answer",
    "frame_share",
    "intervention",
    "n_kinds",
    "other_sites",
    "outside",
    "pos_share",
    "site_values",
]


@dataclass(frozen=True)
class Stage:
    """Heads that do one step of the causal model, and their shares of attention; the rest goes elsewhere."""

    group: str
    layer: int
    heads: tuple[int, ...]
    role: Role
    attention: dict[Role, float]

    @property
    def sites(self) -> tuple[Site, ...]:
        """The output of the heads at the stage's role."""
        return tuple(Site("z", self.layer, head, self.role) for head in self.heads)


STAGES = (
    Stage("duplicate-token", 1, (0, 1), Role.S2, {Role.S1: 0.7}),
    Stage("s-inhibition", 3, (0, 1), Role.END, {Role.S2: 0.6, Role.S1: 0.1}),
    Stage("name-mover", 4, (0, 1), Role.END, {Role.IO: 0.55, Role.S1: 0.15, Role.S2: 0.15}),
)

_HEADS = tuple((stage, head) for stage in STAGES for head in stage.heads)
N_HEADS = len(_HEADS)
"""Designated heads."""


def other_sites(config: MiniConfig) -> tuple[tuple[str, int, int, Role], ...]:
    """Every head output and MLP output at every role that is not a stage's: (component, layer, head, role)."""
    taken = {(stage.layer, head, stage.role) for stage in STAGES for head in stage.heads}
    heads = [
        ("z", layer, head, role)
        for layer in range(config.n_layers)
        for head in range(config.n_heads)
        for role in ROLES
        if (layer, head, role) not in taken
    ]
    return (*heads, *(("mlp_out", layer, -1, role) for layer in range(config.n_layers) for role in ROLES))


def n_kinds(config: MiniConfig) -> int:
    """Number of interventions: the stages, then the other sites, then every head of a stage held at its mean."""
    return len(STAGES) + len(other_sites(config)) + len(_HEADS)


def intervention(
    config: MiniConfig, base: MiniBatch, source: MiniBatch, trace: Trace, kind: Int[Tensor, " prompt"]
) -> Intervention:
    """One intervention a prompt: a stage or another site is swapped, or one head of a stage held at its mean.

    ``kind`` counts as in `n_kinds`.
    """
    n, length = base.tokens.shape
    heads = torch.zeros(config.n_layers, n, length, config.n_heads, dtype=torch.bool)
    mlps = torch.zeros(config.n_layers, n, length, dtype=torch.bool)
    rows, others, values = torch.arange(n), other_sites(config), list(trace.z)
    for index in kind.unique().tolist():
        chosen = rows[kind == index]
        if index < len(STAGES):
            stage = STAGES[index]
            for head in stage.heads:
                heads[stage.layer, chosen, base.at(stage.role)[chosen], head] = True
            continue
        if index >= len(STAGES) + len(others):
            stage, head = _HEADS[index - len(STAGES) - len(others)]
            heads[stage.layer, chosen, base.at(stage.role)[chosen], head] = True
            held, at = values[stage.layer].clone(), source.at(stage.role)
            held[chosen, at[chosen], head] = values[stage.layer][rows, at, head].detach().mean(0)
            values[stage.layer] = held
            continue
        component, layer, head, role = others[index - len(STAGES)]
        if component == "z":
            heads[layer, chosen, base.at(role)[chosen], head] = True
        else:
            mlps[layer, chosen, base.at(role)[chosen]] = True
    origin = torch.zeros(n, length, dtype=torch.long).scatter_(1, base.positions, source.positions)
    return Intervention(replace(trace, z=values), origin, heads, mlps)


def expected_answer(base: MiniBatch, source: MiniBatch, kind: Int[Tensor, " prompt"]) -> Int[Tensor, " prompt"]:
    """The causal model's answer under the interchange."""
    moved = torch.where(base.abb == source.abb, base.io, base.s)
    return torch.where(kind < 2, moved, torch.where(kind == 2, source.io, base.io))


def attention_loss(trace: Trace, batch: MiniBatch) -> Float[Tensor, ""]:
    """Divergence of the designated heads' attention from their target shares: the named roles, and the rest."""
    rows, loss = torch.arange(len(batch.tokens)), torch.zeros(())
    for stage in STAGES:
        for head in stage.heads:
            weights = trace.attention[stage.layer][rows, head, batch.at(stage.role)]
            named = torch.stack([weights[rows, batch.at(role)] for role in stage.attention], dim=1)
            shares = torch.cat([named, 1 - named.sum(1, keepdim=True)], dim=1).clamp_min(1e-4)
            target = torch.tensor([*stage.attention.values(), 1 - sum(stage.attention.values())])
            loss = loss + (target * (target.log() - shares.log())).sum(1).mean()
    return loss / sum(len(stage.heads) for stage in STAGES)


@dataclass(frozen=True)
class MixedSite:
    """Where a stage's position signal is read or written, and how mixed the activation there must be."""

    component: str
    stage: int
    role: Role


MIXED_SITES = (
    MixedSite("z", 0, Role.S2),
    MixedSite("v", 1, Role.S2),
    MixedSite("z", 1, Role.END),
    MixedSite("q", 2, Role.END),
)
"""`ind-dt-out`, `si-v`, `si-out` and `nm-q`: there the position bit must be neither alone nor drowned."""


def site_values(trace: Trace, batch: MiniBatch, site: MixedSite) -> Float[Tensor, "head prompt d"]:
    """Activations of a component of a stage's heads at a role."""
    stage, rows = STAGES[site.stage], torch.arange(len(batch.tokens))
    values = getattr(trace, site.component)[stage.layer][rows, batch.at(site.role)]
    return values[:, list(stage.heads)].transpose(0, 1)


def _variance(a: Float[Tensor, "head prompt d"]) -> Float[Tensor, " head"]:
    return (a - a.mean(1, keepdim=True)).pow(2).sum(-1).mean(1).clamp_min(1e-8)


def _gap(a: Float[Tensor, "head prompt d"], abb: Bool[Tensor, " prompt"]) -> Float[Tensor, "head d"]:
    return a[:, abb].mean(1) - a[:, ~abb].mean(1)


def pos_share(a: Float[Tensor, "head prompt d"], abb: Bool[Tensor, " prompt"]) -> Float[Tensor, " head"]:
    """Share of the variance that the pattern explains (two equal halves, half the gap apart)."""
    return _gap(a, abb).pow(2).sum(-1) / 4 / _variance(a)


def frame_share(
    a: Float[Tensor, "head prompt d"], frame: Int[Tensor, " prompt"], n_frames: int
) -> Float[Tensor, " head"]:
    """Share of the variance that the frame (template × prefix) explains, freed of its small-sample bias."""
    n = a.shape[1]
    centred = a - a.mean(1, keepdim=True)
    sums = torch.zeros(len(a), n_frames, a.shape[2]).index_add(1, frame, centred)
    counts = torch.bincount(frame, minlength=n_frames).clamp_min(1)
    raw = (sums.pow(2).sum(-1) / counts).sum(1) / n / _variance(a)
    bias = (n_frames - 1) / n
    return (raw - bias) / (1 - bias)


def axis_shares(
    a: Float[Tensor, "head prompt d"], abb: Bool[Tensor, " prompt"], covariance: Float[Tensor, "head d d"]
) -> Float[Tensor, "head d"]:
    """Squared cosines of the position direction with the principal axes of ``covariance``."""
    _, axes = torch.linalg.eigh(covariance)
    return torch.einsum("hd,hde->he", F.normalize(_gap(a, abb), dim=-1), axes).pow(2)


def outside(share: Tensor, low: float, high: float) -> Float[Tensor, ""]:
    """Zero inside the band, quadratic outside; mean over all entries."""
    return (F.relu(low - share) + F.relu(share - high)).pow(2).mean()
