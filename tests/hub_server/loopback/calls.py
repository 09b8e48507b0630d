"""What an endpoint is given, what it may refuse, and who may do what."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from loopback.hub import (
    FORBIDDEN,
    GATED,
    GATED_TO_NOBODY,
    NO_REPOSITORY,
    NO_REPOSITORY_FOR_YOU,
    NO_REVISION,
    NO_TOKEN,
    PROPOSE_INSTEAD,
    Answer,
    Hub,
    User,
)
from loopback.repository import Commit, Repository


class Refused(Exception):
    """The Hub answers with this, and with what is in ``more`` beside the error, and nothing is done."""

    def __init__(self, answer: Answer, **more: str) -> None:
        super().__init__(answer)
        self.answer, self.more = answer, more


def refused(status: int, message: str, **more: str) -> Refused:
    return Refused((status, {"X-Error-Message": message}), **more)


@dataclass(frozen=True)
class Content:
    """An answer that is a file; with status 302 it is elsewhere."""

    data: bytes
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 200


@dataclass
class Call:
    """A request to an endpoint.

    Attributes:
        names: what its path names: kind, repo, revision, path, number, oid.
        query: what stands behind the ``?``.
        answered: headers for the answer.
    """

    hub: Hub
    names: dict[str, str]
    query: dict[str, list[str]]
    headers: Mapping[str, str]
    body: bytes
    token: str | None
    answered: dict[str, str] = field(default_factory=dict)

    @property
    def user(self) -> User | None:
        return None if self.token is None else self.hub.tokens[self.token]

    def json(self) -> Any:
        return json.loads(self.body)

    def asks(self, name: str, default: str = "") -> str:
        return self.query.get(name, [default])[0]

    def repository(self) -> Repository:
        """The one that the path names, if whoever asks may see it."""
        found = self.hub.repositories.get((self.names.get("kind", "model"), self.names["repo"]))
        if found is None or (found.private and not self._is_member(found.name)):
            raise Refused(NO_REPOSITORY if self.user is None else NO_REPOSITORY_FOR_YOU)
        return found

    def commit(self, repository: Repository) -> Commit:
        """The one at the revision that the path names."""
        if (commit := repository.at(self.names.get("revision", "main"))) is None:
            raise Refused(NO_REVISION)
        return commit

    def check_files(self, repository: Repository) -> None:
        """Whether whoever asks may read the files of a gated repository."""
        if repository.gated and not self._is_member(repository.name):
            if self.user is None:
                raise Refused(GATED_TO_NOBODY)
            if self.user.name not in repository.granted:
                raise Refused(GATED)

    def check_write(self, repository: str, *, propose: bool, own: str | None = None) -> User:
        """Who writes, if they may: a pull request needs a token to write with, a branch the organisation too.

        Args:
            own: whose the branch is, if it is that of a pull request.
        """
        if self.user is None:
            raise Refused(NO_TOKEN)
        if self.user.role != "write":
            raise Refused(FORBIDDEN)
        if not propose and not self._is_member(repository) and own != self.user.name:
            raise Refused(PROPOSE_INSTEAD)
        return self.user

    def _is_member(self, repository: str) -> bool:
        org = repository.partition("/")[0]
        return self.user is not None and org in (self.user.name, *self.user.orgs)
