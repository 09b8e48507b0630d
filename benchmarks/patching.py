"""Patched runs against TransformerLens's ``run_with_hooks``, on a GPT-2 of the true size with random weights.

The cross-section is z of heads 9.9 and 9.6 at END, as in ``nm-out``. Both ways run in this process, interleaved, on one
thread. A hooked run has no clean part to share; ours has one for a batch of prompts, so there are three figures: where
it was made before (an evaluation asks tens of edits of the same prompts), and where four edits, or one, pay for it. One
edit that pays for its clean run has no goal, but a bound: the multiplications that it saves are the unembedding of all
positions but END, the prefix that prompts share, and END's patched layers.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks._offline_gpt2 import gpt2_tokenizer, save_random_gpt2
from ioi_bench.lm import LanguageModel, clean_run, load_model, patched_logits
from ioi_bench.lm.source import quiet
from ioi_bench.sites import Role, Site
from ioi_bench.task import IOI_V1, TokenBatch, tokenize

SITES = (Site.parse("z.9.9@end"), Site.parse("z.9.6@end"))
PROMPTS, EDITS, ROUNDS = 16, 4, 3


def hooked_logits(bridge: Any, batch: TokenBatch, edits: Sequence[dict[Site, Tensor]]) -> Tensor:
    """The direct formulation: a hooked run of the whole model for each edit."""
    rows, end = torch.arange(len(batch)), batch.positions[Role.END]

    def write(site: Site, value: Tensor, z: Tensor, hook: Any) -> Tensor:  # noqa: ARG001 (the bridge names it)
        z = z.clone()
        z[rows, batch.positions[site.role], site.head] = value
        return z

    logits = []
    for edit in edits:
        hooks = [(site.hook, partial(write, site, value)) for site, value in edit.items()]
        logits.append(bridge.run_with_hooks(batch.tokens, prepend_bos=False, fwd_hooks=hooks)[rows, end])
    return torch.stack(logits)


def load_both(directory: Path) -> tuple[Any, LanguageModel]:
    from transformer_lens.model_bridge import TransformerBridge

    save_random_gpt2(directory, gpt2_tokenizer(), scale=2.0)
    with quiet():
        bridge = TransformerBridge.boot_transformers(str(directory), device="cpu")
    bridge.enable_compatibility_mode(disable_warnings=True)
    return bridge, load_model(directory)


def seconds(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


@torch.no_grad()
def run() -> list[dict[str, Any]]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as directory:
            bridge, model = load_both(Path(directory))
        batch = tokenize(IOI_V1, IOI_V1.split("test").prompts[:PROMPTS], model.tokenizer)
        edits = [{site: torch.randn(PROMPTS, 64) for site in SITES} for _ in range(EDITS)]
        clean = clean_run(model, batch, first_layer=9)
        ways: dict[str, Callable[[], Tensor]] = {
            "hooks": lambda: hooked_logits(bridge, batch, edits),
            "cold": lambda: patched_logits(model, batch, edits),
            "warm": lambda: patched_logits(model, clean, edits),
            "cold, one edit": lambda: patched_logits(model, batch, edits[:1]),
        }
        torch.testing.assert_close(ways["warm"](), ways["hooks"](), atol=1e-4, rtol=0)
        rounds = [{name: seconds(way) for name, way in ways.items()} for _ in range(ROUNDS)]
    finally:
        torch.set_num_threads(threads)
    took = {name: statistics.median(times[name] for times in rounds) for name in ways}
    one, bound = took["hooks"] / EDITS, arithmetic_bound(model, batch)
    compared = (
        ("patched run, layer 9, clean run shared", took["hooks"], took["warm"], {"goal": 3.0}),
        ("patched run, layer 9, 4 edits and their clean run", took["hooks"], took["cold"], {"goal": 3.0}),
        ("patched run, layer 9, 1 edit and its clean run", one, took["cold, one edit"], {"goal": None, "bound": bound}),
    )
    return [
        {"name": name, "ratio": direct / ours, **goal, "unit": "×", "seconds": ours, "direct_seconds": direct}
        for name, direct, ours, goal in compared
    ]


def arithmetic_bound(model: LanguageModel, batch: TokenBatch) -> float:
    """Multiplications of a hooked run over those of one edit with its clean run, attention's scores left out."""
    layer, unembed, n = 12 * model.d_model**2, model.d_model * model.d_vocab, batch.tokens.shape[1]
    later = n - min(int(at.min()) for at in batch.positions.values())  # positions after the shared prefix
    clean = (
        model.n_layers - 1
    ) * layer * later + 2 * model.d_model**2 * later  # in the last layer keys and values alone
    patched = (model.n_layers - 9) * layer + unembed
    return n * (model.n_layers * layer + unembed) / (clean + patched)


if __name__ == "__main__":
    for found in run():
        print(f"{found['name']}: {found['ratio']:.2f}{found['unit']}")
