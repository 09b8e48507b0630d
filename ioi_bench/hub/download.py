"""Downloads into huggingface_hub's own cache: what is there and how large, then what is missing, or what is cached."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ioi_bench.dictionaries.source import MAX_TENSOR_BYTES
from ioi_bench.errors import HubUnavailableError, StorageError, SuiteError
from ioi_bench.hub.address import HubAddress
from ioi_bench.hub.failures import endpoint, explain, is_passing, reason_of
from ioi_bench.hub.tokens import guarded_logs, shown

__all__ = ["MAX_DOWNLOAD_BYTES", "Progress", "cached", "download", "listing", "megabytes", "warn_cached"]

MAX_DOWNLOAD_BYTES = 64 * 2**30
"""What one address may fetch: twelve dictionaries of 131,072 features have 10 GB; some repositories have terabytes."""

_TIMEOUT = 10.0  # seconds until a server that says nothing counts as unreachable
_MB = 10**6

Progress = Callable[[str, int, int], None]
"""Called with what is done (its size said), megabytes done, and megabytes in all."""


def listing(address: HubAddress) -> tuple[str, dict[str, int]]:
    """The commit, and all files of the repository there with their sizes; errors are those of the client."""
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    api = HfApi()
    commit = api.repo_info(address.repo, revision=address.asked, repo_type=address.kind, timeout=_TIMEOUT).sha
    assert commit is not None  # only listings of many repositories leave it out
    tree = api.list_repo_tree(address.repo, recursive=True, revision=commit, repo_type=address.kind)
    return commit, {entry.path: entry.size for entry in tree if isinstance(entry, RepoFile)}


def download(
    address: HubAddress, commit: str, sizes: dict[str, int], patterns: Sequence[str] | None, progress: Progress | None
) -> Path:
    """The cache's folder of the commit, with all files of ``sizes`` in it, fetched where the cache lacks them.

    Args:
        patterns: of huggingface_hub, which match these files alone; None for all of the repository.

    Raises:
        SuiteError: a file, or all together, larger than what is read.
        HubUnavailableError: the download broke off.
        StorageError: the cache cannot be written, or has no space for it.
    """
    missing = {name: size for name, size in sizes.items() if not _is_cached(address.at(commit), name)}
    _check_sizes(address, sizes, sum(missing.values()))
    with _reported(address, missing, progress) as bar, guarded_logs():
        try:
            folder = _snapshot(address, allow_patterns=patterns, tqdm_class=bar)
        except Exception as error:
            raise _broken(address, error) from shown(error)
    if folder.name != commit or not all((folder / name).is_file() for name in sizes):
        raise HubUnavailableError(f"{address} changed, or the Hub fell silent, while it was fetched: run again")
    return folder


def cached(address: HubAddress, **patterns: Any) -> Path | None:
    """The cache's folder, where it holds all that the patterns match; None otherwise.

    Args:
        patterns: ``allow_patterns`` and ``ignore_patterns`` of huggingface_hub.
    """
    try:
        return _snapshot(address, local_files_only=True, **patterns)
    except Exception:  # not there, or not whole: the error that led here says more
        return None


def warn_cached(address: HubAddress, folder: Path, error: Exception, stacklevel: int) -> None:
    """Say that a branch or a tag is from the cache; a commit cannot have moved: nothing to warn of."""
    if not address.pinned:
        said = f"{endpoint()} gave no answer ({reason_of(error)}): {address.at(folder.name)} is from the cache"
        warnings.warn(said, stacklevel=stacklevel + 1)


def _snapshot(address: HubAddress, **options: Any) -> Path:
    """The cache's folder of the commit; with the requested revision, so that the cache remembers what it meant."""
    from huggingface_hub import snapshot_download

    repo, revision, kind = address.repo, address.asked, address.kind
    return Path(snapshot_download(repo, revision=revision, repo_type=kind, etag_timeout=_TIMEOUT, **options))


def _check_sizes(address: HubAddress, sizes: dict[str, int], missing: int) -> None:
    """Refuse before the download what would be refused after it, or would not fit."""
    from huggingface_hub import constants

    for name, size in sizes.items():
        if size > MAX_TENSOR_BYTES:
            raise SuiteError(f"{name!r} in {address} has {size:,} bytes; at most {MAX_TENSOR_BYTES:,} are read")
    if (total := sum(sizes.values())) > MAX_DOWNLOAD_BYTES:
        raise SuiteError(
            f"{address} has {megabytes(total)} in {len(sizes)} files; at most {megabytes(MAX_DOWNLOAD_BYTES)} are "
            "fetched at once: name a folder in it"
        )
    cache = Path(constants.HF_HUB_CACHE)
    existing = next(folder for folder in (cache, *cache.absolute().parents) if folder.exists())
    if missing > (free := shutil.disk_usage(existing).free):
        raise StorageError(
            f"{address} needs {megabytes(missing)} in {cache}, where {megabytes(free)} are free: free some space, or "
            "point HF_HUB_CACHE elsewhere"
        )


def _is_cached(address: HubAddress, name: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(address.repo, name, revision=address.asked, repo_type=address.kind)
    return isinstance(found, str)


def _broken(address: HubAddress, error: Exception) -> Exception:
    """A download that did not end: whole files are kept, so it goes on where it stopped."""
    said = explain(address, error)
    if isinstance(said, HubUnavailableError) and is_passing(error):
        return HubUnavailableError(
            f"the download of {address} broke off ({reason_of(error)}): run again, the files that are whole are kept"
        )
    return said


def megabytes(size: int) -> str:
    """A size in bytes, for people."""
    return f"{size / _MB:,.1f} MB"


@contextmanager
def _reported(address: HubAddress, missing: dict[str, int], progress: Progress | None) -> Iterator[type]:
    """A class that huggingface_hub reports to as to a tqdm bar; nothing is printed.

    Yields:
        The class. The client makes bars of bytes (received, written) and of files; those of bytes are passed on.
    """
    from tqdm.auto import tqdm

    total = sum(missing.values())
    files = "1 file" if len(missing) == 1 else f"{len(missing)} files"
    what = f"fetching {files}, {megabytes(total)}, from {address}"
    tell = progress if progress is not None and missing else _silent

    class Bar(tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self._bytes, self._done = kwargs.get("unit") == "B", 0
            kwargs.pop("name", None)  # of huggingface_hub's own bars; tqdm refuses it
            super().__init__(*args, **{**kwargs, "disable": True})

        def update(self, n: float | None = 1) -> None:
            self._done += int(n or 0)
            if self._bytes:
                tell(what, min(self._done, total) // _MB, total // _MB + 1)

    tell(what, 0, total // _MB + 1)
    yield Bar
    tell(what, total // _MB + 1, total // _MB + 1)


def _silent(what: str, done: int, total: int) -> None:
    """Nobody asked."""
