"""Which files of a repository are fetched."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from fnmatch import fnmatchcase
from glob import escape
from pathlib import PurePosixPath

from ioi_bench.errors import UnknownNameError
from ioi_bench.hub.address import HubAddress

__all__ = ["SKIPPED", "folders", "patterns", "select"]

SKIPPED = (
    "*optimizer*", "*optim.pt", "*scheduler*", "*rng_state*", "*trainer_state*", "*training_args*",
    "*activations_store_state*", "*events.out.tfevents*", "*wandb/*", "*.log", "*.png", "*.jpg", "*.jpeg", "*.gif",
    "*.svg", "*.pdf", "*.html", "*.ipynb", "*.mp4", "*.parquet", "*.arrow", "*.csv", "*.DS_Store",
)  # fmt: skip
"""What no loader reads: states of optimisers and of training, logs, pictures, pages and data."""


def select(names: Collection[str], address: HubAddress) -> tuple[str, tuple[str, ...]]:
    """The folder that is meant, and the names of its files to fetch, relative to the repository.

    An address may name one file: then come with it the JSON files beside it whose names continue its own
    (``x.pt`` and ``x_cfg.json``).

    Args:
        names: all files of the repository, or of what the cache holds of it.

    Raises:
        UnknownNameError: the address names neither a folder nor a file; near misses are those of the repository.
    """
    place = address.folder
    if place in names:
        path = PurePosixPath(place)
        folder = "" if str(path.parent) == "." else str(path.parent)
        return folder, tuple(sorted(name for name in names if name == place or _goes_with(name, place)))
    inside = [name for name in names if not place or name.startswith(place + "/")]
    if not inside:
        raise UnknownNameError(f"folder in {address.repo}", place, folders(names) or sorted(names))
    return place, tuple(sorted(name for name in inside if not _is_skipped(name)))


def _goes_with(name: str, file: str) -> bool:
    stem = file.removesuffix(PurePosixPath(file).suffix)
    return name.endswith(".json") and (name.startswith((stem + "_", stem + ".")))


def _is_skipped(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in SKIPPED)


def folders(names: Iterable[str]) -> list[str]:
    """All folders that hold something."""
    found = {str(parent) for name in names for parent in PurePosixPath(name).parents}
    return sorted(found - {"."})


def patterns(names: Iterable[str]) -> list[str]:
    """The names as patterns of huggingface_hub (``fnmatch``), which match them alone."""
    return [escape(name) for name in names]
