"""From prompts to tokens, and from roles to token positions, by the tokenizer's own character offsets (METHOD §1)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from ioi_bench.errors import TaskError
from ioi_bench.sites import Role
from ioi_bench.task.prompts import Prompt
from ioi_bench.task.spec import TaskSpec

__all__ = ["TokenBatch", "check_single_tokens", "name_tokens", "tokenize"]


@dataclass(frozen=True)
class TokenBatch:
    """Tokens, right-padded, BOS first, with the position of every role in every prompt."""

    tokens: Int[Tensor, "prompt pos"]
    lengths: Int[Tensor, " prompt"]
    positions: Mapping[Role, Int[Tensor, " prompt"]]

    def __len__(self) -> int:
        return len(self.tokens)

    def slice(self, start: int, stop: int) -> TokenBatch:
        """Prompts ``start`` to ``stop``."""
        rows = slice(start, stop)
        positions = {role: at[rows] for role, at in self.positions.items()}
        return TokenBatch(self.tokens[rows], self.lengths[rows], positions)

    def take(self, rows: Int[Tensor, " chosen"]) -> TokenBatch:
        """Prompts by their index."""
        positions = {role: at[rows] for role, at in self.positions.items()}
        return TokenBatch(self.tokens[rows], self.lengths[rows], positions)

    def to(self, device: torch.device | str) -> TokenBatch:
        """The same batch on another device."""
        positions = {role: at.to(device) for role, at in self.positions.items()}
        return TokenBatch(self.tokens.to(device), self.lengths.to(device), positions)


def tokenize(spec: TaskSpec, prompts: Sequence[Prompt], tokenizer: Any) -> TokenBatch:
    """Tokenize prompts with a *fast* Hugging Face tokenizer and locate the roles.

    A role is the last token that covers a character of its span; for single-token names it is the only one.

    Raises:
        TaskError: the tokenizer gives no offsets, has no BOS, or loses a role.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise TaskError(
            "roles are found from character offsets: a fast tokenizer is needed (tokenizer.json), got a slow one"
        )
    if tokenizer.bos_token_id is None:
        raise TaskError("the tokenizer has no BOS token, and METHOD §2 prepends one: set bos_token")
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()  # what tokenizer.json may have switched on
    backend.no_padding()
    coded = backend.encode_batch([spec.text(prompt) for prompt in prompts], add_special_tokens=False)
    positions: dict[Role, list[int]] = {role: [] for role in Role}
    for found, prompt in zip(coded, prompts, strict=True):
        starts = [left for left, _ in found.offsets]
        for role, (start, stop) in spec.spans(prompt).items():
            last = bisect_left(starts, stop) - 1  # the last token that begins before the span's end
            if last < 0 or found.offsets[last][1] <= start:
                raise TaskError(f"no token covers the role {role} of {spec.text(prompt)!r}")
            positions[role].append(last + 1)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.bos_token_id
    longest = max((len(found) for found in coded), default=0)
    rows = [[tokenizer.bos_token_id, *found.ids, *[pad] * (longest - len(found))] for found in coded]
    return TokenBatch(
        torch.tensor(rows).view(len(coded), longest + 1),
        torch.tensor([len(found) + 1 for found in coded]),
        {role: torch.tensor(at) for role, at in positions.items()},
    )


def name_tokens(names: Sequence[str], tokenizer: Any) -> Int[Tensor, " name"]:
    """The token of each name, as it follows a space.

    Raises:
        TaskError: a name that is not one known token.
    """
    return torch.tensor([_single(name, tokenizer) for name in names])


def check_single_tokens(spec: TaskSpec, tokenizer: Any) -> None:
    """Every name, object and place must be one token with a leading space.

    Raises:
        TaskError: names the words that are not.
    """
    bad = []
    for word in spec.names + spec.objects + spec.places:
        try:
            _single(word, tokenizer)
        except TaskError:
            bad.append(word)
    if bad:
        raise TaskError(
            f"not one token with a leading space: {', '.join(bad)}: this tokenizer cannot carry {spec.name}"
        )


def _single(word: str, tokenizer: Any) -> int:
    ids = tokenizer(" " + word, add_special_tokens=False)["input_ids"]
    if len(ids) != 1 or ids[0] == tokenizer.unk_token_id != tokenizer.bos_token_id:
        raise TaskError(f"{word!r} is not one token with a leading space (got {len(ids)})")
    return int(ids[0])
