"""All plugins of a run: who gives what, and which of them fail.

A plugin that fails is kept apart with the reason (`Problem`); the others go on working. What was asked for by name and
cannot be had is a `PluginError`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from ioi_bench.dictionaries.architectures import Architecture
from ioi_bench.errors import PluginError, UnknownNameError
from ioi_bench.plugins.discovery import BUILT_IN, Candidate, built_in, from_file, installed
from ioi_bench.plugins.guard import guarded
from ioi_bench.plugins.records import (
    ArchitectureRecord,
    Baseline,
    EditRecord,
    Loader,
    MetricRecord,
    ModelRecord,
    Record,
    Reporter,
)
from ioi_bench.plugins.registration import fault_of, hooks_of, new_manager, reason_of

__all__ = ["KINDS", "SLOW_SECONDS", "Kind", "PluginInfo", "Plugins", "Problem"]

SLOW_SECONDS = 1.0
"""An import that takes longer is complained about: every command that needs plugins waits for it."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class Kind:
    """A kind of record: the hook that gives it, and what one of them is called."""

    hook: str
    word: str


KINDS: Mapping[type[Record], Kind] = MappingProxyType(
    {
        Loader: Kind("ioi_bench_loaders", "loader"),
        ArchitectureRecord: Kind("ioi_bench_architectures", "architecture"),
        EditRecord: Kind("ioi_bench_edits", "edit method"),
        MetricRecord: Kind("ioi_bench_metrics", "metric"),
        Baseline: Kind("ioi_bench_baselines", "baseline"),
        ModelRecord: Kind("ioi_bench_models", "model"),
        Reporter: Kind("ioi_bench_reporters", "reporter"),
    }
)


@dataclass(frozen=True)
class PluginInfo:
    """A plugin that was found. ``seconds`` is what its import took; ``hooks`` is empty where it was refused."""

    name: str
    origin: str
    seconds: float
    hooks: tuple[str, ...]


@dataclass(frozen=True)
class Problem:
    """What is wrong with a plugin, and what to do. Where ``works``, the plugin can be used all the same."""

    plugin: str
    message: str
    works: bool = False

    def __str__(self) -> str:
        return f"the plugin {self.plugin!r} {self.message}"


class Plugins:
    """The plugins of a run, imported and checked when they are added; their hooks are called when first needed."""

    def __init__(self, candidates: Iterable[Candidate]) -> None:
        self._manager = new_manager()
        self._infos: dict[str, PluginInfo] = {}
        self._problems: list[Problem] = []
        self._asked: set[str] = set()
        self._found: dict[type[Record], dict[str, tuple[str, Any]]] = {}
        self._disputed: dict[tuple[type[Record], str], Problem] = {}
        for candidate in candidates:
            self._add(candidate)

    @classmethod
    def load(cls, files: Sequence[str | Path] = (), *, packages: bool = True) -> Plugins:
        """The built-ins, the installed packages' (unless ``packages`` is false), and those in single files.

        Raises:
            InputError: a file does not exist.
            PluginError: a plugin in one of the files cannot be used: it was asked for.
        """
        plugins = cls([built_in(), *(installed() if packages else ())])
        for file in files:
            candidate = from_file(Path(file))
            plugins._asked.add(candidate.name)
            plugins._add(candidate)
        return plugins

    @property
    def infos(self) -> tuple[PluginInfo, ...]:
        """What was found: built-ins, then packages by name, then files."""
        return tuple(self._infos.values())

    @property
    def asked(self) -> frozenset[str]:
        """Plugins that were asked for by name: where these fail, the run ends."""
        return frozenset(self._asked)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What went wrong so far; `check` calls every hook first."""
        return tuple(self._problems)

    def check(self) -> tuple[Problem, ...]:
        """Call all hooks, and give what is wrong anywhere.

        Raises:
            PluginError: with a plugin in a file that was asked for.
        """
        for kind in KINDS:
            self.all(kind)
        return self.problems

    def all(self, kind: type[R]) -> Mapping[str, R]:
        """The records of a kind, by name. Functions of third parties are wrapped: their errors name them."""
        return MappingProxyType({name: record for name, (_, record) in self._collected(kind).items()})

    def find(self, kind: type[R], name: str) -> R:
        """The record of that name.

        Raises:
            UnknownNameError: there is none, with near misses.
            PluginError: it is that of a broken plugin, or two plugins claim the name.
        """
        found = self._collected(kind)
        if name in found:
            if (kind, name) in self._disputed and found[name][0] != BUILT_IN:
                raise PluginError(str(self._disputed[kind, name]))
            return found[name][1]
        for problem in self._problems:
            if problem.plugin == name and not problem.works:
                raise PluginError(str(problem))
        raise UnknownNameError(KINDS[kind].word, name, found)

    def owner(self, kind: type[Record], name: str) -> str:
        """The plugin that gives a record."""
        return self._collected(kind)[name][0]

    def named(self, name: str) -> PluginInfo:
        """The plugin of that name, sound.

        Raises:
            UnknownNameError: there is none, with near misses.
            PluginError: it is broken.
        """
        if name not in self._infos:
            raise UnknownNameError("plugin", name, self._infos)
        for problem in self.check():
            if problem.plugin == name and not problem.works:
                raise PluginError(str(problem))
        return self._infos[name]

    @property
    def architectures(self) -> Mapping[str, type[Architecture]]:
        """The classes that the native format may name."""
        return MappingProxyType({name: record.cls for name, record in self.all(ArchitectureRecord).items()})

    def _complain(self, plugin: str, message: str, *, works: bool = False) -> Problem:
        problem = Problem(plugin, message, works)
        self._problems.append(problem)
        if plugin in self._asked and not works:
            raise PluginError(str(problem))
        return problem

    def _add(self, candidate: Candidate) -> None:
        name = candidate.name
        if name in self._infos:
            # The first one stays sound, so the problem is not filed under its name.
            first = f"is called {name!r}, as the one from {self._infos[name].origin} is: rename or remove one of them"
            problem = self._complain(candidate.origin, first)
            if name in self._asked:
                raise PluginError(str(problem))
            return
        self._infos[name] = PluginInfo(name, candidate.origin, 0.0, ())
        started = time.perf_counter()
        try:
            module = candidate.load()
        except (Exception, SystemExit) as error:
            self._complain(name, f"({candidate.origin}) cannot be imported: {reason_of(error)}; mend or remove it")
            return
        seconds = time.perf_counter() - started
        fault = fault_of(module)
        self._infos[name] = PluginInfo(name, candidate.origin, seconds, () if fault else hooks_of(module))
        if fault:
            self._complain(name, f"({candidate.origin}) {fault}")
            return
        self._manager.register(module, name)
        if seconds > SLOW_SECONDS and name != BUILT_IN:
            self._complain(
                name,
                f"took {seconds:.1f} s to import ({SLOW_SECONDS:.0f} s at most is good): its author should import "
                "heavy libraries inside the functions that need them",
                works=True,
            )

    def _collected(self, kind: type[Record]) -> dict[str, tuple[str, Any]]:
        if kind in self._found:
            return self._found[kind]
        hook = KINDS[kind].hook
        given: dict[str, Any] = {}
        if kind is Loader:
            given["architectures"] = self.architectures
        found: dict[str, tuple[str, Any]] = {}
        implementations = {impl.plugin_name: impl for impl in getattr(self._manager.hook, hook).get_hookimpls()}
        for plugin in self._infos:
            if plugin in implementations:
                self._gather(kind, plugin, implementations[plugin], given, found)
        self._found[kind] = dict(sorted(found.items()))
        return self._found[kind]

    def _gather(
        self, kind: type[Record], plugin: str, impl: Any, given: dict[str, Any], found: dict[str, tuple[str, Any]]
    ) -> None:
        """What one plugin gives through one hook."""
        hook, word = KINDS[kind].hook, KINDS[kind].word
        try:
            returned = impl.function(*(given[name] for name in impl.argnames))
        except (Exception, SystemExit) as error:
            self._complain(plugin, f"failed in its hook {hook}: {reason_of(error)}; mend or remove it")
            return
        if not isinstance(returned, list | tuple):
            self._complain(
                plugin,
                f"returned something of type {type(returned).__name__} from {hook}, expected a list of {kind.__name__}",
            )
            return
        for record in returned:
            if not isinstance(record, kind):
                self._complain(
                    plugin,
                    f"returned a list with a {type(record).__name__} in it from {hook}, expected only {kind.__name__}",
                )
            elif not (isinstance(record.name, str) and _NAME.fullmatch(record.name)):
                self._complain(
                    plugin,
                    f"calls a {word} {record.name!r}: use lower-case letters, digits, dots, dashes and underscores",
                )
            elif record.name in found:
                other = found[record.name][0]
                self._disputed[kind, record.name] = self._complain(
                    plugin,
                    f"gives the {word} {record.name!r}, which {'itself' if other == plugin else repr(other)} gives "
                    "already: one of them must be renamed",
                )
            else:
                found[record.name] = plugin, record if plugin == BUILT_IN else guarded(record, word, plugin)
