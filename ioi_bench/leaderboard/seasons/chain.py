"""What a season's files show of themselves, without the seed: the chain of the log, and the files that it names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ioi_bench.errors import InputError
from ioi_bench.leaderboard.seasons.folder import (
    CARD,
    COMMITMENT,
    DRAW,
    ENTRIES,
    LOG,
    PROMPTS,
    Season,
    file_sha256,
    read_season,
    season_folders,
    sha256_of,
)
from ioi_bench.leaderboard.seasons.opening import commitment_of

__all__ = ["chain_faults", "entry_faults", "missing_suites", "reused_seed", "since_faults"]


def chain_faults(season: Season) -> Iterator[str]:
    """``commitment.json`` → ``draw.json`` → every line of the log: each holds the hash of what is before it."""
    if season.draw is None:
        if season.log or season.reveal is not None:
            yield f"there are results, and no {DRAW}"
        return
    if season.draw.commitment_file != file_sha256(season.folder / COMMITMENT):
        yield f"{COMMITMENT} was altered: {DRAW} was made under another"
    before, seen = file_sha256(season.folder / DRAW), set[str]()
    for number, (raw, line) in enumerate(zip(season.raw_log, season.log, strict=True), start=1):
        if (line.number, line.previous) != (number, before):
            yield f"line {number} of {LOG} does not follow on what is before it: a line was altered, removed or added"
        if line.entry in seen:
            yield f"line {number} of {LOG} judges {line.entry} again"
        if line.judged:
            seen.add(line.entry)
        if (line.card_sha256 is None) != (line.prompts_sha256 is None) or line.judged == (line.reason is not None):
            yield f"line {number} of {LOG} has neither a result nor a reason, or both"
        before = sha256_of(raw)


def entry_faults(season: Season) -> Iterator[str]:
    """Each result of the log has its card, and its rows where they are published; and there is nothing else."""
    allowed: dict[Path, str | None] = {}
    for entry, line in season.judged.items():
        card = season.entry_folder(entry) / CARD
        rows = season.entry_folder(entry) / PROMPTS
        allowed |= {card: line.card_sha256, rows: line.prompts_sha256}
        if not card.is_file():
            yield f"the result of {entry} was removed"
        if season.reveal is not None and not rows.is_file():
            yield f"the results per prompt of {entry} were removed"
    for path in sorted((season.folder / ENTRIES).rglob("*")):
        if path.is_dir():
            continue
        name = path.relative_to(season.folder / ENTRIES)
        if path not in allowed:
            yield f"{name.as_posix()} was added: {LOG} knows nothing of it"
        elif file_sha256(path) != allowed[path]:
            yield f"{name.as_posix()} was altered: its hash is not that in {LOG}"


def missing_suites(season: Season) -> tuple[str, ...]:
    """Suites that the commitment names, and that were neither judged nor said to be out of the question."""
    told = {line.entry for line in season.log}
    return tuple(entry for entry in season.terms.known if entry not in told)


def reused_seed(season: Season, seed: bytes | None = None) -> str | None:
    """Another season of the leaderboard to which this one's seed belonged first; None if there is none.

    The seed belongs to the season that was committed to earlier, if no other had published it before this one did.
    Dates of commitments are bound by their hashes, and of two seasons with one seed at least one is at fault, whatever
    dates are claimed.

    Args:
        season: whose seed it is.
        seed: it, where it is known. Without it the revealed seeds of all others are tried on the commitment, which
            anybody can do.
    """
    for folder in season_folders(season.folder.absolute().parent.parent):
        if folder.name == season.terms.season:
            continue
        try:
            other = read_season(folder)
        except InputError:  # it fails its own verification
            continue
        if _same_seed(season, seed, other) and not _came_first(season, other):
            return other.terms.season
    return None


def _same_seed(season: Season, seed: bytes | None, other: Season) -> bool:
    known = None if other.reveal is None else bytes.fromhex(other.reveal.seed)
    if seed is not None and (seed == known or commitment_of(other.terms, seed) == other.commitment.commitment):
        return True
    return known is not None and commitment_of(season.terms, known) == season.commitment.commitment


def _came_first(season: Season, other: Season) -> bool:
    """Committed to on an earlier day, and revealed before the other."""
    if season.terms.date >= other.terms.date:
        return False
    if other.reveal is None:
        return True
    # a reveal that claims to be older than its commitment is no reason against the season whose seed it took
    return season.reveal is not None and season.reveal.date < max(other.reveal.date, other.terms.date)


def since_faults(season: Season, before: Path) -> Iterator[str]:
    """What an earlier copy of the season's folder had, and this one has not: nothing may change, the log only grows.

    Raises:
        InputError: the copy has no such season.
    """
    if not (before / COMMITMENT).is_file():
        raise InputError(f"there is no season in {str(before)!r} to compare with")
    for path in sorted(path for path in before.rglob("*") if path.is_file()):
        name = path.relative_to(before)
        now = season.folder / name
        if not now.is_file():
            yield f"{name.as_posix()} was removed"
        elif name.as_posix() == LOG:
            if not now.read_bytes().startswith(path.read_bytes()):
                yield f"{LOG} was altered: it does not begin with the lines that it had"
        elif now.read_bytes() != path.read_bytes():
            yield f"{name.as_posix()} was altered"
