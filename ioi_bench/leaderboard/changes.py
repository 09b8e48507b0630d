"""What a pull request may do to a leaderboard: add whole submissions below ``results/``, and nothing else.

A leaderboard is append-only. What was handed in stays as it is; a verdict comes from whoever verified, never with the
submission; rules and workflows are not changed by one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ioi_bench.atomic import storage_errors
from ioi_bench.errors import InputError
from ioi_bench.leaderboard.names import names_in, other_spelling
from ioi_bench.leaderboard.results import CARD, PROMPTS, SUBMISSION
from ioi_bench.leaderboard.target import RESULTS

__all__ = ["LINK", "Changes", "changes", "listing", "require_plain"]

LINK = "a link"
_HANDED_IN = frozenset({CARD, PROMPTS, SUBMISSION})
_PARTS = (5, 6)  # results/<track>/<org>__<name>/<hash>/<file>; the track of a hook point has a slash in its name
_GIT = ".git"


@dataclass(frozen=True)
class Changes:
    """What a pull request does.

    Attributes:
        added: folders of the submissions that it adds, relative to the leaderboard.
        faults: what it may not do, a sentence each.
    """

    added: tuple[PurePosixPath, ...]
    faults: tuple[str, ...]


def listing(root: Path) -> dict[str, str]:
    """Every file below a folder, relative, with the hash of its content; a link is not followed.

    Raises:
        InputError: no such folder.
        StorageError: a file cannot be read.
    """
    if not root.is_dir():
        raise InputError(f"there is no folder {str(root)!r}: give the leaderboard's, which holds {RESULTS}/")
    found = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root)
        if name.parts[0] == _GIT:
            continue
        if path.is_symlink():
            found[name.as_posix()] = LINK
        elif not path.is_dir():
            with storage_errors("read", path):
                found[name.as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def changes(base: Mapping[str, str], head: Mapping[str, str], now: Iterable[str] | None = None) -> Changes:
    """What leads from one listing (a file's name, and anything that tells its content) to another.

    Args:
        base: the leaderboard where the pull request began.
        head: with the pull request.
        now: names of files that the leaderboard has by now; by default those of ``base``. Names are spelled as there.

    >>> before = {"results/gpt2/a__b/00/card.json": "1"}
    >>> changes(before, {}).faults
    ("it deletes 'results/gpt2/a__b/00/card.json'",)
    """
    faults = [f"it deletes {name!r}" for name in base if name not in head]
    faults += [f"it changes {name!r}" for name in base if head.get(name, base[name]) != base[name]]
    before = {PurePosixPath(name).parent for name in base}
    added: dict[PurePosixPath, set[str]] = {}
    for name in (name for name in head if name not in base):
        path = PurePosixPath(name)
        if head[name] == LINK:
            faults.append(f"it adds {name!r}, which is a link")
        elif path.parts[0] != RESULTS or len(path.parts) not in _PARTS or path.name not in _HANDED_IN:
            faults.append(f"it adds {name!r}, which is no part of a submission")
        elif path.parent in before:
            faults.append(f"it adds {name!r} to a submission that is there already")
        else:
            added.setdefault(path.parent, set()).add(path.name)
    known = names_in(name for name in (base if now is None else now) if name.startswith(f"{RESULTS}/"))
    for folder, names in added.items():
        (name,) = names_in([f"{folder.as_posix()}/{SUBMISSION}"]) or ("",)
        if (spelling := other_spelling(name, known)) is not None:
            faults.append(f"it adds {name!r}, which this leaderboard writes {spelling!r}")
        if lacking := _HANDED_IN - names:
            faults.append(f"it adds {folder.as_posix()!r} without {' and '.join(sorted(lacking))}")
    return Changes(tuple(sorted(added)), tuple(faults))


def require_plain(folder: Path) -> None:
    """A submission's folder holds plain files alone; neither they nor a folder above them below ``results`` are links.

    Raises:
        InputError: otherwise.
    """
    for path in (folder.absolute(), *folder.absolute().parents):
        if path.name == RESULTS:
            break
        if path.is_symlink():
            raise InputError(f"{str(path)!r} is a link: a submission lies in real folders below {RESULTS}/")
    with storage_errors("read", folder):
        entries = sorted(folder.iterdir())
    for path in entries:
        if path.is_symlink() or not path.is_file():
            raise InputError(f"{str(path)!r} is no plain file: a submission is {', '.join(sorted(_HANDED_IN))}")
