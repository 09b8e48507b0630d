"""ioi-mini as it is shipped: a Hugging Face GPT-2 directory with its tokenizer and model card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save

from ioi_bench.atomic import write_file
from ioi_bench.lm.circuit import Circuit, Part
from ioi_bench.lm.mini.network import MiniNetwork
from ioi_bench.lm.mini.objective import STAGES
from ioi_bench.sites import Cell, Role
from ioi_bench.task import IOI_V1_MINI

__all__ = ["mini_circuit", "write_model"]


def write_model(network: MiniNetwork, tokenizer: Any, folder: Path) -> None:
    """Write ``config.json``, ``model.safetensors`` and the tokenizer.

    Raises:
        StorageError: the folder cannot be written.
    """
    from transformers import GPT2Config

    config = network.config
    published = GPT2Config(
        vocab_size=config.d_vocab,
        n_positions=config.n_ctx,
        n_embd=config.d_model,
        n_layer=config.n_layers,
        n_head=config.n_heads,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        architectures=["GPT2LMHeadModel"],
    )
    write_file(folder / "model.safetensors", save(network.hf_state(), metadata={"format": "pt"}))
    write_file(folder / "config.json", published.to_json_string(use_diff=True).encode())
    write_file(folder / "tokenizer.json", tokenizer.backend_tokenizer.to_str(pretty=False).encode())
    about = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": tokenizer.bos_token,
        "eos_token": tokenizer.eos_token,
        "unk_token": tokenizer.unk_token,
        "model_max_length": config.n_ctx,
    }
    write_file(folder / "tokenizer_config.json", (json.dumps(about, indent=2) + "\n").encode())


def mini_circuit(effects: dict[str, dict[str, float]] | None = None) -> Circuit:
    """The circuit that ioi-mini has by construction: METHOD §2's cross-sections over the stages' heads."""
    heads = {stage.group: tuple(f"{stage.layer}.{head}" for head in stage.heads) for stage in STAGES}
    movers, inhibitors, duplicates = ("name-mover",), ("s-inhibition",), ("duplicate-token",)
    parts = {
        "nm-out": (Part("z", Role.END, movers),),
        "nm-q": (Part("q", Role.END, movers),),
        "nm-qk": (Part("q", Role.END, movers), Part("k", Role.IO, movers), Part("k", Role.S1, movers)),
        "si-out": (Part("z", Role.END, inhibitors),),
        "si-v": (Part("v", Role.S2, inhibitors),),
        "ind-dt-out": (Part("z", Role.S2, duplicates),),
    }
    headline = ("io@nm-out", "pos@nm-qk", "pos@nm-q", "pos@si-out", "pos@si-v", "pos@ind-dt-out")
    further = (
        *("io@nm-qk", "io@nm-q"),
        *("s@nm-qk", "s@nm-q", "s@si-v", "s@si-out", "s@ind-dt-out"),
        *("pos+s@nm-qk", "pos+s@si-out", "pos+s@si-v", "pos+s@ind-dt-out"),
    )
    return Circuit(
        track="ioi-mini",
        task=IOI_V1_MINI.name,
        heads=heads,
        parts=parts,
        headline=tuple(Cell.parse(cell) for cell in headline),
        further=tuple(Cell.parse(cell) for cell in further),
        effects=effects or {},
    )
