"""What seasons say of one submission: for its badge, and for the pages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ioi_bench.errors import InputError
from ioi_bench.evaluation.card import Card
from ioi_bench.leaderboard.seasons.chain import chain_faults
from ioi_bench.leaderboard.seasons.folder import (
    CARD,
    DRAW,
    ENTRIES,
    LOG,
    REVEAL,
    Season,
    file_sha256,
    read_season,
    season_folders,
)

__all__ = ["SeasonResult", "season_files", "season_results"]


@dataclass(frozen=True)
class SeasonResult:
    """A suite in a season.

    Attributes:
        season: its name.
        date: of the evaluation.
        revealed: when anybody could check it; None before.
        card: on the season's prompts.
        known: it was on the leaderboard before the seed was committed to.
    """

    season: str
    date: str
    revealed: str | None
    card: Card
    known: bool


def season_results(leaderboard: Path, key: str, submission_sha256: str) -> tuple[SeasonResult, ...]:
    """The results of an entry in all seasons, those first that came first.

    Only what stands in an unbroken log counts, for this very ``submission.toml``, with the card that the log names.
    That scores follow from rows, and rows from weights, is for `season verify`.

    Args:
        leaderboard: its folder.
        key: ``track/org__name/hash``.
        submission_sha256: of the entry's ``submission.toml``.
    """
    found = []
    for folder in season_folders(leaderboard):
        path = folder / ENTRIES / key / CARD
        season = _sound(folder, _stamps(folder)) if path.is_file() else None
        line = None if season is None else season.judged.get(key)
        if season is None or line is None:
            continue
        if (line.submission_sha256, line.card_sha256) != (submission_sha256, file_sha256(path)):
            continue
        try:
            card = Card.read(path)
        except InputError:  # of another version of ioi-bench
            continue
        revealed = season.reveal.date if season.reveal else None
        found.append(SeasonResult(season.terms.season, line.date, revealed, card, key in season.terms.known))
    return tuple(sorted(found, key=lambda one: (one.date, one.season)))


def season_files(leaderboard: Path, key: str) -> Iterator[Path]:
    """The files that `season_results` may look at: when one changes, the results may."""
    for folder in season_folders(leaderboard):
        card = folder / ENTRIES / key / CARD
        if card.exists():
            yield from (card, folder / LOG, folder / REVEAL)


def _stamps(folder: Path) -> tuple[tuple[int, int], ...]:
    there = (path for path in (folder / name for name in (DRAW, LOG, REVEAL)) if path.exists())
    return tuple((found.st_mtime_ns, found.st_size) for found in (path.stat() for path in there))


@lru_cache(maxsize=64)
def _sound(folder: Path, stamps: tuple[tuple[int, int], ...]) -> Season | None:  # noqa: ARG001 (when to read anew)
    """The season, read once for all its entries; None where its files contradict each other."""
    try:
        season = read_season(folder)
        return None if any(chain_faults(season)) else season
    except InputError:  # `season verify` names what it is
        return None
