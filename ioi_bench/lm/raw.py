"""Activations of a model as published: layer norms not folded, nothing centred (what the preflight compares with)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from ioi_bench.lm.source import load_weights, quiet
from ioi_bench.sites import Site
from ioi_bench.task import TokenBatch

if TYPE_CHECKING:
    from ioi_bench.lm.model import LanguageModel

__all__ = ["raw_activations"]


@torch.no_grad()
def raw_activations(
    model: LanguageModel, batch: TokenBatch, sites: Sequence[Site]
) -> dict[Site, Float[Tensor, "prompt d_in"]] | None:
    """What Hugging Face's own model has at these sites; None where the model's directory is not there (any more)."""
    if model.directory is None or not (model.directory / "model.safetensors").is_file():
        return None
    with quiet():
        hf = load_weights(model.directory).eval()
    found: dict[Site, Tensor] = {}
    rows = torch.arange(len(batch))

    def keep(site: Site, x: Tensor) -> None:
        width = x.shape[-1] if site.head is None else model.d_head
        start = width * (site.head or 0)
        found[site] = x[rows, batch.positions[site.role], start : start + width].float()

    handles = [_watch(hf.transformer.h[site.layer], site, keep) for site in sites]
    try:
        hf.transformer(batch.tokens)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _watch(block: Any, site: Site, keep: Callable[[Site, Tensor], None]) -> Any:
    """Hook the module whose input or output the site is."""
    inputs = {"resid_pre": block, "resid_mid": block.ln_2, "z": block.attn.c_proj}
    if site.component in inputs:

        def before(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            keep(site, args[0] if args else kwargs["hidden_states"])

        return inputs[site.component].register_forward_pre_hook(before, with_kwargs=True)

    def after(_: Any, __: Any, output: Any) -> None:
        x = output[0] if isinstance(output, tuple) else output
        keep(site, x.chunk(3, -1)["qkv".index(site.component)] if site.component in "qkv" else x)

    outputs = {"attn_out": block.attn, "mlp_out": block.mlp, "resid_post": block}
    return outputs.get(site.component, block.attn.c_attn).register_forward_hook(after)
