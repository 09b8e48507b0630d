"""A season's folder, read; and its prompts, once it is revealed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ioi_bench.errors import InputError
from ioi_bench.leaderboard.reading import parse_record, read_bounded, read_record
from ioi_bench.leaderboard.seasons.opening import commitment_of, draw_key
from ioi_bench.leaderboard.seasons.records import Commitment, Draw, LogLine, Reveal, Terms
from ioi_bench.task import Split, task_spec
from ioi_bench.task.season import SEASON, season_split

__all__ = [
    "CARD",
    "COMMITMENT",
    "DRAW",
    "ENTRIES",
    "LOG",
    "PROMPTS",
    "REVEAL",
    "SEASONS",
    "Season",
    "file_sha256",
    "prompts_of",
    "read_season",
    "revealed_split",
    "season_folders",
    "sha256_of",
]

SEASONS, ENTRIES = "seasons", "entries"
COMMITMENT, DRAW, LOG, REVEAL = "commitment.json", "draw.json", "log.jsonl", "reveal.json"
CARD, PROMPTS = "card.json", "prompts.parquet"


@dataclass(frozen=True)
class Season:
    """What a season's folder holds.

    Attributes:
        raw_log: the lines of the log as they stand, without line breaks; ``log`` is what they say.
    """

    folder: Path
    commitment: Commitment
    draw: Draw | None
    raw_log: tuple[bytes, ...]
    log: tuple[LogLine, ...]
    reveal: Reveal | None

    @property
    def terms(self) -> Terms:
        """What was committed to."""
        return self.commitment.terms

    @property
    def split_name(self) -> str:
        """On its cards."""
        return f"{SEASON}{self.terms.season}"

    @property
    def head(self) -> str:
        """The hash that the next line of the log begins from; it needs a draw."""
        return sha256_of(self.raw_log[-1]) if self.raw_log else file_sha256(self.folder / DRAW)

    @property
    def judged(self) -> dict[str, LogLine]:
        """The lines with a result, by entry."""
        return {line.entry: line for line in self.log if line.judged}

    def entry_folder(self, entry: str) -> Path:
        """Where the card of an entry lies."""
        return self.folder / ENTRIES / entry


def sha256_of(data: bytes) -> str:
    """In hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def file_sha256(path: Path) -> str:
    """Of a file's content.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return sha256_of(path.read_bytes())
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be read: {error.strerror or error}") from error


def season_folders(leaderboard: Path) -> Iterator[Path]:
    """The seasons of a leaderboard, sorted."""
    yield from sorted(path.parent for path in (leaderboard / SEASONS).glob(f"*/{COMMITMENT}"))


def read_season(folder: Path) -> Season:
    """All records in a season's folder; whether they agree with each other is for `verify_season`.

    Raises:
        InputError: there is no season, a file is damaged or of another form, or the folder bears another name.
    """
    if not (folder / COMMITMENT).is_file():
        there = ", ".join(sorted(path.name for path in season_folders(folder.parent.parent))) or "none"
        raise InputError(
            f"there is no season {folder.name!r}: {str(folder / COMMITMENT)!r} is missing; there are: {there}"
        )
    if links := [path for path in folder.rglob("*") if path.is_symlink()]:
        raise InputError(f"{str(links[0])!r} is a link: a season is made of plain files")
    raw = tuple(read_bounded(folder / LOG).splitlines()) if (folder / LOG).exists() else ()
    season = Season(
        folder=folder,
        commitment=read_record(Commitment, folder / COMMITMENT),
        draw=read_record(Draw, folder / DRAW) if (folder / DRAW).exists() else None,
        raw_log=raw,
        log=tuple(parse_record(LogLine, line, f"{folder / LOG} line {n}") for n, line in enumerate(raw, start=1)),
        reveal=read_record(Reveal, folder / REVEAL) if (folder / REVEAL).exists() else None,
    )
    named = {season.terms.season, *(one.season for one in (season.draw, season.reveal) if one is not None)}
    if named != {folder.absolute().name}:
        raise InputError(f"{str(folder)!r} is of the season {' and '.join(sorted(named))}: it is not where it belongs")
    return season


def prompts_of(terms: Terms, seed: bytes, beacon: str | None) -> Split:
    """The prompts that this version draws."""
    spec = task_spec(terms.spec)
    key = draw_key(terms.season, terms.spec_sha256, seed, beacon)
    return season_split(spec, f"{SEASON}{terms.season}", key, terms.prompts)


def revealed_split(folder: Path | str) -> Split:
    """The prompts of a season that was revealed, for `ioi_bench.evaluation.evaluate.evaluate`.

    Args:
        folder: the season's, ``leaderboard/seasons/NAME``.

    Raises:
        InputError: there is none, it is not revealed yet, its seed does not open the commitment, or this version draws
            other prompts from it.
    """
    season = read_season(Path(folder))
    if season.reveal is None:
        due = f", at the latest on {season.terms.reveal_by}" if season.terms.reveal_by else ""
        raise InputError(f"the season {season.terms.season!r} is not revealed yet{due}: its prompts are secret")
    seed = bytes.fromhex(season.reveal.seed)
    if commitment_of(season.terms, seed) != season.commitment.commitment:
        raise InputError(f"the seed in {str(season.folder / REVEAL)!r} does not open the season's commitment")
    if season.draw is None:
        raise InputError(f"{str(season.folder / DRAW)!r} is missing: nobody can say which prompts were judged")
    split, wanted = prompts_of(season.terms, seed, season.draw.beacon), season.draw.prompts_sha256
    if split.sha256 != wanted:
        raise InputError(
            f"this version of ioi-bench draws other prompts for {season.terms.season!r} ({split.sha256[:12]}…) than "
            f"were judged ({wanted[:12]}…): install ioi-bench=={season.terms.ioi_bench}"
        )
    return split
