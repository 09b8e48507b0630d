"""A folder of submissions, read."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ioi_bench.bounded import require_small
from ioi_bench.errors import InputError
from ioi_bench.evaluation.card import Card
from ioi_bench.leaderboard.reading import read_bounded, read_record, require_inside
from ioi_bench.leaderboard.records import Badge, Submission, Verdict
from ioi_bench.leaderboard.seasons.standing import SeasonResult, season_results

__all__ = [
    "CARD",
    "PROMPTS",
    "SUBMISSION",
    "VERDICT",
    "Entry",
    "entry_folder",
    "entry_key",
    "find_entries",
    "leaderboard_of",
    "read_entry",
]

CARD, PROMPTS, SUBMISSION, VERDICT = "card.json", "prompts.parquet", "submission.toml", "verdict.json"

_LARGEST = 1e12  # means and sums of thousands of cards stay finite
_LONG_NUMBER = re.compile(rb"[:,\[\s-]\d{12}|\d[eE]\+?\d")  # how JSON writes what may be larger; rarely there
_MAX_PROMPTS_BYTES = 1 << 30  # of all cells, methods and prompts of the largest track: under a tenth of it


@dataclass(frozen=True)
class Entry:
    """One submission.

    Attributes:
        folder: where its files lie.
        verdict: None until it was verified, and where its files are no longer those that were.
        seasons: what it reached on secret prompts.
    """

    folder: Path
    card: Card
    submission: Submission
    verdict: Verdict | None
    seasons: tuple[SeasonResult, ...] = ()

    @property
    def badge(self) -> Badge:
        """How far it can be trusted: a season counts where the card that is ranked was reproduced, too."""
        if self.verdict is None:
            return "self-reported"
        return "private-season" if self.seasons and self.verdict.badge == "reproduced" else self.verdict.badge

    @property
    def key(self) -> str:
        """``track/org__name/hash``: unique on a leaderboard, and its folder below ``results``."""
        return f"{self.card.track}/{self.submission.folder}"


def entry_folder(results: Path, track: str, submission: Submission) -> Path:
    """Where a submission's files belong."""
    return results / track / submission.folder


def leaderboard_of(folder: Path) -> Path:
    """The leaderboard that a folder of ``results`` is in; the folder itself where it is in none.

    >>> leaderboard_of(Path("/data/board/results/gpt2")).as_posix()
    '/data/board'
    """
    whole = folder.absolute()
    return next((path.parent for path in (whole, *whole.parents) if path.name == "results"), whole)


def entry_key(folder: Path) -> str:
    """Where a folder lies below ``results``: `Entry.key`, where it is where it belongs.

    >>> entry_key(Path("/data/board/results/gpt2/my-lab__topk/00"))
    'gpt2/my-lab__topk/00'
    """
    return folder.absolute().as_posix().rpartition("/results/")[2]


def find_entries(results: Path) -> Iterator[Path]:
    """Folders of submissions below a folder, such as ``results`` or that of one of them, sorted.

    Raises:
        InputError: no such folder.
    """
    if not results.is_dir():
        raise InputError(f"there is no folder {str(results)!r}: give the one that holds <track>/<org>__<name>/<hash>")
    for path in sorted(results.glob(f"**/{SUBMISSION}")):
        if not any(part.startswith(".") for part in path.relative_to(results).parts):  # of one that was being written
            yield path.parent


def read_entry(folder: Path) -> Entry:
    """The submission in a folder; its prompts stay on the disk.

    Raises:
        InputError: a file is missing, too large or damaged, or the folder is not where its content says.
    """
    submission = read_record(Submission, folder / SUBMISSION)
    said, data = (read_bounded(folder / name) for name in (SUBMISSION, CARD))
    card = Card.read(folder / CARD)
    if _LONG_NUMBER.search(data) and any(abs(number) > _LARGEST for number in _numbers(card.model_dump())):
        raise InputError(f"{str(folder / CARD)!r} holds a figure beyond {_LARGEST:g}, which no evaluation gives")
    require_inside(folder / PROMPTS)
    if not (folder / PROMPTS).is_file():
        raise InputError(f"{str(folder)!r} has no {PROMPTS}")
    expected = f"{card.track}/{submission.folder}"
    if entry_key(folder) != expected:
        raise InputError(f"{str(folder)!r} is not where its content belongs: results/{expected}")
    if card.made.suite_sha256 != submission.suite_sha256:
        raise InputError(f"in {str(folder)!r} the card and {SUBMISSION} name different suites")
    verdict = read_record(Verdict, folder / VERDICT) if (folder / VERDICT).exists() else None
    if verdict is not None and not _covers(verdict, folder):
        verdict = None
    seasons = season_results(leaderboard_of(folder), expected, hashlib.sha256(said).hexdigest())
    return Entry(folder, card, submission, verdict, seasons)


def _numbers(data: Any) -> Iterator[float]:
    """All numbers in what JSON holds."""
    if isinstance(data, (int, float)):
        yield data
    elif isinstance(data, Mapping):
        for value in data.values():
            yield from _numbers(value)
    elif isinstance(data, (list, tuple)):
        for value in data:
            yield from _numbers(value)


def _covers(verdict: Verdict, folder: Path) -> bool:
    require_small(folder / PROMPTS, _MAX_PROMPTS_BYTES)
    hashes = [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in (CARD, PROMPTS, SUBMISSION)]
    return hashes == [verdict.card_sha256, verdict.prompts_sha256, verdict.submission_sha256]
