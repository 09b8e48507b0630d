"""Writing files so that they are whole or absent, and one process after another."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import get_ident

from ioi_bench.errors import StorageError

__all__ = ["locked", "storage_errors", "write_file", "write_files"]


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


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Whoever else locks this file waits; the lock ends with the block, or with the process, however it ends.

    The file is neither read nor written. Where the system knows no such lock (Windows), nothing is locked.

    Raises:
        StorageError: the file is not there, or may not be written.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    with storage_errors("lock", path):
        descriptor = os.open(path, os.O_RDWR)  # over NFS an exclusive lock needs the right to write
    try:
        with storage_errors("lock", path):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write_file(path: Path, data: bytes) -> None:
    """Write a file, replacing what was there; whatever fails, the old file stays and nothing else is left.

    Raises:
        StorageError: no permission, no space, or the folder cannot be made.
    """
    write_files({path: data})


def write_files(contents: Mapping[Path, bytes]) -> None:
    """Write files that belong together: all are on the disk before the first replaces what was there, in this order.

    Raises:
        StorageError: no permission, no space, or a folder cannot be made; the old files stay, all of them.
    """
    temporary = {path: path.with_name(f".{path.name}.{os.getpid()}-{get_ident()}.tmp") for path in contents}
    try:
        for path, data in contents.items():
            with storage_errors("write", path):
                path.parent.mkdir(parents=True, exist_ok=True)
                with temporary[path].open("wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
        for path, written in temporary.items():
            with storage_errors("write", path):
                written.replace(path)
    finally:  # also on Ctrl-C
        for path, left in temporary.items():
            with storage_errors("write", path):
                left.unlink(missing_ok=True)
