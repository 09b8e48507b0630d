"""Publishing the suites, their manifest and their page: what is sent, and sending it in one commit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ioi_bench.errors import SuiteError
from ioi_bench.reference.eval_results import eval_results
from ioi_bench.reference.files import differing
from ioi_bench.reference.manifest import MANIFEST, Manifest
from ioi_bench.reference.model_card import model_card

if TYPE_CHECKING:
    from ioi_bench.hub.download import Progress
    from ioi_bench.hub.upload import Uploaded

__all__ = ["PAGE", "collect", "push", "size_of"]

PAGE = "README.md"

_HEADER = "suite.json"
_BESIDE = ("RESULTS.md", "figures/*.png", "recipes/*.toml")
"""What is sent too, where it is there: the study of these suites, and what trained them."""


def collect(folder: Path, repo: str) -> dict[str, Path | bytes]:
    """All that is sent: name in the repository to a file, or to the content of one that is written here.

    Args:
        folder: with the manifest and, below it, the suites.
        repo: the repository that the page and its links are for.

    Raises:
        SuiteError: a suite is not what the manifest says, or is not in it: nothing that others could not check is sent.
        InputError, StorageError: the manifest cannot be read.
    """
    manifest = Manifest.read(folder / MANIFEST)
    wrong = [
        f"{suite.path}: {said}"
        for suite in manifest.suites.values()
        for said in differing(folder / suite.path, suite).values()
    ]
    named = {suite.path for suite in manifest.suites.values()}
    there = {path.parent.relative_to(folder).as_posix() for path in folder.glob(f"*/*/{_HEADER}")}
    wrong += [f"{path}: it is not in the manifest" for path in sorted(there - named)]
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise SuiteError(
            f"{str(folder)!r} is not what its {MANIFEST} says, so it is not sent: {wrong[0]}{more}. Write the manifest "
            "anew (`python reference_saes/manifest.py`), or take the files back"
        )
    beside = {path.relative_to(folder).as_posix(): path for pattern in _BESIDE for path in sorted(folder.glob(pattern))}
    figures = [Path(name).name for name in beside if name.startswith("figures/")]
    weights = {path: folder / path for suite in manifest.suites.values() for path in suite.file_paths}
    page = {PAGE: model_card(manifest, repo, figures).encode()}
    return {**page, MANIFEST: folder / MANIFEST, **eval_results(manifest, repo), **beside, **weights}


def size_of(content: Path | bytes) -> int:
    """Bytes of one thing that is sent."""
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def push(
    files: dict[str, Path | bytes],
    repo: str,
    *,
    revision: str = "main",
    pull_request: bool = False,
    create: bool = False,
    message: str = "",
    progress: Progress | None = None,
) -> Uploaded:
    """Send what `collect` found, in one commit.

    Raises:
        InputError, HubUnavailableError: as `ioi_bench.hub.upload.upload`.
    """
    from importlib.metadata import version

    from ioi_bench.hub.upload import upload

    return upload(
        files,
        repo,
        kind="model",
        message=message or f"Reference suites of ioi-bench {version('ioi-bench')}",
        description="Suites, manifest, page and evaluation results, written by `ioi-bench reference push`.",
        pull_request=pull_request,
        revision=revision,
        create=create,
        progress=progress,
    )
