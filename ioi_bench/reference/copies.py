"""Which copies of which suites are meant, and the record that each is checked against."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ioi_bench.bounded import bounded_bytes, json_value
from ioi_bench.dictionaries.suite import MAX_HEADER_BYTES
from ioi_bench.errors import InputError, IoiBenchError
from ioi_bench.reference.bundled import bundled_folder
from ioi_bench.reference.hub_copy import REPO, cached_folder, trusted
from ioi_bench.reference.manifest import MANIFEST, Manifest, ReferenceSuite

__all__ = ["Copy", "find_copies"]

_HEADER = "suite.json"


@dataclass(frozen=True)
class Copy:
    """A suite somewhere on this machine.

    Attributes:
        where: ``bundled``, ``cached``, ``given`` for a path, or ``manifest`` for one beside a manifest that was given.
        folder: may be missing or damaged.
    """

    name: str
    suite: ReferenceSuite
    folder: Path
    where: str


def find_copies(
    given: Sequence[str], *, manifest: Path | None = None, repo: str = REPO, revision: str = "main"
) -> Iterator[Copy]:
    """The copies to check.

    Args:
        given: names of suites (their bundled and cached copies) and folders; by default all suites of the manifest.
        manifest: checked against this one, and nothing else is asked; by default against the bundled one, and for names
            that it lacks against the Hub's.
        repo: on the Hub.
        revision: a branch, a tag or a commit there.

    Raises:
        UnknownNameError: no such suite.
        InputError: a folder that is not there, or a suite that is not on this machine.
        HubUnavailableError: a name that only the Hub may know, and no answer.
    """
    path = bundled_folder() / MANIFEST if manifest is None else manifest
    known, root = Manifest.read(path), path.parent
    where = "bundled" if manifest is None else "manifest"
    for text in given or tuple(known.suites):
        if text in known.suites:
            suite = known.suites[text]
            yield Copy(text, suite, root / suite.path, where)
            if given and manifest is None and (folder := cached_folder(suite, repo, revision)) is not None:
                yield Copy(text, suite, folder, "cached")
        elif Path(text).exists():
            name = _name_of(Path(text))
            suite = known.suite(name) if manifest is not None else trusted([name], repo, revision).suites[name]
            yield Copy(name, suite, Path(text), "given")
        elif "/" in text or "\\" in text:
            raise InputError(f"there is nothing at {text!r}: give the name of a suite, or a folder that holds one")
        elif manifest is not None:
            known.suite(text)
        else:
            yield _only_cached(text, repo, revision)


def _only_cached(name: str, repo: str, revision: str) -> Copy:
    found = trusted([name], repo, revision)
    folder = cached_folder(found.suites[name], repo, found.revision)
    if folder is None:
        raise InputError(f"{name} is not on this machine: `ioi-bench reference pull {name} --repo {repo}` fetches it")
    return Copy(name, found.suites[name], folder, "cached")


def _name_of(folder: Path) -> str:
    """What the suite in a folder calls itself; the folder's name where its header cannot be read.

    Raises:
        InputError: not a folder.
    """
    if not folder.is_dir():
        raise InputError(f"{str(folder)!r} is not a folder: give one that holds suite.json and the weights")
    try:
        name = json_value(bounded_bytes(folder / _HEADER, MAX_HEADER_BYTES))["name"]
    except (IoiBenchError, ValueError, KeyError, TypeError):  # damaged: its hashes will say so
        name = None
    return name if isinstance(name, str) else folder.resolve().name
