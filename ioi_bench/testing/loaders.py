"""Checking a loader: it knows its own format, leaves others alone, and loads the same suite every time."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

from jaxtyping import Float
from torch import Tensor

from ioi_bench.dictionaries.source import Source
from ioi_bench.dictionaries.suite_content import Suite
from ioi_bench.dictionary import Dictionary
from ioi_bench.errors import IoiBenchError
from ioi_bench.plugins.records import Loader, LoadOptions, Recognised
from ioi_bench.sites import Site
from ioi_bench.testing.dictionaries import DictionaryCase
from ioi_bench.testing.foreign import foreign_sources
from ioi_bench.testing.results import Case, Check, Finding, NotApplicable, require_all
from ioi_bench.testing.tensors import require_state_kept

__all__ = ["LoaderCase", "check_loader"]

_DICTIONARIES = 3
_SMALL = 64 * 2**20


@dataclass(frozen=True, eq=False)
class LoaderCase:
    """A loader and a source of its format.

    Attributes:
        loader: the record.
        source: a file or folder that it must load.
        options: what a user would say of it; sources of other formats are offered without.
        inputs: activations of the hook point, for the checks of the dictionaries that are loaded.
        seed: of what is drawn.
    """

    loader: Loader
    source: Source | str | Path
    options: LoadOptions = field(default_factory=LoadOptions)
    inputs: Float[Tensor, "prompt d_in"] | None = None
    seed: int = 0

    @property
    def subject(self) -> str:
        """What it is called in messages."""
        return f"loader {self.loader.name}"

    @property
    def checks(self) -> Sequence[Check]:
        """All checks of a loader."""
        return LOADER_CHECKS

    @cached_property
    def opened(self) -> Source:
        """The source."""
        return self.source if isinstance(self.source, Source) else Source(Path(self.source), str(self.source))

    def recognise(self) -> Recognised:
        """What the loader says of its source.

        Raises:
            Finding: something else came.
        """
        said = self.loader.recognise(self.opened, self.options)
        if not isinstance(said, Recognised):
            raise Finding(
                f"{said!r} for {self.opened.origin!r}",
                "return a Recognised for a source of your own format (pass `options=` where it needs to be told)",
            )
        return said

    def load(self) -> Suite:
        """The suite, read anew.

        Raises:
            Finding: something else came.
        """
        suite = self.loader.load(self.opened, self.options)
        if not isinstance(suite, Suite):
            raise Finding(f"a {type(suite).__name__} from load", "return a Suite (Suite.at_hook for one dictionary)")
        return suite

    @cached_property
    def suite(self) -> Suite:
        """The suite, read once.

        Raises:
            Finding: something else came.
        """
        return self.load()

    def further(self) -> Iterable[Case]:
        """The first dictionaries of the suite, each once however many sites it serves."""
        distinct: dict[int, tuple[Site, Dictionary]] = {}
        for site, dictionary in self.suite.dictionaries.items():
            distinct.setdefault(id(dictionary), (site, dictionary))
        for site, dictionary in list(distinct.values())[:_DICTIONARIES]:
            yield DictionaryCase(dictionary, self.inputs, seed=self.seed, name=f"{self.subject}, {site}")


def check_loader(
    loader: Loader,
    source: Source | str | Path,
    *,
    options: LoadOptions | None = None,
    inputs: Float[Tensor, "prompt d_in"] | None = None,
    seed: int = 0,
) -> None:
    """Raise unless the loader reads the source, leaves others alone, and loads sound dictionaries.

    Args:
        loader: the record.
        source: a file or folder of its format.
        options: what a user would say of it.
        inputs: activations of the hook point, for the dictionaries' checks.
        seed: of what is drawn.

    Raises:
        ConformanceError: an `AssertionError`: what was checked, what was found, what to do.
    """
    require_all(LoaderCase(loader, source, options or LoadOptions(), inputs, seed))


def _record(case: LoaderCase) -> None:
    name, summary = case.loader.name, case.loader.summary
    if not name or name != name.lower() or len(name.split()) != 1:
        raise Finding(f"the name {name!r}", "give a name in lower case without spaces: users type it after --loader")
    if not summary.strip() or "\n" in summary:
        raise Finding(f"the summary {summary!r}", "give one line: `plugins list` prints it")


def _recognises(case: LoaderCase) -> None:
    said = case.recognise()
    if said.d_in < 1 or said.d_sae < 1 or not said.architecture:
        raise Finding(f"{said}", "report the architecture and both sizes; read shapes with Source.tensors")


def _foreign(case: LoaderCase) -> None:
    """Without options, None; with the user's, which may say that any file is of this format, at least no crash."""
    with TemporaryDirectory() as folder:
        for what, path in foreign_sources(Path(folder)).items():
            source = Source(path, what)
            try:
                said = case.loader.recognise(source, LoadOptions())
            except Exception as error:
                raise Finding(f"{type(error).__name__} on {what}: {error}", _LEAVE_ALONE) from error
            if said is not None:
                raise Finding(f"{said} for {what}", _LEAVE_ALONE)
            _require_own_errors(case, source, what)


_LEAVE_ALONE = (
    "return None unless the source's own keys and shapes are there: look with Source.has, and catch SuiteError where a "
    "file of that name may be somebody else's"
)


def _damaged(case: LoaderCase) -> None:
    """Copies of the source with one file cut in half, or empty: an error of ours, unless the file is not needed."""
    if _size(case.opened) > _SMALL:
        raise NotApplicable(f"the source has more than {_SMALL // 2**20} MB: give a smaller one to check this")
    with TemporaryDirectory() as folder:
        for i, name in enumerate(case.opened.files):
            for j, keep in enumerate((0.5, 0.0)):
                copy = _copy(case.opened, Path(folder) / f"{i}-{j}")
                file = copy.file(name)
                file.write_bytes(file.read_bytes()[: int(keep * file.stat().st_size)])
                _require_own_errors(case, copy, f"{name!r} " + ("cut in half" if keep else "emptied"))


def _require_own_errors(case: LoaderCase, source: Source, what: str) -> None:
    try:
        if case.loader.recognise(source, case.options) is not None:
            case.loader.load(source, case.options)
    except IoiBenchError:
        return
    except Exception as error:
        raise Finding(
            f"{type(error).__name__} on {what}: {error}",
            "read through Source, which raises SuiteError, and raise SuiteError for keys that are missing",
        ) from error


def _copy(source: Source, target: Path) -> Source:
    if source.path.is_file():
        target.mkdir()
        return Source(Path(shutil.copy(source.path, target)), source.origin)
    shutil.copytree(source.path, target)
    return Source(target, source.origin)


def _size(source: Source) -> int:
    return sum(source.file(name).stat().st_size for name in source.files)


def _read_only(case: LoaderCase) -> None:
    before = _fingerprint(case.opened)
    case.recognise()
    case.load()
    after = _fingerprint(case.opened)
    changed = sorted({name for name, _ in before.items() ^ after.items()})
    if changed:
        raise Finding(f"that {', '.join(changed[:5])} changed in the source", "write nothing there: convert in memory")


def _fingerprint(source: Source) -> dict[str, tuple[int, int, str]]:
    """Size, time and (of small sources) hash of every file."""
    hashed, found = _size(source) <= _SMALL, {}
    for name in source.files:
        file = source.file(name)
        stat = file.stat()
        digest = hashlib.sha256(file.read_bytes()).hexdigest() if hashed else ""
        found[name] = (stat.st_size, stat.st_mtime_ns, digest)
    return found


def _loads(case: LoaderCase) -> None:
    for site, dictionary in case.suite.dictionaries.items():
        if not isinstance(dictionary, Dictionary):
            raise Finding(f"a {type(dictionary).__name__} at {site}", "give it d_in, d_sae, encode and decode")


def _same_shapes(case: LoaderCase) -> None:
    said, suite = case.recognise(), case.suite
    first = next(iter(suite.dictionaries.values()))
    advice = "read sizes and hook points in one function that recognise and load share"
    if (said.d_in, said.d_sae) != (first.d_in, first.d_sae):
        raise Finding(
            f"d_in = {said.d_in}, d_sae = {said.d_sae} from recognise, {first.d_in} and {first.d_sae} from load", advice
        )
    if said.hooks and set(said.hooks) != set(suite.hooks):
        raise Finding(
            f"the hook points {', '.join(map(str, said.hooks))} from recognise, {', '.join(map(str, suite.hooks))} "
            "from load",
            advice,
        )


def _repeatable(case: LoaderCase) -> None:
    first, second = case.suite, case.load()
    if first.sites != second.sites or first.sha256 != second.sha256:
        raise Finding(
            f"sha256 {first.sha256[:12]}… and {second.sha256[:12]}… from two loads of the same files",
            "draw nothing at random, and put no time, path or counter into the suite's name or metadata",
        )


def _global_state(case: LoaderCase) -> None:
    require_state_kept("recognise", case.recognise)
    require_state_kept("load", case.load)


LOADER_CHECKS = (
    Check("record", "it has a name and a summary", _record),
    Check("recognises", "it recognises its own source", _recognises, essential=True),
    Check("loads", "it loads its own source as a Suite", _loads, essential=True),
    Check("foreign-sources", "it returns None, without an error, for what is not its own", _foreign),
    Check("damaged-sources", "a file cut short is an error of ioi_bench.errors", _damaged),
    Check("source-unchanged", "nothing is written into the source", _read_only),
    Check("same-shapes", "recognise and load agree on sizes and hook points", _same_shapes),
    Check("repeatable", "loading twice gives equal suites", _repeatable),
    Check("global-state", "the process's settings and random generators are left alone", _global_state),
)
