"""Uploads to the Hub: files in one commit, on a branch or as a pull request.

Large files go first, in groups, and the Hub keeps those that have arrived; the commit comes last and is all or
nothing. So an upload that broke off is simply run again, and one that was done is not done twice.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from ioi_bench.errors import InputError
from ioi_bench.hub.address import HubAddress, Kind
from ioi_bench.hub.download import Progress, megabytes
from ioi_bench.hub.failures import endpoint, explain_upload
from ioi_bench.hub.tokens import check_token, guarded_logs, shown, token, without_secrets

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, HfApi

__all__ = ["Uploaded", "upload"]

_TIMEOUT = 10.0  # seconds until a server that says nothing counts as unreachable
_GROUP_BYTES, _GROUP_FILES = 64 * 10**6, 64  # after so much, what has arrived is safe and progress is told
_MB = 10**6


@dataclass(frozen=True)
class Uploaded:
    """Where the files are.

    Attributes:
        commit: the one that was made, or, if all was there already, the one that holds it.
        url: the page of the pull request, or of the commit.
        pull_request: its number; None where there is none, also if one was asked for and the branch has it all.
        new: whether a commit was made. False if the branch, or an open pull request of the same title, has it all.
    """

    commit: str
    url: str
    pull_request: int | None
    new: bool = True


def upload(
    files: Mapping[str, Path | bytes],
    repo: str,
    *,
    kind: Kind,
    message: str,
    description: str = "",
    pull_request: bool = False,
    revision: str = "main",
    create: bool = False,
    progress: Progress | None = None,
) -> Uploaded:
    """Files in one commit, which is made wholly or not at all.

    Args:
        files: name in the repository, with ``/``, to a file or its content.
        repo: ``org/repo``.
        message: the first line of the commit, and the title of the pull request.
        description: what follows it.
        pull_request: open one, which needs no right to write; otherwise commit to the branch.
        revision: the branch to commit to, or that the pull request is for.
        create: make the repository if it is not there (a Space is static).
        progress: called with what is sent (its size said), megabytes done, and megabytes in all.

    Raises:
        InputError: no name of a repository or of a file; no such file; no token, one that is refused or has no right
            to do this; no such repository; contents that the Hub refuses.
        UnknownNameError: no such branch, with near misses.
        HubUnavailableError: no answer, too many requests, out of order: the message says what to do.
    """
    address = HubAddress.named(repo, kind, revision)
    check_token()
    if token() is None:
        raise InputError(
            f"{endpoint()} takes uploads only with a token: set HF_TOKEN, or run `hf auth login`; take one with the "
            f"right to {'open pull requests' if pull_request else 'write'} at {endpoint()}/settings/tokens"
        )
    sending = _Sending(address, _operations(files), pull_request, progress)
    with guarded_logs(), _no_bars(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*commit a data file", category=UserWarning)  # it is meant
        warnings.filterwarnings("ignore", message="Use 'content=", category=DeprecationWarning)  # the client's affair
        try:
            return sending.send(message, description, create)
        except Exception as error:
            said = explain_upload(address, error, pull_request=pull_request, committing=sending.committing)
            raise said from shown(error)


class _Sending:
    """One upload under way.

    Attributes:
        committing: whether the commit has been asked for.
    """

    def __init__(
        self,
        address: HubAddress,
        operations: list[CommitOperationAdd],
        pull_request: bool,
        progress: Progress | None,
    ) -> None:
        from huggingface_hub import HfApi

        self._api, self._address, self._operations = HfApi(), address, operations
        self._pull_request, self._progress = pull_request, progress
        self._repo: dict[str, Any] = {"repo_id": address.repo, "repo_type": address.kind}
        self.committing = False

    def send(self, message: str, description: str, create: bool) -> Uploaded:
        """All steps; errors are those of the client."""
        if create:
            sdk = "static" if self._address.kind == "space" else None
            self._api.create_repo(**self._repo, exist_ok=True, space_sdk=sdk)
        before = self._api.repo_info(**self._repo, revision=self._address.asked, timeout=_TIMEOUT).sha
        if self._pull_request and (open_one := self._open_pull_request(message)) is not None:
            return open_one
        self._send_large()
        self.committing = True
        done = self._api.create_commit(
            **self._repo,
            operations=self._operations,
            commit_message=message,
            commit_description=description,
            revision=self._address.asked,
            create_pr=self._pull_request,
        )
        url = without_secrets(done.pr_url or done.commit_url)
        return Uploaded(done.oid, url, done.pr_num, new=done.oid != before)

    def _send_large(self) -> None:
        """The files that the Hub keeps as large ones; it is asked which, and takes only those that it lacks."""
        sizes = [operation.upload_info.size for operation in self._operations]
        files = "1 file" if len(sizes) == 1 else f"{len(sizes)} files"
        what, done, total = f"uploading {files}, {megabytes(sum(sizes))}, to {self._address}", 0, sum(sizes) // _MB + 1
        for group in _groups(self._operations):
            self._tell(what, done // _MB, total)
            self._api.preupload_lfs_files(
                **self._repo,
                additions=group,
                revision=self._address.asked,
                create_pr=self._pull_request,
                free_memory=False,
            )
            done += sum(operation.upload_info.size for operation in group)
        self._tell(what, total, total)
        ignored = [one.path_in_repo for one in self._operations if getattr(one, "_should_ignore", False)]
        if ignored:  # the client would leave them out without a word
            names = ", ".join(ignored[:5]) + (", …" if len(ignored) > 5 else "")
            raise InputError(f"the .gitignore of {self._address} leaves out {names}: have it changed, or rename them")

    def _tell(self, what: str, done: int, total: int) -> None:
        if self._progress is not None:
            self._progress(what, done, total)

    def _open_pull_request(self, title: str) -> Uploaded | None:
        """An open one of that title with all of the content: of this upload, if its answer was lost."""
        found = self._api.get_repo_discussions(**self._repo, discussion_type="pull_request", discussion_status="open")
        for one in found:
            if one.title == title and _holds(self._api, self._address, f"refs/pr/{one.num}", self._operations):
                commit = self._api.repo_info(**self._repo, revision=f"refs/pr/{one.num}", timeout=_TIMEOUT).sha
                url = f"{endpoint()}/{self._address.page}/discussions/{one.num}"
                return Uploaded(str(commit), url, one.num, new=False)
        return None


def _operations(files: Mapping[str, Path | bytes]) -> list[CommitOperationAdd]:
    """What the client is to add, in order of the names."""
    from huggingface_hub import CommitOperationAdd

    if not files:
        raise InputError("there is nothing to upload: give at least one file")
    for name, content in files.items():
        path = PurePosixPath(name)
        if path.is_absolute() or str(path) != name or {"..", ".git"} & set(path.parts) or "\\" in name or name == ".":
            raise InputError(f"{name!r} is no name of a file in a repository: write it as folder/file.json")
        if isinstance(content, Path) and not content.is_file():
            raise InputError(f"cannot upload {name!r}: there is no file {str(content)!r}")
    try:
        return [CommitOperationAdd(path_in_repo=name, path_or_fileobj=files[name]) for name in sorted(files)]
    except OSError as error:
        raise InputError(f"cannot read {error.filename!r}, which is to be uploaded: {error.strerror}") from error


def _groups(operations: Sequence[CommitOperationAdd]) -> Iterator[list[CommitOperationAdd]]:
    group: list[CommitOperationAdd] = []
    for operation in operations:
        size = sum(one.upload_info.size for one in group)
        if group and (len(group) == _GROUP_FILES or size + operation.upload_info.size > _GROUP_BYTES):
            yield group
            group = []
        group.append(operation)
    yield group


def _holds(api: HfApi, address: HubAddress, revision: str, operations: Sequence[CommitOperationAdd]) -> bool:
    """Whether all files are there with the same content: by sha256 of large ones, by git's hash of others."""
    from huggingface_hub.hf_api import RepoFile
    from huggingface_hub.utils.sha import git_hash

    by_name = {operation.path_in_repo: operation for operation in operations}
    for start in range(0, len(operations), 500):  # the Hub takes at most 1,000 at once
        names = list(by_name)[start : start + 500]
        there = api.get_paths_info(address.repo, names, revision=revision, repo_type=address.kind)
        here = {entry.path: entry for entry in there if isinstance(entry, RepoFile)}
        for name in names:
            if (entry := here.get(name)) is None or entry.size != by_name[name].upload_info.size:
                return False
            if entry.lfs is not None:
                same = entry.lfs.sha256 == by_name[name].upload_info.sha256.hex()
            else:
                with by_name[name].as_file() as file:
                    same = entry.blob_id == git_hash(file.read())
            if not same:
                return False
    return True


@contextmanager
def _no_bars() -> Iterator[None]:
    """The client's own progress bars are off; ours tells."""
    from huggingface_hub import constants, utils

    bars: Any = utils  # documented there, though not marked as exported
    if constants.HF_HUB_DISABLE_PROGRESS_BARS is not None or bars.are_progress_bars_disabled():
        yield
        return
    bars.disable_progress_bars()
    try:
        yield
    finally:
        bars.enable_progress_bars()
