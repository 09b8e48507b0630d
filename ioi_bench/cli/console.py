"""What all commands share: the two consoles, JSON, numbers, progress."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rich.console import Console

    from ioi_bench.evaluation.card import Figure

__all__ = ["Report", "cache_folder", "duration", "err", "figure", "number", "out", "print_json", "progress", "say"]


class Report(Protocol):
    """What long work calls to tell how far it is."""

    def __call__(self, what: str, done: int, total: int, detail: str = "") -> None:
        """``what`` names the work, ``detail`` its latest figures."""
        ...


_PIPE_WIDTH = 100
_LINE_EVERY_SECONDS = 30.0
_QUIET_SECONDS = 2.0
_SPEED_OVER_SECONDS = 3600.0
"""Rich forgets all steps but those of the last half minute, and has no estimate where one takes longer."""


def _console(stderr: bool) -> Console:
    from ioi_bench.cli.fitting import FittingConsole

    # Markup is off: the "[9]" of a site's name is not a style. A pipe has no width, and 80 would fold the tables.
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else _PIPE_WIDTH
    return FittingConsole(stderr=stderr, markup=False, highlight=False, emoji=False, width=width)


def out() -> Console:
    """The console of stdout: data."""
    return _console(stderr=False)


def err() -> Console:
    """The console of stderr: talk."""
    return _console(stderr=True)


def say(message: str, style: str = "") -> None:
    """One plain line on stderr, never folded: a path in it can be copied."""
    err().print(message, style=style, soft_wrap=True)


def print_json(data: Any) -> None:
    """JSON on stdout; NaN is refused, for JSON has none."""
    sys.stdout.write(json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def cache_folder() -> Path:
    """Where captures are kept between runs: ``$IOI_BENCH_CACHE``, or the user's cache folder."""
    from platformdirs import user_cache_path

    given = os.environ.get("IOI_BENCH_CACHE")
    return Path(given) if given else user_cache_path("ioi-bench")


def number(value: float | None, digits: int = 2) -> str:
    """A share as papers print it.

    >>> number(0.516), number(-0.04), number(-0.001), number(1.0), number(None)
    ('.52', '-.04', '.00', '1.00', '–')
    """
    if value is None or math.isnan(value):
        return "–"
    value = round(value, digits) + 0.0  # no minus before a zero
    text = f"{value:.{digits}f}"
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text


def figure(value: Figure, digits: int = 2) -> str:
    """A figure with its interval: ``.52 [.49 .55]``."""
    text = number(value.value, digits)
    if value.value is None or value.low is None or value.high is None:
        return text
    return f"{text} [{number(value.low, digits)} {number(value.high, digits)}]"


def duration(seconds: float) -> str:
    """As people say it.

    >>> duration(42), duration(600), duration(7260)
    ('about 42 s', 'about 10 min', 'about 2 h 1 min')
    """
    if seconds < 90:
        return f"about {seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"about {hours} h {minutes} min" if hours else f"about {minutes} min"


@contextmanager
def progress() -> Iterator[Report]:
    """Progress on stderr for work over two seconds: bars with an estimate, or lines where no one watches."""
    console = err()
    if not console.is_terminal:
        yield _lines()
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    started = time.monotonic()
    bars = Progress(
        *columns, console=console, transient=True, auto_refresh=False, speed_estimate_period=_SPEED_OVER_SECONDS
    )
    tasks: dict[str, Any] = {}
    try:

        def report(what: str, done: int, total: int, detail: str = "") -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            described = f"{what}  {detail}" if detail else what
            bars.update(tasks[what], completed=done, total=total, visible=done < total, description=described)
            if not bars.live.is_started and time.monotonic() - started > _QUIET_SECONDS:
                bars.start()
            if bars.live.is_started:
                bars.refresh()

        yield report
    finally:
        if bars.live.is_started:
            bars.stop()


def _left(seconds: float) -> str:
    """
    >>> _left(20), _left(300)
    ('less than a minute', 'about 5 min')
    """
    return "less than a minute" if seconds < 60 else duration(seconds)


def _lines() -> Report:
    last = time.monotonic()
    first_seen: dict[str, tuple[float, int]] = {}

    def report(what: str, done: int, total: int, detail: str = "") -> None:
        nonlocal last
        now = time.monotonic()
        since, done_then = first_seen.setdefault(what, (now, done))
        if now - last < _LINE_EVERY_SECONDS or done >= total:
            return
        last = now
        gained = done - done_then
        left = f", {_left((now - since) * (total - done) / gained)} left" if gained > 0 else ""
        say(f"{what}: {done:,} of {total:,}{left}" + (f"; {detail}" if detail else ""))

    return report
