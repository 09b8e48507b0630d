"""A folder of submissions, read."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ioi_bench.bounded import bounded_bytes, require_small, toml_table
from ioi_bench.errors import InputError, StorageError
from ioi_bench.evaluation.card import Card
from ioi_bench.leaderboard.records import Badge, Submission, Verdict

__all__ = [
    "CARD",
    "PROMPTS",
    "SUBMISSION",
    "VERDICT",
    "Entry",
    "entry_folder",
    "find_entries",
    "leaderboard_of",
    "read_entry",
]

CARD, PROMPTS, SUBMISSION, VERDICT = "card.json", "prompts.parquet", "submission.toml", "verdict.json"

_R = TypeVar("_R", bound=BaseModel)
_LARGEST = 1e12  # means and sums of thousands of cards stay finite
_LONG_NUMBER = re.compile(rb"[:,\[\s-]\d{12}|\d[eE]\+?\d")  # how JSON writes what may be larger; rarely there
_MAX_PROMPTS_BYTES = 1 << 30  # of all cells, methods and prompts of the largest track: under a tenth of it
_MAX_BYTES = 4 << 20  # of one JSON or TOML file; a card of all methods has 0.2 MB


@dataclass(frozen=True)
class Entry:
    """One submission.

    Attributes:
        folder: where its files lie.
        verdict: None until it was verified, and where its files are no longer those that were.
    """

    folder: Path
    card: Card
    submission: Submission
    verdict: Verdict | None

    @property
    def badge(self) -> Badge:
        """How far it can be trusted."""
        return "self-reported" if self.verdict is None else self.verdict.badge

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
    submission = _parsed(Submission, folder / SUBMISSION)
    data = _bounded(folder / CARD)
    card = Card.read(folder / CARD)
    if _LONG_NUMBER.search(data) and any(abs(number) > _LARGEST for number in _numbers(card.model_dump())):
        raise InputError(f"{str(folder / CARD)!r} holds a figure beyond {_LARGEST:g}, which no evaluation gives")
    _require_inside(folder / PROMPTS)
    if not (folder / PROMPTS).is_file():
        raise InputError(f"{str(folder)!r} has no {PROMPTS}")
    expected = f"{card.track}/{submission.folder}"
    if folder.absolute().as_posix().rpartition("/results/")[2] != expected:
        raise InputError(f"{str(folder)!r} is not where its content belongs: results/{expected}")
    if card.made.suite_sha256 != submission.suite_sha256:
        raise InputError(f"in {str(folder)!r} the card and {SUBMISSION} name different suites")
    verdict = _parsed(Verdict, folder / VERDICT) if (folder / VERDICT).exists() else None
    if verdict is not None and not _covers(verdict, folder):
        verdict = None
    return Entry(folder, card, submission, verdict)


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


def _bounded(path: Path) -> bytes:
    try:
        _require_inside(path)
        return bounded_bytes(path, _MAX_BYTES)
    except StorageError as error:
        raise InputError(str(error)) from error


def _require_inside(path: Path) -> None:
    """Submissions come by pull request, in which a file may be a link to anything."""
    if path.is_symlink() or path.resolve() != path.parent.resolve() / path.name:
        raise InputError(f"{str(path)!r} is a link: hand in the file itself")


def _parsed(kind: type[_R], path: Path) -> _R:
    data = _bounded(path)
    try:
        if path.suffix == ".toml":
            return kind.model_validate(toml_table(data))
        return kind.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise InputError(f"{str(path)!r}: {where}: {first['msg']}") from error
    except ValueError as error:  # not TOML, not UTF-8
        raise InputError(f"{str(path)!r} cannot be read: {error}") from error
