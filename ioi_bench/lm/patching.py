"""Patched runs of a cross-section: edited activations are written at all its sites at once (METHOD §2).

What the edits cannot change is not computed again: layers below the first edited one and, by causality, positions
before the first edited one come from a `CleanRun` that many calls share; END alone is unembedded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ioi_bench.errors import InputError
from ioi_bench.lm.forward import GPT2Weights, attend, linear, mlp, norm, shared_prefix, trace
from ioi_bench.sites import Role, Site
from ioi_bench.task import TokenBatch

if TYPE_CHECKING:
    from ioi_bench.lm.model import LanguageModel

__all__ = ["CleanRun", "clean_run", "differentiable_logits", "patched_logits"]

_PROMPTS_AT_ONCE = 64
_ROWS_AT_ONCE = 2048  # (edit, prompt, position) triples: bounds the MLP's hidden layer to tens of MB


@dataclass(frozen=True)
class CleanRun:
    """The unedited run of a batch, from ``first_layer`` up: what patched runs start from.

    ``resid_pre`` starts at position ``offset``; what lies before is the same in all prompts and no role is there.
    GPT-2 small with ``first_layer=0`` takes 2 MB for a prompt of 19 tokens.
    """

    batch: TokenBatch
    first_layer: int
    offset: int
    resid_pre: tuple[Float[Tensor, "prompt later d_model"], ...]
    k: tuple[Float[Tensor, "prompt pos d_heads"], ...]
    v: tuple[Float[Tensor, "prompt pos d_heads"], ...]

    def __len__(self) -> int:
        return len(self.batch)


@torch.no_grad()
def clean_run(model: LanguageModel, batch: TokenBatch, first_layer: int = 0) -> CleanRun:
    """Run a batch once; keep what edits at ``first_layer`` or above need.

    Raises:
        InputError: prompts longer than the model's context, tokens outside its vocabulary, or END is not located.
    """
    model.check_batch(batch, [Role.END])
    batch = batch.to(model.device)
    weights, first_layer = model.weights, min(first_layer, model.n_layers - 1)
    first_role = min(int(at.min()) for at in batch.positions.values())
    offset, past = shared_prefix(weights, batch.tokens, at_most=first_role)
    kept: dict[tuple[int, str], list[Tensor]] = {}
    for start in range(0, len(batch), _PROMPTS_AT_ONCE):
        tokens = batch.tokens[start : start + _PROMPTS_AT_ONCE, offset : int(batch.lengths.max())]
        for layer, component, value in trace(weights, tokens, past):
            if layer >= first_layer and component in ("resid_pre", "k", "v"):
                kept.setdefault((layer, component), []).append(value)
            if (layer, component) == (model.n_layers - 1, "v"):
                break

    def stack(component: str) -> tuple[Tensor, ...]:
        return tuple(torch.cat(kept[layer, component]) for layer in range(first_layer, model.n_layers))

    resid_pre, k, v = stack("resid_pre"), stack("k"), stack("v")
    if past:
        expanded = [[x.expand(len(batch), -1, -1) for x in pair] for pair in past[first_layer:]]
        k = tuple(torch.cat([old[0], new], dim=1) for old, new in zip(expanded, k, strict=True))
        v = tuple(torch.cat([old[1], new], dim=1) for old, new in zip(expanded, v, strict=True))
    return CleanRun(batch, first_layer, offset, resid_pre, k, v)


@torch.no_grad()
def patched_logits(
    model: LanguageModel,
    clean: CleanRun | TokenBatch,
    edits: Sequence[Mapping[Site, Float[Tensor, "prompt d_in"]]],
) -> Float[Tensor, "edit prompt vocab"]:
    """Logits at END when the activations of sites are replaced, each edit in a run of its own.

    All edits name the same sites; ``{}`` leaves the run as it is. Values are written when the run gets to their site,
    whatever the edits upstream have done: what TransformerLens's hooks would do.

    Raises:
        InputError: edits of different sites, values of the wrong shape, or sites that the model lacks.
    """
    return differentiable_logits(model, clean, edits)


def differentiable_logits(
    model: LanguageModel,
    clean: CleanRun | TokenBatch,
    edits: Sequence[Mapping[Site, Float[Tensor, "prompt d_in"]]],
) -> Float[Tensor, "edit prompt vocab"]:
    """`patched_logits` with a record for autograd, where gradients are on and the values that are written need them.

    Raises:
        InputError: as `patched_logits`.
    """
    batch = clean.batch if isinstance(clean, CleanRun) else clean
    values = _stack(model, batch, edits)
    first = min((site.layer for site in values), default=model.n_layers - 1)
    if not isinstance(clean, CleanRun):
        clean = clean_run(model, clean, first)
    if clean.first_layer > first:
        raise InputError(
            f"the clean run keeps layers from {clean.first_layer} up, the edits start at layer {first}: "
            f"call clean_run with first_layer={first} or less"
        )
    end = torch.empty(len(edits), len(batch), model.weights.d_model, device=model.device)
    for prompts, start, stop in _groups(clean.batch, values):
        at_once = max(1, _ROWS_AT_ONCE // (stop - start))
        for e in range(0, len(edits), at_once):
            edit = slice(e, min(e + at_once, len(edits)))
            for some in prompts.split(max(1, at_once // (edit.stop - edit.start))):
                window = _Window(some, start, stop, {site: value[edit, some] for site, value in values.items()})
                end[edit, some] = _run(model.weights, clean, window, first)
    return linear(norm(model.weights, end), model.weights.unembed, model.weights.b_unembed)


def _stack(
    model: LanguageModel, batch: TokenBatch, edits: Sequence[Mapping[Site, Tensor]]
) -> dict[Site, Float[Tensor, "edit prompt d_in"]]:
    sites = list(edits[0]) if edits else []
    if any(set(edit) != set(sites) for edit in edits):
        raise InputError("all edits of one call must name the same sites: call patched_logits once for each set")
    model.check_batch(batch, [Role.END, *(site.role for site in sites)])
    # All heads at once come before single heads, so that a single head's value is the one that stays.
    sites.sort(key=lambda site: (site.layer, site.component, -1 if site.head is None else site.head))
    values = {}
    for site in sites:
        expected = (len(batch), model.width(site))
        for edit in edits:
            if tuple(edit[site].shape) != expected:
                raise InputError(
                    f"an edit at {site} has shape {tuple(edit[site].shape)}, expected [prompt, d_in] = {expected}"
                )
        values[site] = torch.stack([edit[site].to(model.device, torch.float32) for edit in edits])
    return values


def _groups(batch: TokenBatch, sites: Mapping[Site, Tensor]) -> Iterator[tuple[Int[Tensor, " prompt"], int, int]]:
    """Prompts by the first position that the edits can change, up to the last END among them."""
    end = batch.positions[Role.END]
    starts = torch.stack([end, *(batch.positions[site.role] for site in sites)]).amin(0)
    for start in starts.unique().tolist():
        prompts = (starts == start).nonzero()[:, 0]
        yield prompts, start, int(end[prompts].max()) + 1


@dataclass(frozen=True)
class _Window:
    """Positions ``start`` to ``stop`` of some prompts, and what is written there."""

    prompts: Int[Tensor, " prompt"]
    start: int
    stop: int
    values: dict[Site, Float[Tensor, "edit prompt d_in"]]

    def write(
        self,
        component: str,
        layer: int,
        x: Float[Tensor, "#edit prompt row d"],
        at: Mapping[Role, Int[Tensor, " prompt"]],
    ) -> Float[Tensor, "#edit prompt row d"]:
        """Put a component's values into ``x`` at the rows of their roles; in place once it has an edit axis.

        Never in place under autograd: what is there already may be a view, or needed for a gradient.
        """
        for site, value in self.values.items():
            if (site.component, site.layer) != (component, layer) or site.role not in at:
                continue
            if len(x) != len(value) or torch.is_grad_enabled():
                x = x.expand(len(value), -1, -1, -1).clone()
            first = value.shape[-1] * (site.head or 0)
            prompts = torch.arange(x.shape[1], device=x.device)
            x[:, prompts, at[site.role], first : first + value.shape[-1]] = value
        return x


def _run(weights: GPT2Weights, clean: CleanRun, window: _Window, first: int) -> Float[Tensor, "edit prompt d_model"]:
    """The residual stream at END after the last layer.

    Up to the first write the edit axis has length 1: what is clean is computed once for all edits.
    """
    prompts, start = window.prompts, window.start
    positions = clean.batch.positions
    at = {role: position[prompts] - start for role, position in positions.items()}
    rows = torch.arange(window.stop - start, device=prompts.device).expand(len(prompts), -1)
    x = clean.resid_pre[first - clean.first_layer][:, start - clean.offset : window.stop - clean.offset][prompts][None]
    for index in range(first, len(weights.layers)):
        layer, kept = weights.layers[index], index - clean.first_layer
        x = window.write("resid_pre", index, x, at)
        normed = norm(weights, x)
        k, v = linear(normed, layer.w_kv, layer.b_kv).chunk(2, dim=-1)
        k, v = window.write("k", index, k, at), window.write("v", index, v, at)
        if index == len(weights.layers) - 1:  # from here on END alone matters
            rows, every = at[Role.END][:, None], torch.arange(len(prompts), device=prompts.device)
            x, normed = x[:, every, rows[:, 0], None], normed[:, every, rows[:, 0], None]
            at = {Role.END: torch.zeros_like(prompts)}
        q = window.write("q", index, linear(normed, layer.w_q, layer.b_q), at)
        past = clean.k[kept][:, :start][prompts], clean.v[kept][:, :start][prompts]
        z = window.write("z", index, attend(weights.n_heads, q, k, v, past, rows), at)
        attn_out = window.write("attn_out", index, linear(z, layer.w_o, layer.b_o), at)
        x = window.write("resid_mid", index, x + attn_out, at)
        mlp_out = window.write("mlp_out", index, mlp(weights, layer, x), at)
        x = window.write("resid_post", index, x + mlp_out, at)
    return x[:, :, 0]
