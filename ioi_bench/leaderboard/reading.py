"""Records of a leaderboard, read from JSON and TOML of others: bounded, and with errors that name the place."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from ioi_bench.bounded import bounded_bytes, toml_table
from ioi_bench.errors import InputError, StorageError

__all__ = ["parse_record", "read_bounded", "read_record", "require_inside"]

_R = TypeVar("_R", bound=BaseModel)
_MAX_BYTES = 4 << 20  # a card of all methods has 0.2 MB


def read_bounded(path: Path) -> bytes:
    """A small file's content.

    Raises:
        InputError: it cannot be read, is no regular file or a link, or is absurdly large.
    """
    require_inside(path)
    try:
        return bounded_bytes(path, _MAX_BYTES)
    except StorageError as error:
        raise InputError(str(error)) from error


def require_inside(path: Path) -> None:
    """Submissions come by pull request, in which a file may be a link to anything.

    Raises:
        InputError: the file is a link.
    """
    if path.is_symlink() or path.resolve() != path.parent.resolve() / path.name:
        raise InputError(f"{str(path)!r} is a link: hand in the file itself")


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
            return kind.model_validate(toml_table(data))
        return kind.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(map(str, first["loc"])) or "the whole"
        raise InputError(f"{where!r}: {at}: {first['msg']}") from error
    except ValueError as error:  # not TOML, not UTF-8
        raise InputError(f"{where!r} cannot be read: {error}") from error
