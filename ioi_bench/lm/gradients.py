"""Gradients of the logit difference by activations: one pass forwards and one backwards for a batch and all its sites.

A site's gradient is the slope of a patched run: what comes after the site is computed from its new value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ioi_bench.errors import InputError
from ioi_bench.lm.forward import GPT2Weights, Past, norm, shared_prefix, trace
from ioi_bench.sites import Role, Site
from ioi_bench.task import TokenBatch

if TYPE_CHECKING:
    from ioi_bench.lm.model import LanguageModel

__all__ = ["logit_difference_gradients"]

_PROMPTS_AT_ONCE = 64


def logit_difference_gradients(
    model: LanguageModel,
    batch: TokenBatch,
    io: Int[Tensor, " prompt"],
    s: Int[Tensor, " prompt"],
    sites: Sequence[Site],
) -> dict[Site, Float[Tensor, "prompt d_in"]]:
    """Gradients of ``logit(io) − logit(s)`` at END, in the clean run, by the activations at sites.

    Args:
        model: the model that is run.
        batch: the prompts.
        io: the token of each prompt's IO name.
        s: the token of each prompt's S name.
        sites: of what; logits per unit of the activation, on the model's device. 0 where a site does not reach END.

    Raises:
        InputError: names that do not match the prompts, or a model that lacks a site, or a batch that lacks a role.
    """
    for site in sites:
        model.width(site)
    model.check_batch(batch, [Role.END, *(site.role for site in sites)])
    for name, tokens in (("io", io), ("s", s)):
        if tuple(tokens.shape) != (len(batch),) or not 0 <= int(tokens.min()) <= int(tokens.max()) < model.d_vocab:
            raise InputError(
                f"{name} has shape {tuple(tokens.shape)}, expected one token of the vocabulary (0 to "
                f"{model.d_vocab - 1}) for each of the {len(batch)} prompts: see ioi_bench.task.name_tokens"
            )
    weights, batch = model.weights, batch.to(model.device)
    directions = weights.unembed.T[io.to(model.device)] - weights.unembed.T[s.to(model.device)]
    with torch.no_grad():
        first_role = min(int(at.min()) for at in batch.positions.values())
        offset, past = shared_prefix(weights, batch.tokens, at_most=first_role)
    found: dict[Site, list[Tensor]] = {site: [] for site in sites}
    for start in range(0, len(batch), _PROMPTS_AT_ONCE):
        part = batch.slice(start, start + _PROMPTS_AT_ONCE)
        by_site = _part_gradients(weights, part, directions[start : start + _PROMPTS_AT_ONCE], sites, offset, past)
        for site, gradient in by_site.items():
            found[site].append(gradient)
    return {site: torch.cat(parts) for site, parts in found.items()}


def _part_gradients(
    weights: GPT2Weights,
    batch: TokenBatch,
    directions: Float[Tensor, "prompt d_model"],
    sites: Sequence[Site],
    offset: int,
    past: Past | None,
) -> dict[Site, Float[Tensor, "prompt d_in"]]:
    """Of prompts that run together; prompts do not touch each other, so that one sum serves all."""
    wanted = {(site.layer, site.component) for site in sites}
    prompts = torch.arange(len(batch), device=batch.tokens.device)
    values: dict[tuple[int, str], Tensor] = {}
    with torch.enable_grad():
        recorded = replace(weights, embed=weights.embed.detach().requires_grad_())  # starts autograd's record
        for layer, component, value in trace(recorded, batch.tokens[:, offset : int(batch.lengths.max())], past):
            if (layer, component) in wanted:
                values[layer, component] = value
        end = value[prompts, batch.positions[Role.END] - offset]
        difference = (norm(weights, end) * directions).sum()
        gradients = torch.autograd.grad(difference, list(values.values()), materialize_grads=True)
    by_value = dict(zip(values, gradients, strict=True))
    found = {}
    for site in sites:
        gradient = by_value[site.layer, site.component]
        width = gradient.shape[-1] if site.head is None else weights.d_head
        column = width * (site.head or 0)
        found[site] = gradient[prompts, batch.positions[site.role] - offset, column : column + width]
    return found
