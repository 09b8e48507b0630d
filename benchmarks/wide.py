"""A dictionary of 131,072 features at a stream of width 768, from the preflight to the card, within 6 GB.

The model is a randomly initialised GPT-2 of the true width and vocabulary with four layers (its other eight would add
0.2 GB and much time), the dictionary a top-k SAE whose decoder rows are directions near train activations of its hook,
so that features compete as trained ones do: some fire on many prompts, most on none. Nulls are run at END. The run is a
process of its own, whose peak resident memory counts the model and the dictionary too; the ratio is 6 GB over it.

``python -m benchmarks.wide [PROMPTS TRAIN_PROMPTS]`` prints one measurement as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks._memory import peak_bytes
from benchmarks._offline_gpt2 import gpt2_tokenizer, save_random_gpt2

GIB = 2**30
LIMIT = 6 * GIB
D_SAE, LAYER, LAYERS, K = 131_072, 3, 4, 32
PROMPTS, TRAIN_PROMPTS = 256, 500


def dictionary(seen: torch.Tensor) -> Any:
    """Decoder rows are activations less their mean, each with noise of its own; the encoder is its transpose."""
    from ioi_bench.dictionaries.architectures import TopK

    generator = torch.Generator().manual_seed(0)
    mean = seen.mean(0)
    rows = (seen - mean)[torch.arange(D_SAE) % len(seen)]
    rows += rows.norm(dim=1, keepdim=True) / rows.shape[1] ** 0.5 * torch.randn(rows.shape, generator=generator)
    rows /= rows.norm(dim=1, keepdim=True)
    encoder = 0.1 * rows.T.contiguous()
    return TopK(W_enc=encoder, b_enc=torch.zeros(D_SAE), W_dec=rows, b_dec=mean, k=K)


def measure(prompts: int, train_prompts: int) -> dict[str, Any]:
    """One evaluation in this process."""
    from ioi_bench import evaluate
    from ioi_bench.dictionaries.suite import Suite
    from ioi_bench.lm import load_model
    from ioi_bench.lm.circuit import RankedCell, hook_circuit
    from ioi_bench.sites import HookPoint, Role
    from ioi_bench.task import IOI_V1, tokenize

    with tempfile.TemporaryDirectory() as directory:
        model = load_model(save_random_gpt2(Path(directory), gpt2_tokenizer(), scale=2.0, n_layer=LAYERS))
    hook = HookPoint("resid_pre", LAYER)
    batch = tokenize(IOI_V1, IOI_V1.split("train").prompts[:200], model.tokenizer)
    seen = torch.cat(list(model.capture(batch, [hook.at(role) for role in Role]).values()))
    suite = Suite.at_hook("wide", "gpt2", hook, dictionary(seen))
    started = time.perf_counter()
    ranking = {cell: RankedCell(cell.cross_section == "end") for cell in hook_circuit("gpt2", hook, "ioi-v1").headline}
    card = evaluate(
        suite,
        model=model,
        circuit=hook,
        ranking=ranking,
        prompts=prompts,
        train_prompts=train_prompts,
        budgets=(1, 2, 4),
        methods=("exchange", "universal"),
    )
    peak = peak_bytes()
    return {
        "seconds": time.perf_counter() - started,
        "peak_bytes": peak,
        "dead_share": card.cells[0].faithfulness.dead_share.value,
        "l0": card.cells[0].faithfulness.l0.value,
        "ranked": sum(cell.ranked for cell in card.cells),
        "cells": len(card.cells),
        "timing": card.made.timing,
    }


def run() -> list[dict[str, Any]]:
    """One record: 6 GB over the peak resident memory."""
    command = [sys.executable, "-m", "benchmarks.wide", str(PROMPTS), str(TRAIN_PROMPTS)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
    found = json.loads(done.stdout.splitlines()[-1])
    return [
        {
            "name": f"card of d_sae {D_SAE:,} at d_in 768, {PROMPTS} prompts, {TRAIN_PROMPTS} train: 6 GB over peak",
            "ratio": LIMIT / found["peak_bytes"],
            "goal": 1.0,
            "peak_gib": found["peak_bytes"] / GIB,
            "seconds": found["seconds"],
            "ranked_cells": found["ranked"],
        }
    ]


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    sizes = [int(word) for word in sys.argv[1:]] or [PROMPTS, TRAIN_PROMPTS]
    print(json.dumps(measure(*sizes)))
