"""The Hub as tests see it: its repositories, its users, what was asked of it, and what it is to do wrong."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from loopback.repository import Commit, PullRequest, Repository

# What a refusing Hub answers: status and headers, as `hf_raise_for_status` of huggingface_hub documents them.
Answer = tuple[int, dict[str, str]]
GATED: Answer = (403, {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access to model org/repo is restricted."})
GATED_TO_NOBODY: Answer = (
    401,
    {"X-Error-Code": "GatedRepo", "X-Error-Message": "You must be authenticated to access it."},
)
NO_REPOSITORY: Answer = (401, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
NO_REPOSITORY_FOR_YOU: Answer = (404, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
NO_REVISION: Answer = (404, {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "Invalid rev id"})
NO_ENTRY: Answer = (404, {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"})
BAD_TOKEN: Answer = (401, {"X-Error-Message": "Invalid credentials in Authorization header"})
NO_TOKEN: Answer = (401, {"X-Error-Message": "Invalid username or password."})
FORBIDDEN: Answer = (403, {"X-Error-Message": "Your token has no right to do this"})
PROPOSE_INSTEAD: Answer = (
    403,
    {"X-Error-Message": "Forbidden: pass `create_pr=1` as a query parameter to create a Pull Request"},
)
TOO_MANY: Answer = (429, {"Retry-After": "7", "X-Error-Message": "Too many requests"})
BROKEN: Answer = (500, {"X-Error-Message": "Internal Error - We're working hard to fix this as soon as possible!"})
OUT_OF_ORDER: Answer = (503, {})
NOT_NOW: Answer = (501, {})  # as out of order, but the client does not wait and try again


@dataclass(frozen=True)
class User:
    """Who a token stands for.

    Attributes:
        role: of the token (https://huggingface.co/docs/hub/security-tokens): ``read`` may only read; ``write`` may
            write to what the user's organisations have, and open pull requests anywhere.
    """

    name: str
    role: str = "write"
    orgs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Request:
    """One that came.

    Attributes:
        endpoint: its name, as `Hub.fail` takes it.
        size: bytes of its body.
    """

    method: str
    path: str
    endpoint: str
    token: str | None = field(repr=False)
    range: str | None
    size: int


@dataclass
class Fault:
    """See `Hub.fail`."""

    endpoint: str | None
    answer: Answer | None
    times: int | None
    after: int
    cut: int | None
    seconds: float
    lost: bool

    def strikes(self, endpoint: str, method: str) -> bool:
        """Whether it is this request's turn; a request that it could strike counts."""
        if self.endpoint not in (None, endpoint) or self.times == 0 or (self.cut is not None and method == "HEAD"):
            return False
        if self.after:
            self.after -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return True


class Hub:
    """A Hub; `serve` answers for it at ``url``.

    Attributes:
        tokens: token to user. Any other that is sent is refused, none at all is a visitor.
        requests: all that came, in order.
        redirects: whether large files are elsewhere, as on the Hub: another origin, which is sent no token.
    """

    def __init__(self) -> None:
        self.url = self.storage = ""
        self.tokens: dict[str, User] = {}
        self.requests: list[Request] = []
        self.redirects = True
        self.faults: list[Fault] = []
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.lock = threading.RLock()

    def repository(
        self,
        name: str,
        kind: str = "model",
        files: Mapping[str, bytes] | None = None,
        *,
        private: bool = False,
        gated: bool = False,
    ) -> Repository:
        """Make one, with these files in a second commit."""
        made = self.repositories[kind, name] = Repository(name, kind, private=private, gated=gated)
        if files:
            made.write(files)
        return made

    def find(self, name: str, kind: str | None = None) -> Repository:
        (found,) = (one for key, one in self.repositories.items() if key[1] == name and kind in (None, key[0]))
        return found

    def commits(self, name: str, revision: str = "main", kind: str | None = None) -> list[Commit]:
        """The newest first; the last is the Hub's own, of an empty repository."""
        return self.find(name, kind).commits(revision)

    def files(self, name: str, revision: str = "main", kind: str | None = None) -> dict[str, bytes]:
        """All files but .gitattributes."""
        found = self.find(name, kind).files(revision)
        return {path: data for path, data in found.items() if path != ".gitattributes"}

    def pull_requests(self, name: str, kind: str | None = None) -> list[PullRequest]:
        """The oldest first, number 1; the files are at ``refs/pr/1``."""
        return self.find(name, kind).pull_requests

    def fail(
        self,
        endpoint: str | None,
        answer: Answer | None = None,
        *,
        times: int | None = None,
        after: int = 0,
        cut: int | None = None,
        seconds: float = 0.0,
        lost: bool = False,
    ) -> None:
        """What is to go wrong from now on, until `heal`.

        Args:
            endpoint: whoami, create, validate-yaml, info, tree, refs, commits, paths-info, preupload, commit,
                discussions, discussion, comment, lfs-batch, lfs-put, lfs-verify, lfs-get, resolve; None for all.
            answer: what is answered instead: status and headers.
            times: how often; always without.
            after: how many requests to the endpoint pass first.
            cut: the connection ends after so many bytes: of the body received by PUT and POST, of that sent by GET.
            seconds: how long the answer takes.
            lost: all is done, but the connection ends without an answer.
        """
        self.faults.append(Fault(endpoint, answer, times, after, cut, seconds, lost))

    def heal(self) -> None:
        """From now on all is well."""
        self.faults.clear()

    def asked(self, endpoint: str) -> list[Request]:
        """The requests to an endpoint."""
        return [request for request in self.requests if request.endpoint == endpoint]

    def fetched(self) -> list[str]:
        """Names of the files whose content was asked for."""
        paths = (one.path.split("/resolve/", 1)[1] for one in self.asked("resolve") if one.method == "GET")
        direct = {path.split("/", 1)[1] for path in paths}
        stored = {one.path.rsplit("/", 1)[1] for one in self.asked("lfs-get") if one.method == "GET"}
        names = {
            name
            for repository in self.repositories.values()
            for ref in repository.refs.values()
            for name, file in repository.commits(ref)[0].files.items()
            if file.large and file.sha256 in stored
        }
        return sorted(direct | names)

    def ranges(self) -> list[str]:
        return [one.range for one in self.requests if one.method == "GET" and one.range]

    def environment(self, home: Path, token: str | None = None) -> dict[str, str]:
        """For a process whose client is to talk to this Hub alone, with a cache of its own."""
        own = {"HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
        return {**own, "NO_PROXY": "127.0.0.1,localhost", **({} if token is None else {"HF_TOKEN": token})}
