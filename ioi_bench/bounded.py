"""Reading small files that others wrote: regular files of at most so many bytes, and JSON and TOML of bounded depth.

What a file says of itself decides nothing: a pipe or a device is not opened, one byte more than allowed is the end, and
text that would take its reader minutes or the whole stack is refused before or while it is read.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
from pathlib import Path
from typing import Any

from ioi_bench.atomic import storage_errors
from ioi_bench.errors import InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["MAX_TOML_BYTES", "bounded_bytes", "json_value", "require_small", "stays_inside", "toml_table"]

MAX_TOML_BYTES = 512 << 10
_DOTS = 64  # of one key: the reader's time grows with their square
_DEPTH = 100  # of tables and lists: nobody writes more, and printing them recurs
_BREAKS = re.compile(rb"[\n\r=,\[\]{}]")


def bounded_bytes(path: Path, most: int) -> bytes:
    """A regular file's bytes.

    Raises:
        InputError: it is a folder, a pipe or a device, or has more than ``most`` bytes.
        StorageError: it is not there, or cannot be read.
    """
    require_small(path, most)
    with storage_errors("read", path), path.open("rb") as file:
        size = path.stat().st_size
        data = file.read(size + 1)
    if len(data) > size:  # as files of /proc do, which say that they have none
        raise InputError(f"{str(path)!r} has more bytes than it says, {size:,}: give a file that nobody writes to")
    return data


def require_small(path: Path, most: int) -> None:
    """Refuse what is no regular file or too large, before a library maps it.

    Raises:
        InputError: it is a folder, a pipe or a device, or has more than ``most`` bytes.
        StorageError: it is not there, or cannot be looked at.
    """
    with storage_errors("read", path):
        size = path.stat().st_size
        if not path.is_file():
            raise InputError(f"{str(path)!r} is not a regular file: give one that holds its bytes itself")
        if size > most:
            raise InputError(f"{str(path)!r} has {size:,} bytes; at most {most:,} are read")


def stays_inside(file: Path, folder: Path) -> bool:
    """Whether a file is really there, or is a link that the Hub's cache made.

    That cache keeps ``models--org--repo/snapshots/COMMIT/…`` as links to ``models--org--repo/blobs/…``.
    """
    if "\0" in str(file):
        return False
    real, home = Path(os.path.realpath(file)), Path(os.path.realpath(folder))  # of a loop of links, too
    repository = next((parent.parent for parent in home.parents if parent.name == "snapshots"), None)
    return real.is_relative_to(home) or (repository is not None and real.is_relative_to(repository / "blobs"))


def json_value(data: str | bytes) -> Any:
    """What JSON text holds; NaN and infinities, which are none of JSON's, are refused.

    Raises:
        ValueError: not JSON, not UTF-8, a number too long to convert, or nested too deeply.
    """
    try:
        found = json.loads(data, parse_constant=_no_number)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    _refuse_deep(found, finite=True)
    return found


def toml_table(data: bytes) -> dict[str, Any]:
    """What TOML text holds.

    Raises:
        ValueError: not TOML, not UTF-8, a number too long to convert, keys of too many parts, or nested too deeply.
    """
    if max(map(_count_dots, _BREAKS.split(data)), default=0) > _DOTS:
        raise ValueError(f"a key has more than {_DOTS} parts")
    try:
        found = tomllib.loads(data.decode())
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    _refuse_deep(found)
    return found


def _count_dots(part: bytes) -> int:
    return part.count(b".")


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number in JSON; an undefined figure is null")


def _refuse_deep(value: Any, *, finite: bool = False) -> None:
    level = [value]
    for _ in range(_DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if finite and any(isinstance(one, float) and math.isinf(one) for one in level):  # 1e999 is infinite when read
            raise ValueError("it has a number too large to be read")
        if not level:
            return
    raise ValueError("it is nested too deeply")
