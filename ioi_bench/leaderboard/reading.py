"""Records of a leaderboard, read from JSON and TOML of others: bounded, and with errors that name the place."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from ioi_bench.errors import InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["parse_record", "read_bounded", "read_record"]

_R = TypeVar("_R", bound=BaseModel)
_MAX_BYTES = 4 << 20  # a card of all methods has 0.2 MB


def read_bounded(path: Path) -> bytes:
    """A small file's content.

    Raises:
        InputError: it cannot be read, or is absurdly large.
    """
    try:
        if (size := path.stat().st_size) > _MAX_BYTES:
            raise InputError(f"{str(path)!r} has {size:,} bytes; at most {_MAX_BYTES:,} are read")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be read: {error.strerror or error}") from error


def read_record(kind: type[_R], path: Path) -> _R:
    """A record in a file, TOML by its suffix, else JSON.

    Raises:
        InputError: it cannot be read, or is no such record.
    """
    return parse_record(kind, read_bounded(path), str(path), toml=path.suffix == ".toml")


def parse_record(kind: type[_R], data: bytes, where: str, *, toml: bool = False) -> _R:
    """A record in bytes.

    Raises:
        InputError: it is no such record; ``where`` is named.
    """
    try:
        if toml:
            return kind.model_validate(tomllib.loads(data.decode()))
        return kind.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(map(str, first["loc"])) or "the whole"
        raise InputError(f"{where!r}: {at}: {first['msg']}") from error
    except ValueError as error:  # not TOML, not UTF-8
        raise InputError(f"{where!r} cannot be read: {error}") from error
