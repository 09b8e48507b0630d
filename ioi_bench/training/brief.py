"""A short training in memory, for baselines: no folder, no checkpoints, no resampling (METHOD §8 has the long one)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from ioi_bench.dictionaries.architectures import Architecture
from ioi_bench.errors import InputError, IoiBenchError
from ioi_bench.sites import Site
from ioi_bench.training.programs import Batch, program
from ioi_bench.training.runs import input_scale
from ioi_bench.training.schedule import learning_rate
from ioi_bench.training.step import Step

__all__ = ["train_briefly"]

_BATCH = 512


@torch.no_grad()
def train_briefly(
    variant: str,
    sparsity: float,
    train: Mapping[Site, Float[Tensor, "prompt d_in"]],
    seeds: Mapping[Site, int],
    *,
    epochs: int,
    peak: float = 1e-3,
) -> dict[Site, Architecture]:
    """One dictionary of d_sae = 8 d_in at every site, trained with the recipe's scale, loss, batches and optimiser.

    The learning rate falls linearly to 0 over the last quarter (METHOD §8). One after another: each is the same
    whatever stands at other sites.

    Args:
        variant: of `ioi_bench.training.programs`.
        sparsity: its λ or k.
        train: activations by site.
        seeds: of initial weights and batch order.
        epochs: passes over the train prompts.
        peak: Adam's learning rate, at its height.

    Raises:
        UnknownNameError: no such variant.
        InputError: no train prompts, or a sparsity that the variant cannot have.
        IoiBenchError: the loss is no longer finite.
    """
    return {
        site: _trained(variant, sparsity, site, activations, seeds[site], epochs, peak)
        for site, activations in train.items()
    }


def _trained(
    variant: str, sparsity: float, site: Site, train: Tensor, seed: int, epochs: int, peak: float
) -> Architecture:
    if not len(train):
        raise InputError("no train activations were given")
    kind, d_in = program(variant), train.shape[1]
    kind.check(sparsity, 8 * d_in)
    scale = input_scale(site, train)
    data, batch, generator = scale * train, min(_BATCH, len(train)), torch.Generator().manual_seed(seed)
    made = kind(torch.tensor([float(sparsity)]), d_in, 8 * d_in, batch)
    made.initialise(0, data.mean(0), generator)
    learn, per_epoch = Step(made), len(train) // batch
    steps = epochs * per_epoch
    for epoch in range(epochs):
        order = torch.randperm(len(train), generator=generator)
        for i in range(per_epoch):
            step = epoch * per_epoch + i
            x = data[order[i * batch : (i + 1) * batch]][None]
            figures = learn(Batch(x, progress=step / steps), learning_rate(step, steps, (), peak))
        if not bool(figures.loss.isfinite().all()):
            raise IoiBenchError(f"training diverged in epoch {epoch + 1} at {site}: the loss is not finite")
    return kind.export({name: value[0] for name, value in made.parameters.items()}, sparsity, scale)
