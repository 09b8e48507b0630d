"""Inputs as plain values: what lies in a folder, by name, and how it comes onto the disk."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Link:
    """A symbolic link; ``{outside}`` in its target is the folder outside."""

    target: str


@dataclass(frozen=True)
class Folder:
    """A folder where a file is expected."""


@dataclass(frozen=True)
class Pipe:
    """A named pipe: whoever opens it waits for ever."""


@dataclass(frozen=True)
class Sparse:
    """Bytes, then zeros without blocks on the disk up to a size."""

    head: bytes
    size: int


Entry = bytes | Link | Folder | Pipe | Sparse
Files = Mapping[str, Entry]


def write_files(files: Files, folder: Path, outside: Path) -> None:
    """Lay an input out. Names may lead nowhere: what the file system refuses is left out."""
    folder.mkdir(parents=True)
    for name, entry in files.items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, entry, outside)
        except (OSError, ValueError):
            continue


def _write(path: Path, entry: Entry, outside: Path) -> None:
    if isinstance(entry, bytes):
        path.write_bytes(entry)
    elif isinstance(entry, Link):
        path.symlink_to(entry.target.replace("{outside}", str(outside)))
    elif isinstance(entry, Pipe):
        os.mkfifo(path)
    elif isinstance(entry, Sparse):
        path.write_bytes(entry.head)
        os.truncate(path, entry.size)
    else:
        path.mkdir()
