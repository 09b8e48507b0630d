"""The reference suites with their scores, and where copies of them lie on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from ioi_bench.bounded import bounded_bytes, json_value
from ioi_bench.dictionaries.suite import MAX_HEADER_BYTES
from ioi_bench.errors import IoiBenchError
from ioi_bench.reference.bundled import bundled_folder, bundled_manifest
from ioi_bench.reference.hub_copy import cached_folder
from ioi_bench.reference.manifest import Manifest, ReferenceSuite

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Listed", "list_suites"]

_HEADER = "suite.json"


@dataclass(frozen=True)
class Listed:
    """One suite of a manifest.

    Attributes:
        bundled: its folder among those that came with ioi-bench; None where it is not among them, or another version.
        cached: its folder in huggingface_hub's cache, if all of its files are there.
        size: bytes of its files, if it lies on this machine.
        l0: mean over its sites of the active features, on the split that selected them, if it says so.
    """

    name: str
    suite: ReferenceSuite
    bundled: Path | None
    cached: Path | None
    size: int | None
    l0: float | None


def list_suites(manifest: Manifest, repo: str, revision: str) -> Iterator[Listed]:
    """The manifest's suites, in its order.

    Args:
        manifest: the bundled one, or that of ``repo`` at ``revision``.
        repo: whose copies in the cache are looked up.
        revision: a branch, a tag or a commit.
    """
    for name, suite in manifest.suites.items():
        mine = bundled_manifest().suites.get(name)
        bundled = bundled_folder() / mine.path if mine is not None and mine.files == suite.files else None
        cached = cached_folder(suite, repo, revision)
        here = bundled or cached
        size, l0 = (None, None) if here is None else (_size(here, suite), _l0(here))
        yield Listed(name, suite, bundled, cached, size, l0)


def _size(folder: Path, suite: ReferenceSuite) -> int | None:
    files = [folder / name for name in suite.files]
    return sum(file.stat().st_size for file in files) if all(file.is_file() for file in files) else None


def _l0(folder: Path) -> float | None:
    """From what the selection wrote into the suite's header; no weights are read."""
    try:
        chosen = json_value(bounded_bytes(folder / _HEADER, MAX_HEADER_BYTES))["metadata"]["selection"]["chosen"]
        return fmean(site["l0"] for site in chosen.values())
    except (IoiBenchError, ValueError, KeyError, TypeError, AttributeError):  # damaged, or it does not say
        return None
