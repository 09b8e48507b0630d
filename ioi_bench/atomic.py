"""Writing files so that they are whole or absent."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ioi_bench.errors import StorageError

__all__ = ["storage_errors", "write_file"]


@contextmanager
def storage_errors(action: str, path: Path) -> Iterator[None]:
    """Turn what the file system refuses into a `StorageError`."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"cannot {action} {str(path)!r}: {error.strerror or error}; check the permissions and the free space, "
            "or choose another path"
        ) from error


def write_file(path: Path, data: bytes) -> None:
    """Write a file, replacing what was there; whatever fails, the old file stays and nothing else is left.

    Raises:
        StorageError: no permission, no space, or the folder cannot be made.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with storage_errors("write", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:  # also on Ctrl-C
            temporary.unlink(missing_ok=True)
