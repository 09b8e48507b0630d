"""GPT-2's forward pass over processed weights: plain tensor functions, no hooks (METHOD §2).

The weights are those of TransformerLens's compatibility mode, so layer norms carry no weights of their own
(folded) and ``q k v z`` mean what its ``hook_q … hook_z`` mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from ioi_bench.sites import Site

if TYPE_CHECKING:
    from ioi_bench.task import TokenBatch

__all__ = [
    "ACTIVATIONS",
    "GPT2Weights",
    "LayerWeights",
    "attend",
    "capture",
    "linear",
    "mlp",
    "norm",
    "shared_prefix",
    "trace",
]

_ORDER = ("resid_pre", "k", "v", "q", "z", "attn_out", "resid_mid", "mlp_out", "resid_post")
"""The components of a layer in the order in which `trace` computes them: what only later layers need comes first."""


_WORTH_SHARING = 16
"""Prompts from which a shared prefix pays for reading the weights once more."""

_PROMPTS_AT_ONCE = 64
"""Prompts that a processor runs together: their hidden layers stay in its cache."""


@dataclass(frozen=True)
class LayerWeights:
    """One layer, written for ``x @ w + b``; heads are concatenated, ``w_kv`` holds keys then values."""

    w_q: Float[Tensor, "d_model d_heads"]
    b_q: Float[Tensor, " d_heads"]
    w_kv: Float[Tensor, "d_model 2*d_heads"]
    b_kv: Float[Tensor, " 2*d_heads"]
    w_o: Float[Tensor, "d_heads d_model"]
    b_o: Float[Tensor, " d_model"]
    w_in: Float[Tensor, "d_model d_mlp"]
    b_in: Float[Tensor, " d_mlp"]
    w_out: Float[Tensor, "d_mlp d_model"]
    b_out: Float[Tensor, " d_model"]

    def to(self, device: torch.device | str) -> LayerWeights:
        """The same weights on another device."""
        return LayerWeights(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})


@dataclass(frozen=True)
class GPT2Weights:
    """All that the forward pass needs: layer norm folded, writing weights centred, values' biases folded."""

    embed: Float[Tensor, "vocab d_model"]
    pos: Float[Tensor, "pos d_model"]
    layers: tuple[LayerWeights, ...]
    unembed: Float[Tensor, "d_model vocab"]
    b_unembed: Float[Tensor, " vocab"]
    n_heads: int
    eps: float
    activation: str

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return self.embed.shape[1]

    @property
    def d_head(self) -> int:
        """Width of a head."""
        return self.layers[0].w_q.shape[1] // self.n_heads

    def to(self, device: torch.device | str) -> GPT2Weights:
        """The same weights on another device."""
        moved: dict[str, Any] = {
            field.name: value.to(device) if isinstance(value := getattr(self, field.name), Tensor) else value
            for field in fields(self)
        }
        return GPT2Weights(**moved | {"layers": tuple(layer.to(device) for layer in self.layers)})


def linear(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """``x @ w + b`` over the last axis."""
    return torch.addmm(b, x.reshape(-1, x.shape[-1]), w).view(*x.shape[:-1], -1)


def norm(weights: GPT2Weights, x: Tensor) -> Tensor:
    """Layer norm without weights: they are folded into what follows."""
    return F.layer_norm(x, x.shape[-1:], eps=weights.eps)


ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "gelu_new": lambda x: F.gelu(x, approximate="tanh"),
    "gelu_pytorch_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "gelu": F.gelu,
    "relu": F.relu,
}
"""Activation functions by their name in a Hugging Face config."""


def mlp(weights: GPT2Weights, layer: LayerWeights, resid_mid: Tensor) -> Tensor:
    """The MLP's output, to be added to ``resid_mid``."""
    hidden = ACTIVATIONS[weights.activation](linear(norm(weights, resid_mid), layer.w_in, layer.b_in))
    return linear(hidden, layer.w_out, layer.b_out)


def attend(
    n_heads: int,
    q: Float[Tensor, "#edit prompt row d_heads"],
    k: Float[Tensor, "#edit prompt pos d_heads"],
    v: Float[Tensor, "#edit prompt pos d_heads"],
    past: tuple[Float[Tensor, "prompt past d_heads"], Float[Tensor, "prompt past d_heads"]],
    rows: Int[Tensor, "prompt row"],
) -> Float[Tensor, "#edit prompt row d_heads"]:
    """Causal attention of some rows over ``past`` (which all edits share, uncopied) and over ``pos``.

    ``rows[p, r]`` is the place of query row r among ``pos``. An ``edit`` axis of 1 stands for "the same in all edits".
    """
    edits = max(q.shape[0], k.shape[0], v.shape[0])
    prompts, n_rows, d_head = q.shape[1], q.shape[2], q.shape[3] // n_heads

    def heads(x: Tensor) -> Tensor:  # [edit, prompt, n, d_heads] → [prompt, head, edit, n, d_head]
        return x.view(*x.shape[:-1], n_heads, d_head).permute(1, 3, 0, 2, 4)

    queries, keys, values = heads(q), heads(k), heads(v)
    past_k, past_v = (heads(x[None])[:, :, 0] for x in past)
    scores = queries @ keys.transpose(-1, -2)
    future = torch.arange(k.shape[2], device=q.device) > rows[:, None, None, :, None]
    scores = scores.masked_fill(future, -torch.inf).expand(-1, -1, edits, -1, -1)
    n_past = past_k.shape[2]
    if n_past:
        flat = queries.reshape(prompts, n_heads, -1, d_head) @ past_k.transpose(-1, -2)
        old = flat.view(prompts, n_heads, -1, n_rows, n_past).expand(-1, -1, edits, -1, -1)
        scores = torch.cat([old, scores], dim=-1)
    pattern = (scores * d_head**-0.5).softmax(-1)
    z = pattern[..., n_past:] @ values
    if n_past:
        flat = pattern[..., :n_past].reshape(prompts, n_heads, -1, n_past) @ past_v
        z = z + flat.view_as(z)
    return z.permute(2, 0, 3, 1, 4).reshape(edits, prompts, n_rows, -1)


Past = list[tuple[Tensor, Tensor]]
"""Per layer, keys and values ``[prompt past d_heads]`` of positions before the tokens."""


def trace(
    weights: GPT2Weights, tokens: Int[Tensor, "prompt pos"], past: Past | None = None
) -> Iterator[tuple[int, str, Float[Tensor, "prompt pos d_in"]]]:
    """Compute ``(layer, component, value)`` one after another; whoever stops iterating stops the computation.

    ``past`` holds keys and values of a prefix that all prompts share: `shared_prefix`.
    """
    n_past = past[0][0].shape[1] if past else 0
    rows = torch.arange(tokens.shape[1], device=tokens.device).expand(len(tokens), -1)
    x = weights.embed[tokens] + weights.pos[n_past : n_past + tokens.shape[1]]
    for index, layer in enumerate(weights.layers):
        yield index, "resid_pre", x
        normed = norm(weights, x)
        k, v = linear(normed, layer.w_kv, layer.b_kv).chunk(2, dim=-1)
        yield index, "k", k
        yield index, "v", v
        q = linear(normed, layer.w_q, layer.b_q)
        yield index, "q", q
        before = past[index] if past else (k[:, :0], v[:, :0])
        before = (before[0].expand(len(tokens), -1, -1), before[1].expand(len(tokens), -1, -1))
        z = attend(weights.n_heads, q[None], k[None], v[None], before, rows)[0]
        yield index, "z", z
        attn_out = linear(z, layer.w_o, layer.b_o)
        yield index, "attn_out", attn_out
        x = x + attn_out
        yield index, "resid_mid", x
        mlp_out = mlp(weights, layer, x)
        yield index, "mlp_out", mlp_out
        x = x + mlp_out
        yield index, "resid_post", x


def shared_prefix(weights: GPT2Weights, tokens: Int[Tensor, "prompt pos"], at_most: int) -> tuple[int, Past | None]:
    """The length of the prefix that all prompts share, and its keys and values, computed once for all.

    At most ``at_most`` positions and never all of them; ``(0, None)`` where there is nothing to share.
    """
    same = (tokens == tokens[:1]).all(0).long().cumprod(0).sum()
    length = min(int(same), at_most, tokens.shape[1] - 1)
    if length < 1 or len(tokens) < _WORTH_SHARING:
        return 0, None
    keys: list[Tensor] = []
    past: Past = []
    for _, component, value in trace(weights, tokens[:1, :length]):
        if component == "k":
            keys.append(value)
        elif component == "v":
            past.append((keys[-1], value))
            if len(past) == len(weights.layers):
                break
    return length, past


@torch.no_grad()
def capture(
    weights: GPT2Weights, batch: TokenBatch, sites: Iterable[Site]
) -> Mapping[Site, Float[Tensor, "prompt d_in"]]:
    """Activations of sites, stopping after the last component that is needed."""
    wanted: dict[tuple[int, str], list[Site]] = {}
    for site in sites:
        wanted.setdefault((site.layer, site.component), []).append(site)
    if not wanted:
        return {}
    last = max(wanted, key=lambda key: (key[0], _ORDER.index(key[1])))
    roles = {site.role for group in wanted.values() for site in group}
    first = min(int(batch.positions[role].min()) for role in roles)
    offset, past = shared_prefix(weights, batch.tokens, at_most=first)
    stop = 1 + max(int(batch.positions[role].max()) for role in roles)  # causal: nothing later matters
    at_once = _PROMPTS_AT_ONCE if batch.tokens.device.type == "cpu" else len(batch)
    found: dict[Site, list[Tensor]] = {}
    for start in range(0, len(batch), at_once):
        part = batch.slice(start, start + at_once)
        prompts = torch.arange(len(part), device=batch.tokens.device)
        for layer, component, value in trace(weights, part.tokens[:, offset:stop], past):
            for site in wanted.get((layer, component), ()):
                width = value.shape[-1] if site.head is None else weights.d_head
                column = width * (site.head or 0)
                read = value[prompts, part.positions[site.role] - offset, column : column + width]
                found.setdefault(site, []).append(read)
            if (layer, component) == last:
                break
    return {site: torch.cat(parts) for site, parts in found.items()}
