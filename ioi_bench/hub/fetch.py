"""Fetching dictionaries from the Hub: what is there, how large it is, then only what a loader reads.

The revision is resolved to a commit first, so that a card says what was scored even if the branch moves on. Where the
Hub does not answer, the cache does, if it holds everything.
"""

from __future__ import annotations

from pathlib import Path

from ioi_bench.dictionaries.source import Source
from ioi_bench.errors import SuiteError, UnknownNameError
from ioi_bench.hub.address import HubAddress
from ioi_bench.hub.download import MAX_DOWNLOAD_BYTES, Progress, cached, download, listing, warn_cached
from ioi_bench.hub.failures import explain, is_passing
from ioi_bench.hub.selection import SKIPPED, patterns, select
from ioi_bench.hub.tokens import check_token, guarded_logs, shown

__all__ = ["MAX_DOWNLOAD_BYTES", "open_hub"]


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
    check_token()
    try:
        with guarded_logs():
            commit, sizes = listing(address)
    except Exception as error:
        if is_passing(error) and (found := _cached(address, error)) is not None:
            return found
        raise explain(address, error) from shown(error)
    folder, names = select(sizes, address)
    if not names:
        raise SuiteError(f"{address} holds nothing that a loader reads: give the folder with the weights")
    snapshot = download(address, commit, {name: sizes[name] for name in names}, patterns(names), progress)
    return _source(address.at(commit), snapshot, folder, names)


def _cached(address: HubAddress, error: Exception) -> Source | None:
    """What the cache holds, where it holds all of it; None otherwise."""
    place = patterns([address.folder])[0]
    wanted = [place, f"{place}/*"] if address.folder else None
    snapshot = cached(address, allow_patterns=wanted, ignore_patterns=list(SKIPPED))
    if snapshot is None:
        return None
    here = (path for path in snapshot.rglob("*") if path.is_file())
    try:
        folder, names = select({path.relative_to(snapshot).as_posix() for path in here}, address)
    except UnknownNameError:  # not in the cache: the error that led here says more
        return None
    if not names:
        return None
    warn_cached(address, snapshot, error, stacklevel=3)
    return _source(address.at(snapshot.name), snapshot, folder, names)


def _source(address: HubAddress, snapshot: Path, folder: str, names: tuple[str, ...]) -> Source:
    path = snapshot / folder if folder else snapshot
    if list(names) == [address.folder]:  # one file, as a local one is given
        return Source(snapshot / address.folder, str(address), address.revision)
    inside = tuple(name.removeprefix(f"{folder}/") if folder else name for name in names)
    return Source(path, str(address), address.revision, inside)
