"""Fetching from the Hub: what is there, how large it is, then only that, into huggingface_hub's own cache.

The revision is resolved to a commit first, so that a card says what was scored even if the branch moves on. Where the
Hub does not answer, the cache does, if it holds everything.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ioi_bench.dictionaries.source import MAX_TENSOR_BYTES, Source
from ioi_bench.errors import HubUnavailableError, StorageError, SuiteError
from ioi_bench.hub.address import HubAddress
from ioi_bench.hub.failures import endpoint, explain, is_passing, reason_of
from ioi_bench.hub.selection import SKIPPED, patterns, select

__all__ = ["MAX_DOWNLOAD_BYTES", "open_hub"]

MAX_DOWNLOAD_BYTES = 64 * 2**30
"""What one address may fetch: twelve dictionaries of 131,072 features have 10 GB; some repositories have terabytes."""

_TIMEOUT = 10.0  # seconds until a server that says nothing counts as unreachable
_MB = 10**6

Progress = Callable[[str, int, int], None]


def open_hub(text: str, progress: Progress | None = None) -> Source:
    """The files that an address names, fetched where the cache lacks them.

    Args:
        text: ``hf://org/repo[@revision]/sub/folder``.
        progress: called with what is fetched (its size said), megabytes done, and megabytes in all.

    Returns:
        A source whose ``revision`` is the commit, and whose ``origin`` is the address with that commit in it.

    Raises:
        InputError: not an address; no such repository; gated, private, or a token that is refused.
        UnknownNameError: no such revision or folder, with near misses.
        SuiteError: a file, or all together, larger than what is read.
        HubUnavailableError: no answer, too many requests, or a broken download, and the cache does not hold it all.
        StorageError: the cache cannot be written, or has no space for it.
    """
    address = HubAddress.parse(text)
    try:
        commit, sizes = _listing(address)
    except Exception as error:
        if is_passing(error) and (cached := _cached(address, error)) is not None:
            return cached
        raise explain(address, error) from error
    folder, names = select(sizes, address)
    if not names:
        raise SuiteError(f"{address} holds nothing that a loader reads: give the folder with the weights")
    missing = {name: sizes[name] for name in names if not _is_cached(address.at(commit), name)}
    _check_sizes(address, {name: sizes[name] for name in names}, sum(missing.values()))
    with _reported(address, missing, progress) as bar:
        try:
            snapshot = _snapshot(address, allow_patterns=patterns(names), tqdm_class=bar)
        except Exception as error:
            raise _broken(address, error) from error
    if snapshot.name != commit or not all((snapshot / name).is_file() for name in names):
        raise HubUnavailableError(f"{address} changed, or the Hub fell silent, while it was fetched: run again")
    return _source(address.at(commit), snapshot, folder, names)


def _listing(address: HubAddress) -> tuple[str, dict[str, int]]:
    """The commit, and all files of the repository there with their sizes."""
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    api = HfApi()
    commit = api.model_info(address.repo, revision=address.asked, timeout=_TIMEOUT).sha
    assert commit is not None  # only listings of many repositories leave it out
    tree = api.list_repo_tree(address.repo, recursive=True, revision=commit)
    return commit, {entry.path: entry.size for entry in tree if isinstance(entry, RepoFile)}


def _snapshot(address: HubAddress, **options: Any) -> Path:
    """The cache's folder of the commit; with the requested revision, so that the cache remembers what it meant."""
    from huggingface_hub import snapshot_download

    found = snapshot_download(address.repo, revision=address.asked, etag_timeout=_TIMEOUT, **options)
    return Path(found)


def _cached(address: HubAddress, error: Exception) -> Source | None:
    """What the cache holds, where it holds all of it; None otherwise."""
    place = patterns([address.folder])[0]
    wanted = [place, f"{place}/*"] if address.folder else None
    try:
        snapshot = _snapshot(address, allow_patterns=wanted, ignore_patterns=list(SKIPPED), local_files_only=True)
        here = (path for path in snapshot.rglob("*") if path.is_file())
        folder, names = select({path.relative_to(snapshot).as_posix() for path in here}, address)
    except Exception:  # not there, or not whole: the error that led here says more
        return None
    if not names:
        return None
    pinned = address.at(snapshot.name)
    if not address.pinned:
        warnings.warn(f"{endpoint()} gave no answer ({reason_of(error)}): {pinned} is from the cache", stacklevel=3)
    return _source(pinned, snapshot, folder, names)


def _source(address: HubAddress, snapshot: Path, folder: str, names: tuple[str, ...]) -> Source:
    path = snapshot / folder if folder else snapshot
    if list(names) == [address.folder]:  # one file, as a local one is given
        return Source(snapshot / address.folder, str(address), address.revision)
    inside = tuple(name.removeprefix(f"{folder}/") if folder else name for name in names)
    return Source(path, str(address), address.revision, inside)


def _check_sizes(address: HubAddress, sizes: dict[str, int], missing: int) -> None:
    """Refuse before the download what would be refused after it, or would not fit."""
    from huggingface_hub import constants

    for name, size in sizes.items():
        if size > MAX_TENSOR_BYTES:
            raise SuiteError(f"{name!r} in {address} has {size:,} bytes; at most {MAX_TENSOR_BYTES:,} are read")
    if (total := sum(sizes.values())) > MAX_DOWNLOAD_BYTES:
        raise SuiteError(
            f"{address} has {_megabytes(total)} in {len(sizes)} files; at most {_megabytes(MAX_DOWNLOAD_BYTES)} are "
            "fetched at once: name a folder in it"
        )
    cache = Path(constants.HF_HUB_CACHE)
    existing = next(folder for folder in (cache, *cache.absolute().parents) if folder.exists())
    if missing > (free := shutil.disk_usage(existing).free):
        raise StorageError(
            f"{address} needs {_megabytes(missing)} in {cache}, where {_megabytes(free)} are free: free some space, or "
            "point HF_HUB_CACHE elsewhere"
        )


def _is_cached(address: HubAddress, name: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(address.repo, name, revision=address.asked), str)


def _broken(address: HubAddress, error: Exception) -> Exception:
    """A download that did not end: whole files are kept, so it goes on where it stopped."""
    said = explain(address, error)
    if isinstance(said, HubUnavailableError) and is_passing(error):
        return HubUnavailableError(
            f"the download of {address} broke off ({reason_of(error)}): run again, the files that are whole are kept"
        )
    return said


def _megabytes(size: int) -> str:
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
    what = f"fetching {files}, {_megabytes(total)}, from {address}"
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
