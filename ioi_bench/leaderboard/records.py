"""What is handed in beside a card, and what became of it, as frozen records.

A submission is three files in a folder of its own, and is never changed; a verdict is added by whoever verified it::

    results/<track>/<org>__<name>/<suite hash>/
        card.json, prompts.parquet     as `ioi-bench evaluate` wrote them
        submission.toml                `Submission`
        verdict.json                   `Verdict`, once it was verified
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

__all__ = ["BADGES", "Badge", "Check", "Submission", "Verdict"]

Badge = Literal["self-reported", "reproduced", "private-season", "refuted"]
BADGES: tuple[Badge, ...] = ("private-season", "reproduced", "self-reported", "refuted")
"""From most to least trusted: reproduced and scored on secret prompts (docs/seasons.md), evaluated again with the same
result, only claimed, and evaluated again with another result (never ranked)."""

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
_SHA256 = r"^[0-9a-f]{64}$"


def _named(text: str) -> str:
    parts = text.split("/")
    if len(parts) != 2 or not all(_NAME.fullmatch(part) and "__" not in part for part in parts):
        raise ValueError(
            f"{text!r} is not ORG/NAME: two words of letters, digits, '.', '_' and '-', such as my-lab/topk-16k"
        )
    return text


def _said(text: str) -> str:
    if not text.strip() or not text.replace("\n", " ").isprintable():
        raise ValueError("it is empty, or holds characters that cannot be printed")
    return text


Said = Annotated[str, Field(max_length=2000), AfterValidator(_said)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Submission(_Record):
    """``submission.toml``: whose the suite is, where it lies, and what its authors declare.

    Attributes:
        name: ``ORG/NAME``, under which it stands on the leaderboard.
        authors: people, or a group.
        training_data: what the dictionaries were trained on, in words; of the benchmark's prompts, say so.
        licence: of the weights, an SPDX identifier such as ``Apache-2.0``.
        suite: where the weights lie: ``hf://org/repo@<commit>/folder``, or a path for a leaderboard on one's own disk.
        suite_sha256: the suite's hash, as on the card.
        url: a paper or a page.
    """

    schema_version: Literal[1] = 1
    name: Annotated[str, AfterValidator(_named)]
    authors: tuple[Said, ...] = Field(min_length=1, max_length=100)
    training_data: Said
    licence: Annotated[str, Field(pattern=r"^[A-Za-z0-9.+-]{2,64}$")]
    suite: Said
    suite_sha256: Annotated[str, Field(pattern=_SHA256)]
    url: Annotated[str, Field(pattern=r"^https?://[^\s\"'<>]{3,500}$")] | None = None

    @property
    def folder(self) -> str:
        """Its folder below ``results/<track>``."""
        org, name = self.name.split("/")
        return f"{org}__{name}/{self.suite_sha256}"


class Check(_Record):
    """One thing that verification looked at.

    Attributes:
        name: such as ``per-prompt results``.
        passed: whether it held.
        detail: what was found, for people.
        worst: the largest difference, where something was compared.
        tolerance: the largest difference that passes.
    """

    name: str
    passed: bool
    detail: str
    worst: float | None = None
    tolerance: float | None = None


class Verdict(_Record):
    """``verdict.json``: what evaluating the submitted weights again has shown.

    Attributes:
        badge: ``reproduced`` where every check passed, else ``refuted``.
        suite: where the weights were read, with the commit.
        suite_sha256_found: the hash that they had here, also where it is of behaviour and need not be the card's; None
            where nothing was evaluated. One suite under two hashes is known by it.
        checks: all that was looked at, in order; after the first that makes the rest meaningless there are no more.
        date: of verification, ``YYYY-MM-DD``.
        versions: of ioi-bench and of what it ran on.
        card_sha256, prompts_sha256, submission_sha256: of the files that were verified: another file is not covered,
            and what the authors declare cannot change behind a badge.
    """

    schema_version: Literal[1] = 1
    badge: Literal["reproduced", "refuted"]
    suite: str
    suite_sha256_found: Annotated[str, Field(pattern=_SHA256)] | None = None
    checks: tuple[Check, ...] = Field(min_length=1)
    date: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    versions: dict[str, str]
    card_sha256: Annotated[str, Field(pattern=_SHA256)]
    prompts_sha256: Annotated[str, Field(pattern=_SHA256)]
    submission_sha256: Annotated[str, Field(pattern=_SHA256)]
