"""Pulling suites: from the Hub, or from those that are bundled where it does not answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ioi_bench.dictionaries.folder import write_folder
from ioi_bench.errors import HubUnavailableError, InputError, SuiteError
from ioi_bench.reference.bundled import bundled_folder, bundled_manifest
from ioi_bench.reference.files import differing, read_checked
from ioi_bench.reference.hub_copy import REPO, Trusted, fetch, trusted
from ioi_bench.reference.manifest import ReferenceSuite

if TYPE_CHECKING:
    from ioi_bench.hub.download import Progress

__all__ = ["Pulled", "pull"]


@dataclass(frozen=True)
class Pulled:
    """A suite that lies on this machine, every file of it checked.

    Attributes:
        folder: where; `ioi_bench.evaluate` takes it.
        origin: ``hf://org/repo@commit/path``; None for a bundled one.
        why_bundled: why it is not from the Hub; empty where it is.
    """

    name: str
    suite: ReferenceSuite
    folder: Path
    origin: str | None
    why_bundled: str = ""


def pull(
    names: Sequence[str],
    *,
    repo: str = REPO,
    revision: str = "main",
    out: Path | None = None,
    progress: Progress | None = None,
) -> list[Pulled]:
    """Fetch suites, check every file against the manifest, and say where they lie.

    Args:
        names: of suites; see `ioi_bench.reference.hub_copy` for the manifest that is trusted.
        repo: ``org/repo`` on the Hub.
        revision: a branch, a tag or a commit.
        out: copy each into a folder of its name there; by default they stay in huggingface_hub's cache.
        progress: called with what is fetched, megabytes done, and megabytes in all.

    Raises:
        UnknownNameError: no such suite, with near misses.
        SuiteError: a file is not what the manifest names, whether fetched, cached or bundled.
        InputError: no such repository or revision; ``out`` holds something else under the name.
        HubUnavailableError: no answer, and a suite is neither cached nor bundled.
        StorageError: the cache or ``out`` cannot be written.
    """
    known = trusted(names, repo, revision, progress)
    try:
        root, commit = fetch(known.suites, repo, known.revision, progress)
        found = [
            Pulled(name, suite, root / suite.path, f"hf://{repo}@{commit}/{suite.path}")
            for name, suite in known.suites.items()
        ]
    except HubUnavailableError as error:
        found = _bundled(known, error)
    except SuiteError:
        raise
    except InputError as error:
        here = [name for name in known.suites if name in bundled_manifest().suites]
        hint = f"; {here[0]} is bundled too, in {bundled_folder() / known.suites[here[0]].path}" if here else ""
        raise InputError(f"{error}{hint}") from error
    return found if out is None else [_copied(one, out / one.name) for one in found]


def _bundled(known: Trusted, error: HubUnavailableError) -> list[Pulled]:
    """The bundled copies; the error again where one is not bundled."""
    mine, root = bundled_manifest().suites, bundled_folder()
    if lacking := [name for name in known.suites if name not in mine]:
        raise HubUnavailableError(f"{', '.join(lacking)} is not bundled with ioi-bench, and {error}") from error
    found = []
    for name, suite in known.suites.items():
        if wrong := differing(root / suite.path, suite):
            raise SuiteError(
                f"the Hub gives no answer, and the bundled {name} in {root / suite.path} is damaged: "
                f"{next(iter(wrong.values()))}; install ioi-bench again"
            )
        found.append(Pulled(name, suite, root / suite.path, None, str(error)))
    return found


def _copied(pulled: Pulled, target: Path) -> Pulled:
    """The same suite in a folder of the user's; one that is there already and is the same stays."""
    if target.exists():
        if wrong := differing(target, pulled.suite):
            raise InputError(
                f"{target} exists already and is not {pulled.name} ({next(iter(wrong.values()))}): choose another "
                "--out, or delete it"
            )
    else:
        write_folder(target, read_checked(pulled.folder, pulled.suite))
    return Pulled(pulled.name, pulled.suite, target, pulled.origin, pulled.why_bundled)
