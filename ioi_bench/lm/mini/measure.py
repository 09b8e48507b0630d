"""What ioi-mini reached, measured on the shipped weights through the benchmark's own patched runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ioi_bench.lm.mini.network import MiniConfig
from ioi_bench.lm.mini.objective import STAGES, other_sites
from ioi_bench.lm.patching import clean_run, patched_logits
from ioi_bench.sites import Site
from ioi_bench.task import IOI_V1_MINI, Prompt, name_tokens, tokenize

if TYPE_CHECKING:
    from ioi_bench.lm.model import LanguageModel

__all__ = ["measure_interchange", "measure_task"]


def measure_task(model: LanguageModel, batch_size: int = 500) -> dict[str, float]:
    """Accuracy on the test split, and the least accuracy of any template × prefix × pattern."""
    spec = IOI_V1_MINI
    prompts = spec.split("test").prompts
    right = torch.cat(
        [
            model.logits(tokenize(spec, chunk, model.tokenizer)).argmax(-1).cpu()
            == name_tokens([prompt.io for prompt in chunk], model.tokenizer)
            for chunk in (prompts[i : i + batch_size] for i in range(0, len(prompts), batch_size))
        ]
    ).float()
    groups: dict[tuple[int, int, str], list[int]] = {}
    for index, prompt in enumerate(prompts):
        groups.setdefault((prompt.template, prompt.prefix, prompt.pattern), []).append(index)
    return {
        "accuracy": float(right.mean()),
        "least_accuracy": min(float(right[rows].mean()) for rows in groups.values()),
    }


def measure_interchange(
    model: LanguageModel, n_prompts: int = 1_000, progress: Callable[[int, int], None] | None = None
) -> dict[str, dict[str, float]]:
    """Share of base–source pairs that answer as the causal model says, at each stage and at all other sites.

    ``interchange`` swaps all heads of a stage together; ``one_head`` holds one head of a stage at its mean, which
    should change nothing, and is that of the head which changes most. Bases are the first test prompts, sources the
    first validation prompts: drawn apart, so all attributes differ.
    """
    spec = IOI_V1_MINI
    base, source = (spec.split(name).head(n_prompts).prompts for name in ("test", "validation"))
    own, taken = (tokenize(spec, prompts, model.tokenizer) for prompts in (base, source))
    clean = clean_run(model, own)
    config = MiniConfig(model.d_vocab, model.n_layers, model.n_heads, model.d_model)
    others = [Site(part, layer, None if head < 0 else head, role) for part, layer, head, role in other_sites(config)]
    unchanged = name_tokens([prompt.io for prompt in base], model.tokenizer)
    results: dict[str, dict[str, float]] = {}
    total, done = sum(1 + len(stage.heads) for stage in STAGES) + len(others), 0

    def agreed(edit: Mapping[Site, Tensor], expected: Tensor) -> float:
        nonlocal done
        logits = patched_logits(model, clean, [edit])[0]
        done += 1
        if progress is not None:
            progress(done, total)
        return float((logits.argmax(-1).cpu() == expected).float().mean())

    for stage in STAGES:
        answers = [_answer(b, s, stage.group) for b, s in zip(base, source, strict=True)]
        moved = agreed(model.capture(taken, stage.sites), name_tokens(answers, model.tokenizer))
        means = {site: value.mean(0).expand_as(value) for site, value in model.capture(own, stage.sites).items()}
        held = [agreed({site: mean}, unchanged) for site, mean in means.items()]
        results[stage.group] = {"interchange": moved, "one_head": min(held)}
    shares = [agreed(model.capture(taken, [site]), unchanged) for site in others]
    results["other-sites"] = {"interchange": sum(shares) / len(shares), "least": min(shares)}
    return results


def _answer(base: Prompt, source: Prompt, group: str) -> str:
    """The causal model: a moved position signal selects the base's other name; name movers carry the source's IO."""
    if group == "name-mover":
        return source.io
    return base.io if base.pattern == source.pattern else base.s
