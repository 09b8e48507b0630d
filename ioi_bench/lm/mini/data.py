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
    """Prompts as tensors. ``positions`` follows `ROLES`; ``io`` and ``s`` are tokens; ``abb`` says IO comes first;
    ``frame`` counts template × prefix.
    """

    tokens: Int[Tensor, "prompt pos"]
    positions: Int[Tensor, "prompt role"]
    io: Int[Tensor, " prompt"]
    s: Int[Tensor, " prompt"]
    abb: Bool[Tensor, " prompt"]
    frame: Int[Tensor, " prompt"]

    def at(self, role: Role) -> Int[Tensor, " prompt"]:
        """Positions of a role."""
        return self.positions[:, ROLES.index(role)]


class PromptSampler:
    """Frames (prefix × template × pattern, in this order) and the words that go into them."""

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

    def fill(self, frame: Int[Tensor, " prompt"], words: dict[str, Int[Tensor, " prompt"]]) -> MiniBatch:
        """Put words into frames."""
        tokens = self.frames[frame].clone()
        for slot, word in words.items():
            tokens = torch.where(self.slots[slot][frame], word[:, None], tokens)
        return MiniBatch(tokens, self.positions[frame], words["io"], words["s"], frame % 2 == 0, frame // 2)
