"""Whether a suite's files are those that its manifest names."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ioi_bench.atomic import storage_errors
from ioi_bench.errors import SuiteError
from ioi_bench.reference.manifest import ReferenceSuite

__all__ = ["differing", "read_checked"]


def differing(folder: Path, suite: ReferenceSuite) -> dict[str, str]:
    """The files that are not what they should be: name to what is wrong, with both hashes.

    Raises:
        StorageError: no permission to read.
    """
    wrong = {}
    for name, expected in suite.files.items():
        with storage_errors("read", folder / name):
            if not (folder / name).is_file():
                wrong[name] = f"{name} is missing"
                continue
            found = hashlib.sha256((folder / name).read_bytes()).hexdigest()
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
            content[name] = (folder / name).read_bytes()
        found = hashlib.sha256(content[name]).hexdigest()
        if found != expected:
            raise SuiteError(f"in {str(folder)!r}, {_said(name, found, expected)}: pull it again")
    return content


def _said(name: str, found: str, expected: str) -> str:
    return f"{name} has the sha256 {found}, but the manifest names {expected}"
