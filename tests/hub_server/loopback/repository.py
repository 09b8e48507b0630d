"""A repository as the Hub keeps one: commits addressed by their content, refs, pull requests and large files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

LARGE = ("*.safetensors", "*.parquet", "*.arrow", "*.pt", "*.bin", "*.npz", "*.zip", "*.png")
"""Names kept as large files, as the Hub's own .gitattributes has them; others are so from 10 MB on."""

LARGE_BYTES = 10 * 10**6
DATE = "2026-01-02T03:04:05.000Z"  # of everything: the same content has the same hashes


@dataclass(frozen=True)
class File:
    """A file in a commit. ``oid`` is git's: of the content, or, of a large file, of its pointer."""

    data: bytes = field(repr=False)
    large: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def pointer(self) -> bytes:
        """https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md"""
        oid = f"oid sha256:{self.sha256}\n"
        return f"version https://git-lfs.github.com/spec/v1\n{oid}size {len(self.data)}\n".encode()

    @property
    def oid(self) -> str:
        data = self.pointer if self.large else self.data
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.large else self.oid


@dataclass(frozen=True)
class Commit:
    title: str
    description: str
    author: str
    parent: str | None
    files: Mapping[str, File] = field(repr=False)

    @property
    def oid(self) -> str:
        content = [self.title, self.description, self.author, self.parent]
        listed = sorted((name, file.oid) for name, file in self.files.items())
        return hashlib.sha1(json.dumps([content, listed]).encode()).hexdigest()


@dataclass
class PullRequest:
    number: int
    title: str
    description: str
    author: str
    base: str
    status: str = "open"
    comments: list[tuple[str, str]] = field(default_factory=list)

    @property
    def revision(self) -> str:
        return f"refs/pr/{self.number}"


class Repository:
    """One repository; ``main`` begins with a commit that the Hub makes.

    Attributes:
        refs: full name (``refs/heads/main``, ``refs/tags/v1``, ``refs/pr/1``) to the commit's hash.
        large: sha256 to content of the large files that have arrived, committed or not.
        claimed: what the listing says of a file's size, instead of the truth.
        granted: who may read the files of a gated one.
    """

    def __init__(self, name: str, kind: str, *, private: bool = False, gated: bool = False) -> None:
        self.name, self.kind, self.private, self.gated = name, kind, private, gated
        self.refs: dict[str, str] = {}
        self.large: dict[str, bytes] = {}
        self.claimed: dict[str, int] = {}
        self.granted: set[str] = set()
        self.pull_requests: list[PullRequest] = []
        self._commits: dict[str, Commit] = {}
        attributes = "".join(f"{pattern} filter=lfs diff=lfs merge=lfs -text\n" for pattern in LARGE)
        first = File(attributes.encode(), large=False)
        self._add("refs/heads/main", Commit("initial commit", "", "system", None, {".gitattributes": first}))

    @property
    def page(self) -> str:
        return self.name if self.kind == "model" else f"{self.kind}s/{self.name}"

    @property
    def head(self) -> str:
        """The hash of the newest commit on ``main``."""
        return self.refs["refs/heads/main"]

    def ref(self, revision: str) -> str | None:
        """The full name of a branch, a tag or a pull request; None where there is none."""
        names = (f"refs/heads/{revision}", f"refs/tags/{revision}", revision)
        return next((name for name in names if name in self.refs), None)

    def at(self, revision: str = "main") -> Commit | None:
        if (ref := self.ref(revision)) is not None:
            return self._commits[self.refs[ref]]
        return self._commits.get(revision)

    def files(self, revision: str = "main") -> dict[str, bytes]:
        return {name: file.data for name, file in self._at(revision).files.items()}

    def commits(self, revision: str = "main") -> list[Commit]:
        """The newest first."""
        found = [self._at(revision)]
        while (parent := found[-1].parent) is not None:
            found.append(self._commits[parent])
        return found

    def _at(self, revision: str) -> Commit:
        commit = self.at(revision)
        assert commit is not None, f"{self.name} has no revision {revision!r}"
        return commit

    def write(self, files: Mapping[str, bytes], title: str = "files", revision: str = "main") -> Commit:
        """A commit of these files over those that are there, as its owner makes one."""
        new = {name: File(data, is_large(name, len(data))) for name, data in files.items()}
        return self.commit(new, title=title, author=self.name.partition("/")[0], revision=revision)

    def commit(
        self,
        files: Mapping[str, File],
        *,
        title: str,
        author: str,
        description: str = "",
        revision: str = "main",
        removed: tuple[str, ...] = (),
        pull_request: bool = False,
    ) -> Commit:
        """On a branch, or as a new pull request for it; ``removed`` are files, or folders that end with ``/``."""
        parent = self._at(revision)
        kept = {name: file for name, file in parent.files.items() if not _is_in(name, removed)}
        self.large |= {file.sha256: file.data for file in files.values() if file.large}
        commit = Commit(title, description, author, parent.oid, {**kept, **files})
        ref = self.ref(revision)
        assert ref is not None, "only a branch or a pull request is written to"
        if pull_request:
            number = len(self.pull_requests) + 1
            self.pull_requests.append(PullRequest(number, title, description, author, ref))
            ref = f"refs/pr/{number}"
        return self._add(ref, commit)

    def merge(self, number: int) -> None:
        """As an owner does on the page of a pull request: its head becomes that of its branch."""
        request = self.pull_requests[number - 1]
        proposed, base = self._at(request.revision), self._at(request.base)
        files = {**base.files, **proposed.files}
        self._add(request.base, Commit(f"{request.title} (#{number})", "", request.author, base.oid, files))
        request.status = "merged"

    def tag(self, name: str, revision: str = "main") -> None:
        self.refs[f"refs/tags/{name}"] = self._at(revision).oid

    def branch(self, name: str, revision: str = "main") -> None:
        self.refs[f"refs/heads/{name}"] = self._at(revision).oid

    def _add(self, ref: str, commit: Commit) -> Commit:
        self._commits[commit.oid] = commit
        self.refs[ref] = commit.oid
        return commit


def is_large(name: str, size: int) -> bool:
    return size > 0 and (size > LARGE_BYTES or any(fnmatchcase(name, pattern) for pattern in LARGE))


def _is_in(name: str, removed: tuple[str, ...]) -> bool:
    return any(name == place or (place.endswith("/") and name.startswith(place)) for place in removed)
