"""``hf://org/repo[@revision]/sub/folder`` and ``hf://datasets/org/repo…``, read and printed.

The form is that of huggingface_hub's file system (its guide "Interact with the Hub through the Filesystem API"): a
revision with a slash in it is percent-encoded, except ``refs/pr/N`` and ``refs/convert/NAME``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, unquote

from ioi_bench.errors import InputError

__all__ = ["FORM", "HubAddress", "Kind"]

Kind = Literal["model", "dataset", "space"]
"""What a repository on the Hub is."""

FORM = "hf://org/repo, hf://org/repo/sub/folder or hf://org/repo@revision/sub/folder"

_SCHEME = "hf://"
_NAME = re.compile(r"[A-Za-z0-9_](?:[\w.-]*[\w])?", flags=re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_PREFIXES: dict[Kind, str] = {"model": "", "dataset": "datasets/", "space": "spaces/"}
_KINDS: dict[str, Kind] = {"datasets": "dataset", "spaces": "space"}
_RESERVED = (*_KINDS, "models", "buckets", "kernels")


@dataclass(frozen=True)
class HubAddress:
    """A folder, or a file, in a repository on the Hub.

    Attributes:
        repo: ``org/repo``.
        revision: a branch, a tag or a commit; None where none was given, which means ``main``.
        folder: with ``/``; empty for the whole repository.
        kind: what the repository is.

    >>> address = HubAddress.parse("hf://jbloom/GPT2-Small-SAEs-Reformatted@main/blocks.8.hook_resid_pre")
    >>> address.repo, address.revision, address.folder
    ('jbloom/GPT2-Small-SAEs-Reformatted', 'main', 'blocks.8.hook_resid_pre')
    >>> str(address.at("0" * 40))[:50]
    'hf://jbloom/GPT2-Small-SAEs-Reformatted@0000000000'
    >>> HubAddress.parse("hf://datasets/org/repo", ["dataset"]).page
    'datasets/org/repo'
    """

    repo: str
    revision: str | None = None
    folder: str = ""
    kind: Kind = "model"

    @property
    def page(self) -> str:
        """The path of the repository's page under the Hub's address."""
        return _PREFIXES[self.kind] + self.repo

    @property
    def asked(self) -> str:
        """The revision to ask the Hub for: always one by name, since a mirror need not know a default."""
        return self.revision or "main"

    @property
    def pinned(self) -> bool:
        """Whether the revision is a whole commit, which never moves."""
        return self.revision is not None and _COMMIT.fullmatch(self.revision) is not None

    def at(self, revision: str) -> HubAddress:
        """The same place at another revision."""
        return HubAddress(self.repo, revision, self.folder, self.kind)

    def __str__(self) -> str:
        revision = "" if self.revision is None else "@" + quote(self.revision, safe="")
        folder = f"/{self.folder}" if self.folder else ""
        return f"{_SCHEME}{self.page}{revision}{folder}"

    @classmethod
    def named(cls, repo: str, kind: Kind, revision: str = "main") -> HubAddress:
        """The repository ``org/repo``; no revision is kept of ``main``, which is what none means.

        Raises:
            InputError: no name of a repository or of a revision.
        """
        at = "" if revision == "main" else "@" + quote(revision, safe="")
        address = cls.parse(f"{_SCHEME}{_PREFIXES[kind]}{repo}{at}", [kind])
        if address.folder or "@" in repo:
            raise _bad(repo, "a name of a repository is wanted here, without a revision or a folder", [kind])
        return address

    @classmethod
    def parse(cls, text: str, kinds: Sequence[Kind] = ("model",)) -> HubAddress:
        """Read an address.

        Args:
            text: ``hf://org/repo[@revision][/sub/folder]``, with ``datasets/`` or ``spaces/`` before ``org``.
            kinds: which kinds of repository will do.

        Raises:
            InputError: it is not of the form; the message names the form and what is wrong.
        """
        if not text.startswith(_SCHEME):
            raise _bad(text, f"it does not begin with {_SCHEME}", kinds)
        if not text.isprintable() or "\\" in text:
            raise _bad(text, "it holds a backslash or a character that cannot be printed", kinds)
        org, _, rest = text.removeprefix(_SCHEME).partition("/")
        kind = _KINDS.get(org, "model")
        if kind not in kinds or (org in _RESERVED and org not in _KINDS):
            raise _bad(
                text, f"only {' and '.join(kinds)} repositories are meant here, and it names another kind", kinds
            )
        if org in _KINDS:
            org, rest = _take(rest)
        repo, rest = _take(rest)
        repo, at, revision = repo.partition("@")
        for part in (org, repo):
            if not _NAME.fullmatch(part) or ".." in part or "--" in part:
                raise _bad(text, f"{part!r} is no name of an organisation or a repository", kinds)
        if at:
            revision, rest = _revision(text, revision, rest)
        folder = rest.removesuffix("/")
        if folder and any(part in ("", ".", "..") for part in folder.split("/")):
            raise _bad(text, f"the folder {folder!r} has an empty part, or one that leaves the repository", kinds)
        return cls(f"{org}/{repo}", revision if at else None, folder, kind)


def _take(path: str) -> tuple[str, str]:
    """The first part of a path and the rest."""
    first, _, rest = path.partition("/")
    return first, rest


def _revision(text: str, first: str, rest: str) -> tuple[str, str]:
    """The revision that begins with ``first``, and what is left of the path."""
    if first == "refs":
        kind, after = _take(rest)
        name, after = _take(after)
        if kind not in ("pr", "convert") or not name:
            raise _bad(text, "a revision under refs/ is refs/pr/NUMBER or refs/convert/NAME")
        return f"refs/{kind}/{name}", after
    revision = unquote(first)
    parts = revision.split("/")
    if not revision.isprintable() or any(part in ("", ".", "..") for part in parts) or revision.startswith("-"):
        raise _bad(text, f"{revision!r} is no name of a branch, a tag or a commit")
    return revision, rest


def _bad(text: str, why: str, kinds: Sequence[Kind] = ("model",)) -> InputError:
    form = FORM.replace(_SCHEME, _SCHEME + _PREFIXES[kinds[0]])
    return InputError(f"{text!r} is not an address on the Hub: {why}. Write {form}")
