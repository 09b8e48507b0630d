"""Where plugins come from: ioi-bench itself, installed packages, single files."""

from __future__ import annotations

import difflib
import hashlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from ioi_bench.atomic import storage_errors
from ioi_bench.errors import InputError
from ioi_bench.plugins.hookspecs import PROJECT

__all__ = ["BUILT_IN", "Candidate", "built_in", "from_file", "installed", "near_misses"]

BUILT_IN = "ioi-bench"
"""The name under which ioi-bench's own records are registered."""


@dataclass(frozen=True)
class Candidate:
    """A plugin that was not imported yet.

    Attributes:
        origin: for messages: the distribution and its version, or the file.
        load: imports it.
    """

    name: str
    origin: str
    load: Callable[[], object]


def built_in() -> Candidate:
    """ioi-bench's own loaders, architectures, edits, baselines, models and reporters."""

    def load() -> object:
        from ioi_bench.plugins import builtin

        return builtin

    return Candidate(BUILT_IN, "built in", load)


def installed() -> Iterator[Candidate]:
    """What installed packages declare under ``[project.entry-points.ioi_bench]``, by name."""
    found = [(point, point.dist) for point in entry_points(group=PROJECT)]
    for point, dist in sorted(found, key=lambda pair: (pair[0].name, pair[0].value)):
        origin = f"{dist.name} {dist.version}" if dist else point.value
        yield Candidate(point.name, origin, point.load)


def from_file(path: Path) -> Candidate:
    """A plugin without packaging: one Python file, named after it.

    Raises:
        InputError: there is no such file, or it is not Python.
    """
    if not path.is_file():
        raise InputError(f"there is no plugin file {str(path)!r}{near_misses(path)}: give a Python file")
    if path.suffix != ".py":
        raise InputError(f"{str(path)!r} is not a Python file: a plugin of one file ends in .py")
    return Candidate(path.stem, str(path), lambda: _execute(path))


def _execute(path: Path) -> ModuleType:
    """Run the file as a module. Dataclasses look their module up in ``sys.modules``, so it is put there."""
    with storage_errors("read", path):
        text = path.read_bytes()
    digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]
    module = ModuleType(f"_ioi_bench_plugin_{path.stem}_{digest}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    try:
        exec(compile(text, str(path), "exec", dont_inherit=True), module.__dict__)
    except BaseException:
        del sys.modules[module.__name__]
        raise
    return module


def near_misses(path: Path) -> str:
    """``; did you mean 'topk'?`` from what lies where the path goes astray; empty where nothing is near."""
    path = path.expanduser()
    there = next((parent for parent in path.parents if parent.is_dir()), None)
    if there is None:
        return ""
    wrong, *rest = path.relative_to(there).parts
    try:
        names = [entry.name for entry in there.iterdir()]
    except OSError:
        return ""
    near = [there / name for name in difflib.get_close_matches(wrong, names, n=3, cutoff=0.6)]
    near = [full if (full := entry.joinpath(*rest)).exists() else entry for entry in near]
    return f"; did you mean {' or '.join(repr(str(entry)) for entry in near)}?" if near else ""
