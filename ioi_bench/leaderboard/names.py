"""Under which names suites stand: whose an organisation is, and one spelling for each name.

Nobody can show here that an organisation is theirs. That the weights lie in a repository of that organisation is the
nearest to it, and is told; capitals do not make another name, as they do not on the Hub.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import PurePosixPath

from ioi_bench.errors import InputError
from ioi_bench.hub.address import HubAddress
from ioi_bench.leaderboard.records import Check, Submission

__all__ = ["check_owner", "foreign_owner", "names_in", "other_spelling"]

_JOINED = "__"


def names_in(paths: Iterable[str]) -> tuple[str, ...]:
    """``ORG/NAME`` of every submission that has a file among these, sorted.

    >>> names_in(["README.md", "results/gpt2/my-lab__topk/00/card.json"])
    ('my-lab/topk',)
    """
    folders = {path.parts[-3] for path in map(PurePosixPath, paths) if len(path.parts) > 3}
    return tuple(sorted(folder.replace(_JOINED, "/", 1) for folder in folders if _JOINED in folder))


def other_spelling(name: str, there: Collection[str]) -> str | None:
    """How to write a name that is there already, or whose organisation is, with other capitals; None for all others.

    >>> other_spelling("My-Lab/topk", ["my-lab/relu"])
    'my-lab/topk'
    """
    if name in there:
        return None
    if same := next((one for one in there if one.casefold() == name.casefold()), None):
        return same
    org, _, own = name.partition("/")
    orgs = sorted({one.partition("/")[0] for one in there})
    if org in orgs:
        return None
    return next((f"{one}/{own}" for one in orgs if one.casefold() == org.casefold()), None)


def foreign_owner(submission: Submission) -> str | None:
    """What is to be told where the weights lie in a repository of somebody else than the name's organisation."""
    try:
        owner = HubAddress.parse(submission.suite).repo.partition("/")[0]
    except InputError:  # a path, which has no owner
        return None
    org = submission.name.partition("/")[0]
    if org.casefold() == owner.casefold():
        return None
    return (
        f"the name's organisation is not the owner of the weights' repository: {org!r} and {owner!r}; nothing shows "
        "that they are the same"
    )


def check_owner(submission: Submission) -> Check:
    """Told to readers, and refutes nothing: a suite may be handed in by others than who made it."""
    detail = foreign_owner(submission) or "no other owner of the weights' repository is known than the name's"
    return Check(name="organisation", passed=True, detail=detail)
