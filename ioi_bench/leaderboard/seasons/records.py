"""What a season publishes, as frozen records.

A season is a folder of its own on the leaderboard, and nothing in it is ever changed::

    seasons/<name>/
        commitment.json     `Commitment`: the terms, and the hash that binds them to a secret seed
        draw.json           `Draw`: that prompts were drawn, with which beacon; before anything is evaluated
        log.jsonl           `LogLine`, one a suite: a chain of hashes
        entries/<track>/<org>__<name>/<suite hash>/
            card.json       at once
            prompts.parquet at the reveal: its rows would show the prompts; its hash is in the log at once
        reveal.json         `Reveal`: the seed
"""

from __future__ import annotations

import re
from datetime import date
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ioi_bench.leaderboard.records import Said
from ioi_bench.task.season import MAX_PROMPTS

__all__ = ["SEASON_NAME", "Beacon", "Commitment", "Draw", "LogLine", "Reveal", "SeedFile", "Terms", "is_season_name"]

SEASON_NAME = r"^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$"
"""One spelling: small letters, digits and hyphens."""

Name = Annotated[str, Field(pattern=SEASON_NAME)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Beacon = Annotated[str, Field(pattern=r"^[0-9a-f]{32,512}$")]
"""Small hexadecimal digits alone: a text could be written in many ways, and one of them be chosen."""


def _day(text: str) -> str:
    date.fromisoformat(text)  # a ValueError where the calendar has no such day
    return text


Date = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$"), AfterValidator(_day)]


def is_season_name(text: str) -> bool:
    """Whether a season may be called so.

    >>> is_season_name("2027-spring"), is_season_name("../2027")
    (True, False)
    """
    return re.fullmatch(SEASON_NAME.strip("^$"), text) is not None


def _inside(text: str) -> str:
    path = PurePosixPath(text)
    if path.is_absolute() or ".." in path.parts or len(path.parts) < 3 or path.as_posix() != text or "\\" in text:
        raise ValueError(f"{text!r} is not <track>/<org>__<name>/<suite hash>")
    return text


Entry = Annotated[Said, Field(max_length=500), AfterValidator(_inside)]
"""``<track>/<org>__<name>/<suite hash>``: a folder below ``results`` and ``entries``, and never outside."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Terms(_Record):
    """What a season commits to, beside its seed: all of it goes into the hash.

    Attributes:
        season: its name.
        track, spec, model: where it is held, with the hashes of spec, model and circuit.
        prompts: how many are drawn.
        train_prompts: how many F1 rankings, means and the skyline come from; None for all.
        methods, budgets: of the edits.
        scoring: the version of the method by which scores are made.
        generator: the version of how prompts are drawn (`ioi_bench.task.season`).
        prompts_sha256: of the prompts that this version draws from the seed without a beacon.
        beacon_rule: where the beacon will be found that is mixed into the draw, in words; None where there is none.
        known: ``<track>/<org>__<name>/<hash>`` of what was on the leaderboard's track; each must be judged.
        ioi_bench: the version that judges.
        date: of the commitment.
        reveal_by: when the seed will be published at the latest.
    """

    season: Name
    track: str
    spec: str
    spec_sha256: Sha256
    model: str
    model_sha256: Sha256
    circuit_sha256: Sha256
    prompts: int = Field(ge=1, le=MAX_PROMPTS)
    train_prompts: int | None = Field(ge=1)
    methods: tuple[str, ...] = Field(min_length=1)
    budgets: tuple[int, ...] = Field(min_length=1)
    scoring: str
    generator: str
    prompts_sha256: Sha256
    beacon_rule: Said | None
    known: tuple[Entry, ...]
    ioi_bench: str
    date: Date
    reveal_by: Date | None


class Commitment(_Record):
    """``commitment.json``.

    Attributes:
        commitment: the hash over terms and seed (`ioi_bench.leaderboard.seasons.opening.commitment_of`).
    """

    schema_version: Literal[1] = 1
    terms: Terms
    commitment: Sha256


class Draw(_Record):
    """``draw.json``: written before the first suite is judged.

    Attributes:
        commitment_file: hash of ``commitment.json`` as it was.
        beacon: what the rule of the commitment has led to.
        prompts_sha256: of the prompts that are judged.
    """

    schema_version: Literal[1] = 1
    season: Name
    commitment_file: Sha256
    beacon: Beacon | None
    prompts_sha256: Sha256
    date: Date


class LogLine(_Record):
    """A line of ``log.jsonl``: a suite was judged, or could not be.

    Attributes:
        number: from 1.
        previous: hash of the line before, without its line break; of ``draw.json`` for the first.
        entry: of which submission.
        submission_sha256: of the ``submission.toml`` that it is of.
        suite: where the weights were read, with the commit.
        suite_sha256_found: the hash that the weights had, also where it is of behaviour and need not be the entry's.
        card_sha256, prompts_sha256: of the files; like the hash above None where it could not be judged.
        reason: why it could not.
    """

    number: int = Field(ge=1)
    previous: Sha256
    entry: Entry
    submission_sha256: Sha256
    suite: Said
    suite_sha256_found: Sha256 | None = None
    card_sha256: Sha256 | None = None
    prompts_sha256: Sha256 | None = None
    reason: Said | None = None
    date: Date

    @property
    def judged(self) -> bool:
        """Whether there is a result."""
        return self.card_sha256 is not None


class Reveal(_Record):
    """``reveal.json``.

    Attributes:
        seed: 32 bytes, in hexadecimal digits.
        lines: how many the log has, for ever.
        head: hash of its last one; of ``draw.json`` where it has none.
        unjudged: suites that the commitment names and the log does not: left out, and told for ever.
    """

    schema_version: Literal[1] = 1
    season: Name
    seed: Sha256
    lines: int = Field(ge=0)
    head: Sha256
    unjudged: tuple[Entry, ...] = ()
    date: Date


class SeedFile(_Record):
    """What the maintainer keeps to themselves until the reveal."""

    schema_version: Literal[1] = 1
    season: Name
    seed: Sha256
    commitment: Sha256
