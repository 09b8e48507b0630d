"""From what the user wrote to a `Source`: the one place that knows where sources can lie."""

from __future__ import annotations

import re
from pathlib import Path

from ioi_bench.dictionaries.source import Source
from ioi_bench.errors import InputError, SuiteError
from ioi_bench.plugins.discovery import near_misses

__all__ = ["open_source"]

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)


def open_source(text: str | Path) -> Source:
    """A file or folder on this machine.

    Raises:
        SuiteError: nothing is there; the message names near misses.
        InputError: an address of a kind that is not known.
    """
    scheme = _SCHEME.match(str(text))
    if scheme:
        raise InputError(f"{str(text)!r} is a {scheme[1]} address, which cannot be read: give a file or a folder")
    path = Path(text).expanduser()
    if not path.exists():
        raise SuiteError(f"there is nothing at {str(text)!r}{near_misses(path)}")
    return Source(path, str(text))
