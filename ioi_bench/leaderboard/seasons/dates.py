"""When the steps of a season were taken: each on the day of the one before or later, and none on a day to come.

A date is the word of whoever wrote it. Held together they leave a step no more room than the steps beside it do.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from itertools import pairwise

from ioi_bench.errors import InputError
from ioi_bench.leaderboard.seasons.folder import COMMITMENT, DRAW, LOG, REVEAL, Season

__all__ = ["date_faults", "next_date", "today"]


def today() -> str:
    """``YYYY-MM-DD``, UTC."""
    return datetime.now(timezone.utc).date().isoformat()


def date_faults(season: Season) -> Iterator[str]:
    """Commitment, draw, each line of the log, reveal: no date before the one before it, none after today."""
    steps, now, due = _steps(season), today(), season.terms.reveal_by
    for (before, earlier), (what, date) in pairwise(steps):
        if date < earlier:
            yield f"{what} is dated {date}, before {before} ({earlier})"
    yield from (f"{what} is dated {date}, and today is {now}" for what, date in steps if date > now)
    if due is not None and due < season.terms.date:
        yield f"{COMMITMENT} is dated {season.terms.date}, and promises the reveal for {due}"


def next_date(season: Season) -> str:
    """Today, for the season's next step.

    Raises:
        InputError: a step is dated later: by the clock of this machine dates would go back, and verifying would fail.
    """
    now = today()
    what, last = max(_steps(season), key=lambda step: step[1])
    if now < last:
        raise InputError(
            f"today is {now} by this machine's clock, and {what} of {season.terms.season!r} is dated {last}: dates of "
            "a season never go back; set the clock"
        )
    return now


def _steps(season: Season) -> list[tuple[str, str]]:
    """What was done, and its date, in order."""
    return [
        (COMMITMENT, season.terms.date),
        *([] if season.draw is None else [(DRAW, season.draw.date)]),
        *((f"line {number} of {LOG}", line.date) for number, line in enumerate(season.log, start=1)),
        *([] if season.reveal is None else [(REVEAL, season.reveal.date)]),
    ]
