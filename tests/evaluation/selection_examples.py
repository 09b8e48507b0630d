"""A training run in memory, with the interface of one on disk, and small SAEs that were really trained."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from ioi_bench.dictionaries.architectures import Relu, TopK
from ioi_bench.sites import Site


@dataclass(frozen=True)
class Member:
    variant: str
    site: Site
    sparsity: float
    seed: int


@dataclass
class MemoryRun:
    """``weights`` holds a dictionary, or an error to raise, by member and epoch."""

    weights: dict
    provenance: dict = field(default_factory=dict)
    recipe: dict = field(default_factory=lambda: {"d_sae": 16})
    loaded: list = field(default_factory=list)

    def require_finished(self):
        """All that it holds is trained."""

    @property
    def members(self):
        return tuple(dict.fromkeys(member for member, _ in self.weights))

    @property
    def checkpoints(self):
        return tuple(sorted({epoch for _, epoch in self.weights}))

    def dictionary(self, member, epoch):
        self.loaded.append((member, epoch))
        found = self.weights[member, epoch]
        if isinstance(found, BaseException):
            raise found
        return found


def trained(variant, sparsity, x, *, seed, epochs, d_sae=16):
    """Dictionaries of one site after so many steps of Adam on all of its activations."""
    g = torch.Generator().manual_seed(seed)
    scale = float(x.shape[1] ** 0.5 / x.norm(dim=1).mean())
    rows = torch.randn(d_sae, x.shape[1], generator=g)
    rows /= rows.norm(dim=1, keepdim=True)
    own = {"W_enc": rows.T.clone(), "W_dec": rows, "b_enc": torch.zeros(d_sae), "b_dec": scale * x.mean(0)}
    own = {name: tensor.requires_grad_() for name, tensor in own.items()}
    made, adam = {}, torch.optim.Adam(own.values(), lr=0.02)
    for epoch in range(1, max(epochs) + 1):
        f = torch.relu((scale * x - own["b_dec"]) @ own["W_enc"] + own["b_enc"])
        if variant == "topk":
            f = f * (f >= f.topk(int(sparsity), dim=1).values[:, -1:])
        loss = (f @ own["W_dec"] + own["b_dec"] - scale * x).square().sum(1).mean()
        loss = loss if variant == "topk" else loss + sparsity * f.sum(1).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        if epoch in epochs:
            weights = {name: tensor.detach().clone() for name, tensor in own.items()}
            made[epoch] = (
                TopK(**weights, scale=scale, k=int(sparsity)) if variant == "topk" else Relu(**weights, scale=scale)
            )
    return made


def trained_run(activations, *, sweep, seeds=(0,), epochs=(1, 30)):
    """All variants × sparsities × seeds at all sites."""
    weights = {}
    for site, x in activations.items():
        for variant, sparsities in sweep.items():
            for sparsity in sparsities:
                for seed in seeds:
                    member = Member(variant, site, sparsity, seed)
                    for epoch, one in trained(variant, sparsity, x, seed=seed, epochs=epochs).items():
                        weights[member, epoch] = one
    return MemoryRun(weights)
