"""Whether a suite's files are those that its manifest names."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ioi_bench.atomic import storage_errors
from ioi_bench.bounded import bounded_bytes, stays_inside
from ioi_bench.dictionaries.source import MAX_TENSOR_BYTES
from ioi_bench.errors import SuiteError
from ioi_bench.reference.manifest import ReferenceSuite

__all__ = ["differing", "read_checked"]

_BLOCK = 1 << 20


def differing(folder: Path, suite: ReferenceSuite) -> dict[str, str]:
    """The files that are not what they should be: name to what is wrong, with both hashes.

    Raises:
        SuiteError: a file is a link to somewhere else, or larger than any that is read.
        StorageError: no permission to read.
    """
    wrong = {}
    for name, expected in suite.files.items():
        with storage_errors("read", folder / name):
            if not (folder / name).is_file():
                wrong[name] = f"{name} is missing"
                continue
            _require_inside(folder, name)
            with (folder / name).open("rb") as file:
                digest = hashlib.sha256()
                while block := file.read(_BLOCK):
                    digest.update(block)
            found = digest.hexdigest()
        if found != expected:
            wrong[name] = _said(name, found, expected)
    return wrong


def read_checked(folder: Path, suite: ReferenceSuite) -> dict[str, bytes]:
    """The content of a suite's files, checked: what is returned is what was hashed.

    Raises:
        SuiteError: a file is missing or another one.
        StorageError: no permission to read.
    """
    content = {}
    for name, expected in suite.files.items():
        with storage_errors("read", folder / name):
            if not (folder / name).is_file():
                raise SuiteError(f"{str(folder)!r} has no file {name!r}: pull it again")
            _require_inside(folder, name)
            content[name] = bounded_bytes(folder / name, MAX_TENSOR_BYTES)
        found = hashlib.sha256(content[name]).hexdigest()
        if found != expected:
            raise SuiteError(f"in {str(folder)!r}, {_said(name, found, expected)}: pull it again")
    return content


def _require_inside(folder: Path, name: str) -> None:
    if not stays_inside(folder / name, folder):
        raise SuiteError(f"{name!r} in {str(folder)!r} is a link that leaves the folder: pull it again")
    if (size := (folder / name).stat().st_size) > MAX_TENSOR_BYTES:
        raise SuiteError(f"{name!r} in {str(folder)!r} has {size:,} bytes; at most {MAX_TENSOR_BYTES:,} are read")


def _said(name: str, found: str, expected: str) -> str:
    return f"{name} has the sha256 {found}, but the manifest names {expected}"
