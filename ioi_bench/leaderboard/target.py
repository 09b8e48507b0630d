"""Where a submission goes: a leaderboard on one's own disk, or a data set on the Hub.

Both have the same files: ``plugins.toml`` and ``results/<track>/<org>__<name>/<suite hash>/``. Nothing in it is ever
replaced.
"""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ioi_bench.dictionaries.folder import write_folder
from ioi_bench.errors import InputError
from ioi_bench.hub.address import HubAddress
from ioi_bench.leaderboard.allowed import PLUGINS, AllowedPlugin, read_allowed
from ioi_bench.leaderboard.names import names_in
from ioi_bench.leaderboard.results import SUBMISSION

if TYPE_CHECKING:
    from ioi_bench.evaluation.data import Progress

__all__ = ["DEFAULT_TARGET", "RESULTS", "Sent", "Target", "open_target"]

DEFAULT_TARGET = "hf://datasets/ioi-bench/leaderboard"
RESULTS = "results"
_ALWAYS = "README.md"  # every leaderboard has it, so that something matches where nobody has submitted yet


@dataclass(frozen=True)
class Sent:
    """Where a submission is now: the page of its pull request, or its folder.

    ``new`` is false where it was there already, in an open pull request.
    """

    place: str
    new: bool = True


@dataclass(frozen=True)
class Target:
    """A leaderboard, with what it says of one suite.

    Attributes:
        name: as it was given.
        folder: where its files can be read: its own, or those of the Hub in the cache.
        address: on the Hub; None for one on this disk.
        allowed: plugins whose loaders it takes.
        names: ``ORG/NAME`` under which the suite is there already.
        known: ``ORG/NAME`` of everything that is there, on any track.
    """

    name: str
    folder: Path
    address: HubAddress | None
    allowed: tuple[AllowedPlugin, ...]
    names: tuple[str, ...]
    known: tuple[str, ...]

    def send(
        self, place: str, files: Mapping[str, bytes], title: str, description: str, progress: Progress | None = None
    ) -> Sent:
        """Write the files into a new folder ``place``, or open a pull request that adds them.

        Raises:
            InputError: the folder is there; or as `upload`.
            HubUnavailableError: as `upload`. StorageError: the folder cannot be written.
        """
        if self.address is None:
            folder = self.folder / place
            write_folder(folder, files, replace=False)
            return Sent(str(folder))
        from ioi_bench.hub.upload import upload

        done = upload(
            {f"{place}/{name}": content for name, content in files.items()},
            self.address.repo,
            kind="dataset",
            message=title,
            description=description,
            pull_request=True,
            revision=self.address.asked,
            progress=progress,
        )
        return Sent(done.url, done.new)


def open_target(given: str, track: str, suite_sha256: str, progress: Progress | None = None) -> Target:
    """The leaderboard, asked about one suite; of one on the Hub only what is needed is fetched.

    Args:
        given: ``hf://datasets/org/repo[@revision]``, or a folder, which need not exist yet.
        track: where the suite would stand.
        suite_sha256: the suite's hash.
        progress: told what is fetched.

    Raises:
        InputError: no such data set, a folder in one, or something that is no folder.
        HubUnavailableError: the Hub gives no answer now.
    """
    files: Sequence[str]
    if "://" not in given:
        folder, address = Path(given).expanduser(), None
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{given!r} is no folder: give the one that holds, or is to hold, {RESULTS}/")
        files = [path.relative_to(folder).as_posix() for path in (folder / RESULTS).glob(f"**/{SUBMISSION}")]
    else:
        folder, address, files = _fetched(given, track, suite_sha256, progress)
    track_folder = folder / RESULTS / track
    found = track_folder.glob(f"*/{suite_sha256}/{SUBMISSION}") if track_folder.is_dir() else ()
    names = tuple(sorted(path.parent.parent.name.replace("__", "/", 1) for path in found))
    known = names_in(name for name in files if name.startswith(f"{RESULTS}/"))
    return Target(given, folder, address, read_allowed(folder), names, known)


def _fetched(
    given: str, track: str, suite_sha256: str, progress: Progress | None
) -> tuple[Path, HubAddress, Sequence[str]]:
    """The folder in the cache with what is needed, the address, and the names of all files that the data set has."""
    from ioi_bench.errors import HubUnavailableError
    from ioi_bench.hub.snapshot import snapshot

    address = HubAddress.parse(given, ["dataset"])
    if address.folder:
        raise InputError(f"{given!r} names a folder: give the data set itself, hf://datasets/{address.repo}")
    same = f"{glob.escape(f'{RESULTS}/{track}')}/*/{suite_sha256}/{SUBMISSION}"
    found = snapshot(
        address.repo,
        kind="dataset",
        revision=address.asked,
        patterns=[_ALWAYS, PLUGINS, same],
        progress=progress,
    )
    if found.from_cache:
        raise HubUnavailableError(
            f"{given} gives no answer now, so that nobody can say whether the suite is there already: try again later"
        )
    return found.folder, address, found.names
