"""Writing a folder of files so that it is whole or absent."""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from ioi_bench.atomic import storage_errors
from ioi_bench.errors import InputError

__all__ = ["write_folder"]

_HERE, _RENAME_EXCHANGE = -100, 2  # AT_FDCWD; of linux/fs.h


def _beside(path: Path, suffix: str) -> Path:
    """A name in the same folder, so that a rename stays on one file system."""
    return path.with_name(f".{path.name}.{os.getpid()}.{suffix}")


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _exchanged(one: Path, other: Path) -> bool:
    """Swap two folders in one step, so that whoever is killed has lost neither; False where the system cannot."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):  # Linux with glibc 2.28 has it
        return False
    return libc.renameat2(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _RENAME_EXCHANGE) == 0


def write_folder(path: Path, files: Mapping[str, bytes], *, replace: bool = True) -> None:
    """Write a folder, replacing one that was there; whatever fails, the old one stays and nothing else is left.

    Raises:
        InputError: it is there, and is not to be replaced.
        StorageError: no permission, no space, or the folder cannot be made.
    """
    if not replace and path.exists():
        raise InputError(f"{str(path)!r} is there already and stays as it is")
    temporary, old = _beside(path, "tmp"), _beside(path, "old")
    with storage_errors("write", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.mkdir()
            for name, data in files.items():
                _write(temporary / name, data)
            if replace and path.exists() and not _exchanged(temporary, path):
                path.rename(old)  # a folder that is not empty cannot be replaced in one step
            if not path.exists():
                temporary.rename(path)
        finally:  # also on Ctrl-C
            if old.exists() and not path.exists():
                old.rename(path)
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)
