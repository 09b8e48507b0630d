"""An untrained model of another's shape: what the pipeline finds there, it finds without any mechanism.

A nonlinear map can reach 100 % interchange accuracy on IOI in a randomly initialised model (Sutter et al. 2025,
arXiv 2507.08802): a figure that an untrained model reaches too says nothing about a trained one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from ioi_bench.lm.forward import GPT2Weights, LayerWeights

if TYPE_CHECKING:
    from ioi_bench.lm.model import LanguageModel

__all__ = ["GPT2", "INITIAL", "Initial", "untrained_model"]


@dataclass(frozen=True)
class Initial:
    """How weights are drawn: normal with mean 0; biases are 0 and layer norms the identity.

    Attributes:
        std: of every matrix and embedding.
        residual: what writes to the residual stream is divided by ``√(2 n_layers)``, as GPT-2's is (Radford et al.
            2019, §2.3; Hugging Face's ``GPT2PreTrainedModel`` does it).
    """

    std: float
    residual: bool


GPT2 = Initial(std=0.02, residual=True)
INITIAL: Mapping[str, Initial] = MappingProxyType({"ioi-mini": Initial(std=0.05, residual=False)})
"""How a model's own training began (ioi-mini: `ioi_bench.lm.mini.network`); every other model began as GPT-2 did."""


def untrained_model(model: LanguageModel, seed: int, initial: Initial | None = None) -> LanguageModel:
    """The model before any training: the same shape, tokenizer and device, weights drawn from the seed.

    The weights are brought into the form of `GPT2Weights`: what writes to the stream is centred, and so is the
    unembedding, which is the embedding's transpose.

    Args:
        model: whose shape is taken.
        seed: of the draws, which are made on the CPU in a fixed order.
        initial: by default how the model of that name began.
    """
    initial = initial or INITIAL.get(model.name, GPT2)
    generator = torch.Generator().manual_seed(seed)
    shape = model.weights

    def drawn(like: Tensor, std: float = initial.std) -> Float[Tensor, "in out"]:
        return std * torch.randn(like.shape, generator=generator)

    writing = initial.std / (2 * len(shape.layers)) ** 0.5 if initial.residual else initial.std
    embed, pos = drawn(shape.embed), drawn(shape.pos)
    layers = tuple(
        LayerWeights(
            w_q=drawn(layer.w_q),
            b_q=torch.zeros(layer.b_q.shape),
            w_kv=drawn(layer.w_kv),
            b_kv=torch.zeros(layer.b_kv.shape),
            w_o=_centred(drawn(layer.w_o, writing)),
            b_o=torch.zeros(layer.b_o.shape),
            w_in=drawn(layer.w_in),
            b_in=torch.zeros(layer.b_in.shape),
            w_out=_centred(drawn(layer.w_out, writing)),
            b_out=torch.zeros(layer.b_out.shape),
        )
        for layer in shape.layers
    )
    weights = GPT2Weights(
        embed=_centred(embed),
        pos=_centred(pos),
        layers=layers,
        unembed=_centred(embed.T).contiguous(),
        b_unembed=torch.zeros(shape.b_unembed.shape),
        n_heads=shape.n_heads,
        eps=shape.eps,
        activation=shape.activation,
    )
    made_of = json.dumps([model.sha256, seed, asdict(initial)], sort_keys=True)
    sha256 = hashlib.sha256(f"untrained {made_of}".encode()).hexdigest()
    return replace(
        model,
        name=f"{model.name}-untrained-{seed}",
        sha256=sha256,
        weights=weights.to(model.device),
        directory=None,
    )


def _centred(x: Float[Tensor, "row column"]) -> Float[Tensor, "row column"]:
    """Less the mean of each row: layer norm, and a softmax over the vocabulary, do not see that."""
    return x - x.mean(-1, keepdim=True)
