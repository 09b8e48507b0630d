"""``hf://org/repo[@revision]/sub/folder``, read and printed.

The form is that of huggingface_hub's file system (its guide "Interact with the Hub through the Filesystem API"): a
revision with a slash in it is percent-encoded, except ``refs/pr/N`` and ``refs/convert/NAME``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

from ioi_bench.errors import InputError

__all__ = ["FORM", "HubAddress"]

FORM = "hf://org/repo, hf://org/repo/sub/folder or hf://org/repo@revision/sub/folder"

_SCHEME = "hf://"
_NAME = re.compile(r"[A-Za-z0-9_](?:[\w.-]*[\w])?", flags=re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_KINDS = ("datasets", "spaces", "models", "buckets", "kernels")


@dataclass(frozen=True)
class HubAddress:
    """A folder, or a file, in a model repository on the Hub.

    Attributes:
        repo: ``org/repo``.
        revision: a branch, a tag or a commit; None where none was given, which means ``main``.
        folder: with ``/``; empty for the whole repository.

    >>> address = HubAddress.parse("hf://jbloom/GPT2-Small-SAEs-Reformatted@main/blocks.8.hook_resid_pre")
    >>> address.repo, address.revision, address.folder
    ('jbloom/GPT2-Small-SAEs-Reformatted', 'main', 'blocks.8.hook_resid_pre')
    >>> str(address.at("0" * 40))[:50]
    'hf://jbloom/GPT2-Small-SAEs-Reformatted@0000000000'
    """

    repo: str
    revision: str | None = None
    folder: str = ""

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
        return HubAddress(self.repo, revision, self.folder)

    def __str__(self) -> str:
        revision = "" if self.revision is None else "@" + quote(self.revision, safe="")
        folder = f"/{self.folder}" if self.folder else ""
        return f"{_SCHEME}{self.repo}{revision}{folder}"

    @classmethod
    def parse(cls, text: str) -> HubAddress:
        """Read an address.

        Raises:
            InputError: it is not of the form; the message names the form and what is wrong.
        """
        if not text.startswith(_SCHEME):
            raise _bad(text, f"it does not begin with {_SCHEME}")
        if not text.isprintable() or "\\" in text:
            raise _bad(text, "it holds a backslash or a character that cannot be printed")
        org, _, rest = text.removeprefix(_SCHEME).partition("/")
        if org in _KINDS:
            raise _bad(text, f"only model repositories are read, and {org!r} names another kind")
        repo, rest = _take(rest)
        repo, at, revision = repo.partition("@")
        for part in (org, repo):
            if not _NAME.fullmatch(part) or ".." in part or "--" in part:
                raise _bad(text, f"{part!r} is no name of an organisation or a repository")
        if at:
            revision, rest = _revision(text, revision, rest)
        folder = rest.removesuffix("/")
        if folder and any(part in ("", ".", "..") for part in folder.split("/")):
            raise _bad(text, f"the folder {folder!r} has an empty part, or one that leaves the repository")
        return cls(f"{org}/{repo}", revision if at else None, folder)


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


def _bad(text: str, why: str) -> InputError:
    return InputError(f"{text!r} is not an address on the Hub: {why}. Write {FORM}")
