"""A repository of any kind, or the files of it that patterns match, as a folder in huggingface_hub's cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ioi_bench.errors import InputError
from ioi_bench.hub.address import HubAddress, Kind
from ioi_bench.hub.download import Progress, cached, download, listing, warn_cached
from ioi_bench.hub.failures import explain, is_passing
from ioi_bench.hub.tokens import check_token, guarded_logs, shown

__all__ = ["Snapshot", "snapshot"]


@dataclass(frozen=True)
class Snapshot:
    """What a repository held at one commit.

    Attributes:
        folder: in the cache; files are links into it, to be read and never written. It may hold more files of the
            same commit than were asked for, if they were fetched before.
        commit: the whole hash, which fetches the same files for ever.
        from_cache: whether the Hub gave no answer, so that this is what the cache last knew.
        names: of all files that the repository has at the commit, fetched or not; empty where it comes from the cache.
    """

    folder: Path
    commit: str
    from_cache: bool
    names: tuple[str, ...] = ()


def snapshot(
    repo: str,
    *,
    kind: Kind,
    revision: str = "main",
    patterns: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Snapshot:
    """The files of a repository, fetched where the cache lacks them.

    Args:
        repo: ``org/repo``.
        revision: a branch, a tag, a commit, or ``refs/pr/N``.
        patterns: as of the shell, where ``*`` matches ``/`` too and a folder ends with ``/``; all files without.
        progress: called with what is fetched (its size said), megabytes done, and megabytes in all.

    Raises:
        InputError: no name of a repository; no such repository; gated, private, or a token that is refused; no file
            that a pattern matches.
        UnknownNameError: no such revision, with near misses.
        SuiteError: a file, or all together, larger than what is read.
        HubUnavailableError: no answer, too many requests, or a broken download, and the cache does not hold it all.
        StorageError: the cache cannot be written, or has no space for it.
    """
    from huggingface_hub.utils import filter_repo_objects  # type: ignore[attr-defined]  # documented there

    address = HubAddress.named(repo, kind, revision)
    wanted = None if patterns is None else list(patterns)
    check_token()
    try:
        with guarded_logs():
            commit, sizes = listing(address)
    except Exception as error:
        if is_passing(error) and (folder := cached(address, allow_patterns=wanted)) is not None:
            warn_cached(address, folder, error, stacklevel=2)
            return Snapshot(folder, folder.name, from_cache=True)
        raise explain(address, error) from shown(error)
    names = filter_repo_objects(sizes, allow_patterns=wanted)
    chosen = {name: sizes[name] for name in names}
    if not chosen:
        raise InputError(f"{address} holds no file{_matching(wanted)}: it has {len(sizes)} files at {commit}")
    folder = download(address, commit, chosen, wanted, progress)
    return Snapshot(folder, commit, from_cache=False, names=tuple(sizes))


def _matching(patterns: list[str] | None) -> str:
    return "" if patterns is None else " that matches " + " or ".join(map(repr, patterns))
