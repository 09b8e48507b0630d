"""The suites that come with ioi-bench: inside the package where it was installed, at the root of a checkout."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from ioi_bench.errors import StorageError
from ioi_bench.reference.manifest import MANIFEST, Manifest

__all__ = ["bundled_folder", "bundled_manifest"]

_PACKAGED = Path(__file__).parent / "bundled"  # a wheel has them here: hatch_build.py
_CHECKOUT = Path(__file__).parents[2] / "reference_saes"


def bundled_folder() -> Path:
    """The folder that holds the manifest and, below it, the suites.

    Raises:
        StorageError: this installation has none.
    """
    for folder in (_PACKAGED, _CHECKOUT):
        if (folder / MANIFEST).is_file():
            return folder
    raise StorageError(
        f"this installation of ioi-bench has no reference suites (neither {_PACKAGED} nor {_CHECKOUT}): install it "
        "again"
    )


@cache
def bundled_manifest() -> Manifest:
    """The manifest that came with ioi-bench: what it names is trusted.

    Raises:
        StorageError: this installation has none.
    """
    return Manifest.read(bundled_folder() / MANIFEST)
