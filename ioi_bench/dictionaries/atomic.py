"""Writing files so that they are whole or absent."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ioi_bench.errors import StorageError

__all__ = ["storage_errors", "write_file", "write_folder"]


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


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _beside(path: Path, suffix: str) -> Path:
    """A name in the same folder, so that a rename stays on one file system."""
    return path.with_name(f".{path.name}.{os.getpid()}.{suffix}")


def write_file(path: Path, data: bytes) -> None:
    """Write a file, replacing what was there; whatever fails, the old file stays and nothing else is left.

    Raises:
        StorageError: no permission, no space, or the folder cannot be made.
    """
    temporary = _beside(path, "tmp")
    with storage_errors("write", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _write(temporary, data)
            temporary.replace(path)
        finally:  # also on Ctrl-C
            temporary.unlink(missing_ok=True)


def write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Write a folder of files, replacing a folder that was there; whole or not at all, as `write_file`.

    Raises:
        StorageError: no permission, no space, or the folder cannot be made.
    """
    temporary, old = _beside(path, "tmp"), _beside(path, "old")
    with storage_errors("write", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.mkdir()
            for name, data in files.items():
                _write(temporary / name, data)
            if path.exists():  # a folder that is not empty cannot be replaced in one step
                path.rename(old)
            temporary.rename(path)
        finally:
            if old.exists() and not path.exists():
                old.rename(path)
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)
