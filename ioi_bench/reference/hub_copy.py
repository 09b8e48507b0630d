"""The reference suites on the Hub: which manifest is trusted, what is fetched, what the cache holds of it.

A suite that the bundled manifest names is checked against the bundled hashes, wherever its files come from: whoever can
write to the repository cannot swap it. Only for names that came later is the repository's own manifest taken, at a
fixed commit; that protects against a damaged copy, and not against the repository's owner.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING

from ioi_bench.errors import HubUnavailableError, SuiteError, UnknownNameError
from ioi_bench.reference.bundled import bundled_manifest
from ioi_bench.reference.files import differing
from ioi_bench.reference.manifest import MANIFEST, Manifest, ReferenceSuite

if TYPE_CHECKING:
    from ioi_bench.hub.download import Progress

__all__ = ["REPO", "Trusted", "all_names", "cached_folder", "fetch", "hub_manifest", "trusted"]

REPO = "ioi-bench/reference-saes"
"""Where the suites are by default."""


@dataclass(frozen=True)
class Trusted:
    """The records that files are checked against.

    Attributes:
        suites: by name, in the order asked for.
        revision: where the files are fetched: the commit, where the Hub's manifest was read for it.
    """

    suites: dict[str, ReferenceSuite]
    revision: str


def hub_manifest(repo: str, revision: str, progress: Progress | None = None) -> tuple[Manifest, str]:
    """The manifest in a repository, and the commit that it was read at.

    Raises:
        InputError: no such repository or revision, or no manifest in it that can be read.
        HubUnavailableError: no answer, and the cache does not hold it.
    """
    from ioi_bench.hub.snapshot import snapshot

    found = snapshot(repo, kind="model", revision=revision, patterns=[MANIFEST], progress=progress)
    return Manifest.read(found.folder / MANIFEST, f"hf://{repo}@{found.commit}/{MANIFEST}"), found.commit


def all_names(repo: str, revision: str, progress: Progress | None = None) -> tuple[str, ...]:
    """The names of all suites in a repository; of the bundled ones, where it gives no answer.

    Raises:
        InputError: as `hub_manifest`.
    """
    try:
        return tuple(hub_manifest(repo, revision, progress)[0].suites)
    except HubUnavailableError:
        return tuple(bundled_manifest().suites)


def trusted(names: Sequence[str], repo: str, revision: str, progress: Progress | None = None) -> Trusted:
    """The record of each name; the Hub is asked only about names that are not bundled.

    Raises:
        UnknownNameError: no such suite, bundled or there; the message names near misses.
        InputError, HubUnavailableError: as `hub_manifest`.
    """
    bundled = bundled_manifest()
    if all(name in bundled.suites for name in names):
        return Trusted({name: bundled.suites[name] for name in names}, revision)
    new = [name for name in names if name not in bundled.suites]
    try:
        there, commit = hub_manifest(repo, revision, progress)
    except HubUnavailableError as error:
        unknown = UnknownNameError("bundled suite", new[0], bundled.suites)
        raise HubUnavailableError(f"{unknown} And the Hub cannot be asked: {error}") from error
    everything = Manifest(suites={**there.suites, **bundled.suites})
    return Trusted({name: everything.suite(name) for name in names}, commit)


def fetch(suites: dict[str, ReferenceSuite], repo: str, revision: str, progress: Progress | None) -> tuple[Path, str]:
    """Fetch suites where the cache lacks them, and check every file, also those that were cached.

    A file that is not the right one is dropped from the cache and fetched once more, for it may have been damaged
    there; if that does not help, it is dropped again.

    Returns:
        The snapshot's folder, and the commit.

    Raises:
        SuiteError: a file is missing there, or is not what the manifest names.
        HubUnavailableError: no answer, and the cache does not hold sound copies of all.
        InputError, StorageError: as `ioi_bench.hub.snapshot.snapshot`.
    """
    from ioi_bench.hub.snapshot import snapshot

    patterns = [escape(path) for suite in suites.values() for path in suite.file_paths]
    for _ in range(2):
        found = snapshot(repo, kind="model", revision=revision, patterns=patterns, progress=progress)
        wrong = _wrong(found.folder, suites)
        if not wrong:
            return found.folder, found.commit
        if found.from_cache:  # nothing is dropped: it may be another version, which cannot be fetched again now
            raise HubUnavailableError(
                f"the Hub gives no answer, and the cache holds no sound copy: {next(iter(wrong.values()))}"
            )
        for path in wrong:
            _forget(found.folder / path)
    path, said = next(iter(wrong.items()))
    more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
    raise SuiteError(
        f"hf://{repo}@{found.commit}/{path} is refused{more}, and was not kept: {said}. It is of another version, or "
        "was tampered with: give the --revision that belongs to this ioi-bench, upgrade ioi-bench, or take the bundled "
        "suite (`ioi-bench reference list` shows where it lies)"
    )


def _wrong(folder: Path, suites: dict[str, ReferenceSuite]) -> dict[str, str]:
    """Paths in the repository that are not what the manifest names, and why."""
    return {
        f"{suite.path}/{name}": said
        for suite in suites.values()
        for name, said in differing(folder / suite.path, suite).items()
    }


def _forget(path: Path) -> None:
    """Drop a file from the cache, where it is a link to a blob.

    Somebody else's cache keeps it; then the next pull checks, and refuses, it again.
    """
    with suppress(OSError):
        path.resolve().unlink(missing_ok=True)
        path.unlink(missing_ok=True)


def cached_folder(suite: ReferenceSuite, repo: str, revision: str) -> Path | None:
    """Where the cache holds all files of a suite, as they were at the revision when it was last asked for."""
    from huggingface_hub import try_to_load_from_cache

    asked = (try_to_load_from_cache(repo, path, revision=revision) for path in suite.file_paths)
    found = [Path(path) for path in asked if isinstance(path, str)]
    return found[0].parent if len(found) == len(suite.files) else None
