"""The reveal: the seed and what was withheld are published, after everything was looked at."""

from __future__ import annotations

from pathlib import Path

from ioi_bench.atomic import locked, write_file
from ioi_bench.errors import InputError
from ioi_bench.leaderboard.seasons.chain import chain_faults, entry_faults, missing_suites, reused_seed
from ioi_bench.leaderboard.seasons.dates import date_faults, next_date
from ioi_bench.leaderboard.seasons.drawing import draw_prompts
from ioi_bench.leaderboard.seasons.folder import COMMITMENT, PROMPTS, REVEAL, Season, file_sha256, read_season
from ioi_bench.leaderboard.seasons.judging import withheld_file
from ioi_bench.leaderboard.seasons.opening import read_seed
from ioi_bench.leaderboard.seasons.records import Reveal

__all__ = ["reveal_season"]


def reveal_season(folder: Path, seed_file: Path, *, unjudged: bool = False) -> Reveal:
    """Publish the seed and the results per prompt; ``reveal.json`` comes last, and ends the season.

    Args:
        folder: of the season.
        seed_file: the maintainer's.
        unjudged: leave out what was there at the commitment and was not judged; ``reveal.json`` names it.

    Raises:
        InputError: it is revealed already, nothing was drawn, suites are still to be judged, the seed does not open
            the commitment or belongs to another season, the log or a card was altered, or a withheld file is missing
            or altered. Then nothing of the season is published that was not before.
        StorageError: the disk refused.
    """
    read_season(folder)  # before it is locked: this says which seasons there are
    with locked(folder / COMMITMENT):
        season = read_season(folder)
        date = next_date(season)
        seed = _seed(season, seed_file)
        missing = missing_suites(season)
        if missing and not unjudged:
            raise InputError(
                f"{len(missing)} of the {len(season.terms.known)} suites that were there at the commitment are still "
                f"to be judged, and nothing can be added after the reveal: {', '.join(missing)}. Run `ioi-bench season "
                f"evaluate {season.terms.season}` first; or give --unjudged, and reveal.json will say for ever that "
                "they were left out"
            )
        rows = {entry: _withheld(season, seed_file, entry) for entry in season.judged}
        reveal = Reveal(
            season=season.terms.season,
            seed=seed.hex(),
            lines=len(season.log),
            head=season.head,
            unjudged=missing,
            date=date,
        )
        for entry, source in rows.items():
            write_file(season.entry_folder(entry) / PROMPTS, source.read_bytes())
        write_file(folder / REVEAL, (reveal.model_dump_json(indent=1) + "\n").encode())
    return reveal


def _seed(season: Season, seed_file: Path) -> bytes:
    """The seed, of a season that may be revealed.

    Raises:
        InputError: it may not.
    """
    terms = season.terms
    if season.reveal is not None:
        raise InputError(f"the season {terms.season!r} was revealed on {season.reveal.date} already")
    seed = read_seed(seed_file, terms, season.commitment.commitment)
    if season.draw is None:
        raise InputError(f"nothing was drawn yet: `ioi-bench season evaluate {terms.season}` comes first")
    if (other := reused_seed(season, seed)) is not None:
        raise InputError(f"the seed of {terms.season!r} is that of the season {other!r}: it was no secret")
    draw_prompts(season, seed, None)
    if faults := [*chain_faults(season), *date_faults(season), *entry_faults(season)]:
        raise InputError(f"the season {terms.season!r} is not as it was judged: {'; '.join(faults)}")
    return seed


def _withheld(season: Season, seed_file: Path, entry: str) -> Path:
    path = withheld_file(seed_file, season.terms.season, entry)
    if not path.is_file():
        raise InputError(
            f"{str(path)!r} is missing: the results per prompt of {entry}, whose hash is in the log. On the same "
            "machine, evaluating again gives the same bytes"
        )
    if file_sha256(path) != season.judged[entry].prompts_sha256:
        raise InputError(f"{str(path)!r} is not what was judged: its hash is not the log's")
    return path
