"""The reveal: the seed and what was withheld are published, after everything was looked at."""

from __future__ import annotations

from pathlib import Path

from ioi_bench.atomic import write_file
from ioi_bench.errors import InputError
from ioi_bench.leaderboard.seasons.chain import chain_faults, entry_faults, reused_seed
from ioi_bench.leaderboard.seasons.commit import today
from ioi_bench.leaderboard.seasons.folder import PROMPTS, REVEAL, Season, file_sha256, read_season
from ioi_bench.leaderboard.seasons.judging import draw_prompts, withheld_file
from ioi_bench.leaderboard.seasons.opening import read_seed
from ioi_bench.leaderboard.seasons.records import Reveal

__all__ = ["reveal_season"]


def reveal_season(folder: Path, seed_file: Path) -> Reveal:
    """Publish the seed and the results per prompt; ``reveal.json`` comes last, and ends the season.

    Raises:
        InputError: it is revealed already, nothing was drawn, the seed does not open the commitment or belongs to
            another season, the log or a card was altered, or a withheld file is missing or altered. Then nothing of
            the season is published that was not before.
        StorageError: the disk refused.
    """
    season = read_season(folder)
    terms = season.terms
    if season.reveal is not None:
        raise InputError(f"the season {terms.season!r} was revealed on {season.reveal.date} already")
    seed = read_seed(seed_file, terms, season.commitment.commitment)
    if season.draw is None:
        raise InputError(f"nothing was drawn yet: `ioi-bench season evaluate {terms.season}` comes first")
    if (other := reused_seed(season, seed)) is not None:
        raise InputError(f"the seed of {terms.season!r} is that of the revealed season {other!r}: it was no secret")
    draw_prompts(season, seed, None)
    if faults := [*chain_faults(season), *entry_faults(season)]:
        raise InputError(f"the season {terms.season!r} is not as it was judged: {'; '.join(faults)}")
    rows = {entry: _withheld(season, seed_file, entry) for entry in season.judged}
    for entry, source in rows.items():
        write_file(season.entry_folder(entry) / PROMPTS, source.read_bytes())
    reveal = Reveal(season=terms.season, seed=seed.hex(), lines=len(season.log), head=season.head, date=today())
    write_file(folder / REVEAL, (reveal.model_dump_json(indent=1) + "\n").encode())
    return reveal


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
