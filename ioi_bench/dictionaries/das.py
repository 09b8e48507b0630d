"""Distributed alignment search (DAS; Geiger et al. 2024, arXiv 2303.02536): a subspace that carries an attribute.

At each site of a cross-section an orthonormal basis Q of few dimensions is learnt, such that the *distributed
interchange intervention*, done at all of these sites together ::

    a_s + Q Qᵀ (a_t − a_s)

has the effect of the whole counterfactual activations. What is minimised, **through the model** by gradient descent, is
the mean over train prompts of ``KL(logits with a_t in the sites ‖ logits with the intervention)``: edit accuracy asks
for agreement with the argmax of the former (METHOD §6), and so the loss asks for the truth-patched run, and not, as the
paper's cross-entropy does, for the answer of a causal model. Q starts from the principal axes of ``a_t − a_s``, where
the paper starts from a random rotation, and is a thin QR factor, where the paper learns a whole rotation.

As a dictionary, directions are the basis and features the projections: `exchange` at k = dimension is the intervention.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, log2
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ioi_bench.dictionaries.nulls import Linear
from ioi_bench.errors import InputError
from ioi_bench.lm.patching import clean_run, differentiable_logits, patched_logits
from ioi_bench.sites import Site

if TYPE_CHECKING:
    from ioi_bench.lm.model import LanguageModel
    from ioi_bench.task import TokenBatch

__all__ = ["STEPS", "dimensions_for", "interchange_loss", "principal_axes", "subspaces"]

STEPS = 200
_BATCH, _RATE, _HELD_OUT = 128, 0.01, 256

Bases = Mapping[Site, Float[Tensor, "d_in dimension"]]


def dimensions_for(n_values: int, d_in: int) -> int:
    """How many dimensions an attribute is given: its bits, rounded up to a power of two, at most d_in.

    So many are needed to tell the values apart by signs; and the intervention is then one of the usual budgets.

    >>> [dimensions_for(n, 32) for n in (2, 3, 216, 2 * 216)]
    [1, 2, 8, 16]
    """
    bits = max(1, ceil(log2(max(2, n_values))))
    return min(d_in, 2 ** ceil(log2(bits)))


def principal_axes(change: Float[Tensor, "prompt d_in"], dimension: int) -> Float[Tensor, "d_in dimension"]:
    """The orthonormal directions along which activations change most; the largest first, signs fixed."""
    axes = torch.linalg.eigh(change.double().T @ change.double()).eigenvectors.flip(1)[:, :dimension]
    return (axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()).float()


def interchange_loss(
    model: LanguageModel,
    batch: TokenBatch,
    base: Mapping[Site, Float[Tensor, "prompt d_in"]],
    target: Mapping[Site, Float[Tensor, "prompt d_in"]],
    bases: Bases,
) -> Float[Tensor, ""]:
    """``KL(truth-patched ‖ intervention)`` in nats, mean over the prompts; differentiable by the bases.

    Args:
        model: the model that is run.
        batch: the base prompts.
        base, target: activations of base prompts and of their counterfactuals, at all sites.
        bases: orthonormal columns.
    """
    clean = clean_run(model, batch, min(site.layer for site in base))
    truth = patched_logits(model, clean, [target])[0].log_softmax(-1)
    written = {site: a + (target[site] - a) @ bases[site] @ bases[site].T for site, a in base.items()}
    found = differentiable_logits(model, clean, [written])[0].log_softmax(-1)
    return (truth.exp() * (truth - found)).sum(-1).mean()


def subspaces(
    model: LanguageModel,
    batch: TokenBatch,
    base: Mapping[Site, Float[Tensor, "prompt d_in"]],
    target: Mapping[Site, Float[Tensor, "prompt d_in"]],
    *,
    dimension: int,
    seed: int,
    steps: int = STEPS,
) -> dict[Site, Linear]:
    """Learn a subspace at each site, all together, and give it as a dictionary about the mean of ``base``.

    The last 256 prompts are never learnt from; the bases are those of the start where these are no better in the end.
    The basis of each subspace is turned to the principal axes of the change within it, the largest first.

    Args:
        model: the model that is run.
        batch: train prompts.
        base, target: their activations and those of their counterfactuals, at all sites of a cross-section.
        dimension: of every subspace.
        seed: of the order of prompts.
        steps: of Adam, with 128 prompts each.

    Raises:
        InputError: fewer than 2 prompts, or a dimension that is not between 1 and d_in.
    """
    width = min(a.shape[1] for a in base.values())
    if len(batch) < 2 or not 1 <= dimension <= width:
        raise InputError(
            f"a subspace needs train prompts ({len(batch)}) and 1 to d_in = {width} dimensions, got {dimension}"
        )
    base, target = ({site: a.to(model.device) for site, a in one.items()} for one in (base, target))
    start: Bases = {site: principal_axes(target[site] - a, dimension) for site, a in base.items()}
    held_out = min(_HELD_OUT, len(batch) // 2)
    learnt, last = slice(0, len(batch) - held_out), slice(len(batch) - held_out, len(batch))
    found = _descend(model, batch, base, target, start, learnt.stop, seed, steps)
    with torch.no_grad():
        shown, before, after = batch.slice(last.start, last.stop), _rows(base, last), _rows(target, last)
        better = interchange_loss(model, shown, before, after, found) < interchange_loss(
            model, shown, before, after, start
        )
    kept = found if bool(better) else start
    return {site: _as_dictionary(kept[site], base[site], target[site]) for site in base}


def _descend(
    model: LanguageModel,
    batch: TokenBatch,
    base: Mapping[Site, Tensor],
    target: Mapping[Site, Tensor],
    start: Bases,
    n: int,
    seed: int,
    steps: int,
) -> dict[Site, Tensor]:
    free = {site: basis.clone().to(model.device).requires_grad_() for site, basis in start.items()}
    optimiser = torch.optim.Adam(free.values(), lr=_RATE)
    generator = torch.Generator().manual_seed(seed)
    order: Int64[Tensor, " prompt"] = torch.empty(0, dtype=torch.int64)
    with torch.enable_grad():
        for _ in range(steps):
            if len(order) < min(_BATCH, n):
                order = torch.randperm(n, generator=generator)
            rows, order = order[:_BATCH], order[_BATCH:]
            bases = {site: torch.linalg.qr(x).Q for site, x in free.items()}
            optimiser.zero_grad()
            interchange_loss(model, batch.take(rows), _rows(base, rows), _rows(target, rows), bases).backward()
            optimiser.step()
    return {site: torch.linalg.qr(x.detach()).Q for site, x in free.items()}


def _rows(activations: Mapping[Site, Tensor], rows: slice | Int64[Tensor, " chosen"]) -> dict[Site, Tensor]:
    return {site: a[rows] for site, a in activations.items()}


def _as_dictionary(basis: Tensor, base: Tensor, target: Tensor) -> Linear:
    basis, base, target = basis.cpu(), base.cpu(), target.cpu()
    turned = basis @ principal_axes((target - base) @ basis, basis.shape[1])
    return Linear(turned.T.contiguous(), base.double().mean(0).float())
