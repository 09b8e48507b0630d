"""A pull request to a leaderboard on the Hub: what it changes, and the submissions that it adds, as files here."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ioi_bench.atomic import storage_errors
from ioi_bench.errors import InputError
from ioi_bench.hub.address import HubAddress
from ioi_bench.hub.failures import explain
from ioi_bench.hub.selection import patterns
from ioi_bench.hub.snapshot import snapshot
from ioi_bench.hub.tokens import guarded_logs, shown
from ioi_bench.leaderboard.allowed import PLUGINS
from ioi_bench.leaderboard.changes import Changes, changes

if TYPE_CHECKING:
    from ioi_bench.evaluation.data import Progress

__all__ = ["PullRequest", "fetch_pull_request"]

MAX_FILE_BYTES = 256 << 20
"""Of a file of a submission; the largest, all results per prompt of 5,000 prompts, has some tens of MB."""


@dataclass(frozen=True)
class PullRequest:
    """A pull request, fetched.

    Attributes:
        commit: its last one.
        changes: what it does since it left the main branch.
        folder: holds ``results/…`` with the submissions that it adds, if it has no faults, and the ``plugins.toml``
            that the leaderboard has now: where a pull request began is its author's choice.
    """

    commit: str
    changes: Changes
    folder: Path


def fetch_pull_request(repo: str, number: int, folder: Path, progress: Progress | None = None) -> PullRequest:
    """Compare a pull request with the commit that it began at, and copy what it adds into a folder.

    Args:
        repo: such as `DEFAULT_TARGET`.
        number: of the pull request.
        folder: for its submissions; files of an earlier fetch are replaced.

    Raises:
        InputError: no such leaderboard or pull request; `AccessError` among them.
        HubUnavailableError: the Hub gives no answer now.
        StorageError: the folder cannot be written.
    """
    address = HubAddress.parse(repo, ["dataset"]).at(f"refs/pr/{number}")
    with _explained(address):
        commit, base, now = _ends(address)
        before, _ = _tree(address.at(base))
        after, sizes = _tree(address.at(commit))
        rules, _ = _tree(address.at(now))
    found = changes(before, after, rules)
    names = [f"{added.as_posix()}/{name}" for added in found.added for name in _names(after, added.as_posix())]
    if large := [name for name in names if sizes[name] > MAX_FILE_BYTES]:
        found = Changes(found.added, (*found.faults, f"it adds {large[0]!r} with {sizes[large[0]]:,} bytes"))
    with storage_errors("delete", folder / PLUGINS):
        (folder / PLUGINS).unlink(missing_ok=True)  # of an earlier fetch; the leaderboard may have none any more
    if not found.faults and names:
        _take(address.at(commit), names, folder, progress)
        _take(address.at(now), [PLUGINS] if PLUGINS in rules else [], folder, progress)
    return PullRequest(commit, found, folder)


def _take(address: HubAddress, names: list[str], folder: Path, progress: Progress | None) -> None:
    if names:
        taken = snapshot(
            address.repo, kind="dataset", revision=address.asked, patterns=patterns(names), progress=progress
        )
        for name in names:
            _copy(taken.folder / name, folder / name)


def _names(tree: dict[str, str], folder: str) -> list[str]:
    return [name.removeprefix(f"{folder}/") for name in tree if name.startswith(f"{folder}/")]


def _copy(source: Path, target: Path) -> None:
    """The content: in the cache it is a link."""
    with storage_errors("write", target):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def _ends(address: HubAddress) -> tuple[str, str, str]:
    """The last commit of the pull request, the last of it that the main branch has, too, and that branch's last."""
    from huggingface_hub import HfApi

    api = HfApi()
    own, main = (
        [commit.commit_id for commit in api.list_repo_commits(address.repo, repo_type="dataset", revision=revision)]
        for revision in (address.asked, "main")
    )
    there = set(main)
    common = next((commit for commit in own if commit in there), None)
    if common is None:
        raise InputError(f"{address} has no commit in common with the main branch: it is no addition to it")
    return own[0], common, main[0]


def _tree(address: HubAddress) -> tuple[dict[str, str], dict[str, int]]:
    """Every file with its git object and its size."""
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    tree = HfApi().list_repo_tree(address.repo, recursive=True, revision=address.asked, repo_type="dataset")
    files = [entry for entry in tree if isinstance(entry, RepoFile)]
    return {file.path: file.blob_id for file in files}, {file.path: file.size for file in files}


@contextmanager
def _explained(address: HubAddress) -> Iterator[None]:
    try:
        with guarded_logs():
            yield
    except Exception as error:
        raise explain(address, error) from shown(error)
