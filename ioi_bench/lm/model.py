"""Loading a language model; the only module that imports transformer_lens.

Weights come through `TransformerBridge` and its compatibility mode (layer norm folded, weights centred); the forward
pass over them is our own (`ioi_bench.lm.forward`).
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ioi_bench.errors import InputError
from ioi_bench.lm.forward import GPT2Weights, LayerWeights, capture
from ioi_bench.lm.patching import clean_run, patched_logits
from ioi_bench.lm.source import load_tokenizer, load_weights, locate, quiet, read_config
from ioi_bench.sites import HEAD_COMPONENTS, Role, Site
from ioi_bench.task import TokenBatch

__all__ = ["LanguageModel", "load_model"]

_PROCESSING = "transformer_lens compatibility mode: fold_ln, center_writing_weights, center_unembed, fold_value_biases"


@dataclass(frozen=True, eq=False)
class LanguageModel:
    """A model, ready to run.

    ``sha256`` covers the weights as published, the sizes and the tokenizer's vocabulary; ``directory`` holds them,
    where they came from one.
    """

    name: str
    sha256: str
    weights: GPT2Weights
    tokenizer: Any
    device: torch.device
    directory: Path | None = None

    @property
    def n_layers(self) -> int:
        """Number of layers."""
        return len(self.weights.layers)

    @property
    def n_heads(self) -> int:
        """Heads of a layer."""
        return self.weights.n_heads

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return self.weights.d_model

    @property
    def d_head(self) -> int:
        """Width of a head."""
        return self.weights.d_head

    @property
    def d_vocab(self) -> int:
        """Size of the vocabulary."""
        return self.weights.unembed.shape[1]

    def to(self, device: torch.device | str) -> LanguageModel:
        """The same model on another device."""
        return replace(self, weights=self.weights.to(device), device=torch.device(device))

    def width(self, site: Site) -> int:
        """``d_in`` at a site.

        Raises:
            InputError: the model has no such layer or head.
        """
        site.check_within(self.name, self.n_layers, self.n_heads)
        if site.head is None:
            return self.n_heads * self.d_head if site.component in HEAD_COMPONENTS else self.d_model
        return self.d_head

    def check_batch(self, batch: TokenBatch, roles: Iterable[Role]) -> None:
        """Refuse a batch that the model cannot run or in which a role was not located.

        Raises:
            InputError: with what is wrong.
        """
        if len(batch) == 0:
            raise InputError("no prompts were given")
        longest, context = int(batch.lengths.max()), len(self.weights.pos)
        if longest > context:
            raise InputError(f"a prompt has {longest} tokens; {self.name} reads at most {context}")
        if int(batch.tokens.max()) >= self.d_vocab:
            raise InputError(
                f"token {int(batch.tokens.max())} is outside {self.name}'s vocabulary of {self.d_vocab}: "
                "tokenize with this model's own tokenizer"
            )
        for role in roles:
            if role not in batch.positions:
                have = ", ".join(batch.positions)
                raise InputError(f"the prompts have no position for the role {str(role)!r}; they have: {have}")

    def capture(self, batch: TokenBatch, sites: Sequence[Site]) -> dict[Site, Float[Tensor, "prompt d_in"]]:
        """Activations of one batch at sites, on the model's device.

        Raises:
            InputError: the model lacks a site, or the batch a role.
        """
        for site in sites:
            self.width(site)
        self.check_batch(batch, [site.role for site in sites])
        return dict(capture(self.weights, batch.to(self.device), sites))

    def logits(self, batch: TokenBatch) -> Float[Tensor, "prompt vocab"]:
        """Logits at END.

        Raises:
            InputError: the model cannot run the batch.
        """
        return patched_logits(self, clean_run(self, batch, self.n_layers - 1), [{}])[0]


def load_model(name_or_path: str | Path = "ioi-mini", device: torch.device | str = "cpu") -> LanguageModel:
    """Load ``ioi-mini`` (shipped), ``gpt2`` (local cache or Hub) or a Hugging Face directory of GPT-2's architecture.

    Raises:
        UnknownNameError: neither a model's name nor a directory.
        InputError: a directory that holds no such model, damaged weights, or another architecture.
        ModelUnavailableError: ``gpt2`` is not on this machine and the Hub cannot be reached.
    """
    name, directory = locate(str(name_or_path))
    config = read_config(directory)
    with quiet():
        hf_model, tokenizer = load_weights(directory), load_tokenizer(directory)
        sha256 = _sha256(hf_model, config, tokenizer)
        try:
            weights = _process(directory, hf_model, tokenizer, config)
        except Exception as error:  # what TransformerLens makes of a config that transformers has taken
            raise InputError(f"the model in {directory} cannot be brought into our form: {str(error)[:500]}") from error
    return LanguageModel(name, sha256, weights, tokenizer, torch.device("cpu"), directory).to(device)


def _sha256(hf_model: Any, config: Mapping[str, Any], tokenizer: Any) -> str:
    """Over the raw weights: processing sums floats, whose last bits differ from one processor to another."""
    shape = {key: config.get(key) for key in ("n_layer", "n_head", "activation_function", "layer_norm_epsilon")}
    digest = hashlib.sha256(json.dumps([_PROCESSING, shape], sort_keys=True).encode())
    for name, value in sorted(hf_model.state_dict().items()):
        digest.update(f"{name}{tuple(value.shape)}".encode())
        digest.update(value.contiguous().numpy())
    digest.update(json.dumps(sorted(tokenizer.get_vocab().items())).encode())
    return digest.hexdigest()


@torch.no_grad()
def _process(directory: Path, hf_model: Any, tokenizer: Any, config: Mapping[str, Any]) -> GPT2Weights:
    """TransformerLens's processed weights, in the layout of our forward pass."""
    from transformer_lens.model_bridge import TransformerBridge

    bridge = TransformerBridge.boot_transformers(
        str(directory), hf_model=hf_model, tokenizer=copy.deepcopy(tokenizer), device="cpu"
    )
    bridge.enable_compatibility_mode(disable_warnings=True)

    def joined(weight: Tensor) -> Tensor:  # [layer, head, d_model, d_head] → [layer, d_model, head * d_head]
        return weight.detach().transpose(1, 2).flatten(2)

    names = ("W_O", "b_O", "W_in", "b_in", "W_out", "b_out")
    w_o, b_o, w_in, b_in, w_out, b_out = (getattr(bridge, name).detach() for name in names)
    w_q, w_k, w_v = (joined(getattr(bridge, name)) for name in ("W_Q", "W_K", "W_V"))
    b_q, b_k, b_v = (getattr(bridge, name).detach().flatten(1) for name in ("b_Q", "b_K", "b_V"))
    w_kv, b_kv = torch.cat([w_k, w_v], dim=-1), torch.cat([b_k, b_v], dim=-1)
    stacks = (w_q, b_q, w_kv, b_kv, w_o.flatten(1, 2), b_o, w_in, b_in, w_out, b_out)
    return GPT2Weights(
        embed=bridge.W_E.detach(),
        pos=bridge.state_dict()["pos_embed.weight"].detach(),
        layers=tuple(LayerWeights(*(stack[layer].contiguous() for stack in stacks)) for layer in range(len(w_q))),
        unembed=bridge.W_U.detach(),
        b_unembed=bridge.b_U.detach(),
        n_heads=bridge.cfg.n_heads,
        eps=bridge.cfg.eps,
        activation=str(config["activation_function"]),
    )
