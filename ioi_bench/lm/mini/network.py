"""The network that becomes ioi-mini: GPT-2's architecture, with interchange interventions and their gradients.

Only training uses it; what is shipped is a Hugging Face GPT-2 that `export` writes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Intervention", "MiniConfig", "MiniNetwork", "Trace"]


@dataclass(frozen=True)
class MiniConfig:
    """Sizes of ioi-mini."""

    d_vocab: int
    n_layers: int = 5
    n_heads: int = 4
    d_model: int = 128
    n_ctx: int = 32

    @property
    def d_head(self) -> int:
        """Width of a head."""
        return self.d_model // self.n_heads


@dataclass
class Trace:
    """What a run leaves behind: per layer, ``q k v z [prompt pos head d_head]``, attention and the MLP's output."""

    q: list[Tensor] = field(default_factory=list)
    k: list[Tensor] = field(default_factory=list)
    v: list[Tensor] = field(default_factory=list)
    z: list[Tensor] = field(default_factory=list)
    attention: list[Tensor] = field(default_factory=list)
    mlp: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True)
class Intervention:
    """Take over activations of a source run: where the masks say so, at position ``origin`` of the source."""

    source: Trace
    origin: Int[Tensor, "prompt pos"]
    heads: Bool[Tensor, "layer prompt pos head"]
    mlps: Bool[Tensor, "layer prompt pos"]

    def on_z(self, layer: int, z: Float[Tensor, "prompt pos head d_head"]) -> Tensor:
        """``z`` with the source's at the masked heads."""
        index = self.origin[:, :, None, None].expand_as(z)
        return torch.where(self.heads[layer][..., None], self.source.z[layer].gather(1, index), z)

    def on_mlp(self, layer: int, out: Float[Tensor, "prompt pos d_model"]) -> Tensor:
        """The MLP's output with the source's at the masked positions."""
        index = self.origin[:, :, None].expand_as(out)
        return torch.where(self.mlps[layer][..., None], self.source.mlp[layer].gather(1, index), out)


class _Block(nn.Module):
    def __init__(self, config: MiniConfig) -> None:
        super().__init__()
        self.n_heads = config.n_heads
        self.ln_1, self.ln_2 = nn.LayerNorm(config.d_model), nn.LayerNorm(config.d_model)
        self.qkv = nn.Linear(config.d_model, 3 * config.d_model)
        self.out = nn.Linear(config.d_model, config.d_model)
        self.fc = nn.Linear(config.d_model, 4 * config.d_model)
        self.proj = nn.Linear(4 * config.d_model, config.d_model)

    def forward(self, x: Tensor, mask: Tensor, layer: int, trace: Trace, patch: Intervention | None) -> Tensor:
        q, k, v = (part.unflatten(-1, (self.n_heads, -1)) for part in self.qkv(self.ln_1(x)).chunk(3, dim=-1))
        scores = torch.einsum("bqhd,bkhd->bhqk", q, k) / q.shape[-1] ** 0.5
        attention = scores.masked_fill(mask, -1e9).softmax(-1)
        z = torch.einsum("bhqk,bkhd->bqhd", attention, v)
        if patch is not None:
            z = patch.on_z(layer, z)
        x = x + self.out(z.flatten(2))
        mlp = self.proj(F.gelu(self.fc(self.ln_2(x)), approximate="tanh"))
        if patch is not None:
            mlp = patch.on_mlp(layer, mlp)
        for name, value in {"q": q, "k": k, "v": v, "z": z, "attention": attention, "mlp": mlp}.items():
            getattr(trace, name).append(value)
        return x + mlp


class MiniNetwork(nn.Module):
    """GPT-2 (learned positions, pre-layer-norm, tanh GELU, tied unembedding)."""

    def __init__(self, config: MiniConfig) -> None:
        super().__init__()
        self.config = config
        self.wte = nn.Embedding(config.d_vocab, config.d_model)
        self.wpe = nn.Embedding(config.n_ctx, config.d_model)
        self.blocks = nn.ModuleList(_Block(config) for _ in range(config.n_layers))
        self.ln_f = nn.LayerNorm(config.d_model)
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=0.05)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def forward(
        self, tokens: Int[Tensor, "prompt pos"], end: Int[Tensor, " prompt"], patch: Intervention | None = None
    ) -> tuple[Float[Tensor, "prompt vocab"], Trace]:
        """Logits at END, and the trace of the run."""
        n = tokens.shape[1]
        mask = torch.ones(n, n, dtype=torch.bool, device=tokens.device).triu(1)
        x = self.wte(tokens) + self.wpe.weight[:n]
        trace = Trace()
        for layer, block in enumerate(self.blocks):
            x = block(x, mask, layer, trace, patch)
        x = self.ln_f(x[torch.arange(len(x)), end])
        return x @ self.wte.weight.T, trace

    def hf_state(self) -> dict[str, Tensor]:
        """The weights under the names of Hugging Face's GPT2LMHeadModel (its Conv1D holds ``[in, out]``)."""
        state = {"transformer.wte.weight": self.wte.weight, "transformer.wpe.weight": self.wpe.weight}
        for layer, block in enumerate(self.blocks):
            at = f"transformer.h.{layer}."
            for ours, theirs in {
                "qkv": "attn.c_attn",
                "out": "attn.c_proj",
                "fc": "mlp.c_fc",
                "proj": "mlp.c_proj",
            }.items():
                linear = getattr(block, ours)
                state[f"{at}{theirs}.weight"], state[f"{at}{theirs}.bias"] = linear.weight.T, linear.bias
            for norm in ("ln_1", "ln_2"):
                state[f"{at}{norm}.weight"], state[f"{at}{norm}.bias"] = (
                    getattr(block, norm).weight,
                    getattr(block, norm).bias,
                )
        state["transformer.ln_f.weight"], state["transformer.ln_f.bias"] = self.ln_f.weight, self.ln_f.bias
        return {name: value.detach().clone().contiguous() for name, value in state.items()}
