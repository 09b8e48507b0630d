"""Fresh training prompts as tensors: word slots are filled into the tokenized templates, nothing is re-tokenized."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from ioi_bench.sites import Role
from ioi_bench.task import Prompt, TaskSpec, name_tokens, tokenize

__all__ = ["ROLES", "MiniBatch", "PromptSampler"]

ROLES = tuple(Role)


@dataclass(frozen=True)
class MiniBatch:
    """Prompts as tensors. ``positions`` follows `ROLES`; ``io`` and ``s`` are tokens; ``abb`` says IO comes first."""

    tokens: Int[Tensor, "prompt pos"]
    positions: Int[Tensor, "prompt role"]
    io: Int[Tensor, " prompt"]
    s: Int[Tensor, " prompt"]
    abb: Bool[Tensor, " prompt"]
    template: Int[Tensor, " prompt"]

    def at(self, role: Role) -> Int[Tensor, " prompt"]:
        """Positions of a role."""
        return self.positions[:, ROLES.index(role)]


class PromptSampler:
    """Draws prompts over the first ``n_names`` names and ``n_prefixes`` prefixes of a spec."""

    def __init__(self, spec: TaskSpec, tokenizer: Any) -> None:
        self.spec = spec
        self.names = name_tokens(spec.shuffled_names, tokenizer)
        self.places = name_tokens(spec.places, tokenizer)
        self.objects = name_tokens(spec.objects, tokenizer)
        sample = {"io": spec.names[0], "s": spec.names[1], "place": spec.places[0], "object": spec.objects[0]}
        frames = [
            Prompt(template, prefix, pattern, **sample)
            for prefix in range(len(spec.prefixes))
            for template in range(len(spec.templates))
            for pattern in ("ABB", "BAB")
        ]
        batch = tokenize(spec, frames, tokenizer)
        self.frames = batch.tokens
        self.positions = torch.stack([batch.positions[role] for role in ROLES], dim=1)
        self.slots = {
            slot: self.frames == name_tokens([word], tokenizer)[0] for slot, word in sample.items()
        }  # where each word stands in each frame

    def draw(self, n: int, n_names: int, n_prefixes: int, generator: torch.Generator) -> MiniBatch:
        """``n`` independent prompts."""

        def pick(size: int) -> Tensor:
            return torch.randint(size, (n,), generator=generator)

        n_templates = len(self.spec.templates)
        prefix, template, bab, io = pick(n_prefixes), pick(n_templates), pick(2), pick(n_names)
        s = (io + 1 + pick(n_names - 1)) % n_names
        words = {
            "io": self.names[io],
            "s": self.names[s],
            "place": self.places[pick(len(self.places))],
            "object": self.objects[pick(len(self.objects))],
        }
        return self.fill((prefix * n_templates + template) * 2 + bab, words)

    def fill(self, frame: Int[Tensor, " prompt"], words: dict[str, Int[Tensor, " prompt"]]) -> MiniBatch:
        """Put words into frames."""
        tokens = self.frames[frame].clone()
        for slot, word in words.items():
            tokens = torch.where(self.slots[slot][frame], word[:, None], tokens)
        template = frame // 2 % len(self.spec.templates)
        return MiniBatch(tokens, self.positions[frame], words["io"], words["s"], frame % 2 == 0, template)
