"""All plugins of a run: who gives what, and which of them fail.

A plugin that fails is kept apart with the reason (`Problem`); the others go on working. What was asked for by name and
cannot be had is a `PluginError`.
"""

from __future__ import annotations

import difflib
import inspect
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import pluggy

from ioi_bench.dictionaries.architectures import Architecture
from ioi_bench.errors import IoiBenchError, PluginError, UnknownNameError
from ioi_bench.plugins import hookspecs
from ioi_bench.plugins.discovery import BUILT_IN, Candidate, built_in, from_file, installed
from ioi_bench.plugins.guard import guarded
from ioi_bench.plugins.hookspecs import PROJECT
from ioi_bench.plugins.records import (
    API_VERSION,
    ArchitectureRecord,
    Baseline,
    EditRecord,
    Loader,
    MetricRecord,
    ModelRecord,
    Record,
    Reporter,
)

__all__ = ["KINDS", "SLOW_SECONDS", "Kind", "PluginInfo", "Plugins", "Problem"]

SLOW_SECONDS = 1.0
"""An import that takes longer is complained about: every command that needs plugins waits for it."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_PREFIX = "ioi_bench_"
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


class _Manager(pluggy.PluginManager):
    """Functions whose names begin with ``ioi_bench_`` are hooks, marked or not: a misspelt one is never silence."""

    def parse_hookimpl_opts(self, plugin: Any, name: str) -> pluggy.HookimplOpts | None:
        opts = super().parse_hookimpl_opts(plugin, name)
        if opts is None and name.startswith(_PREFIX) and inspect.isroutine(getattr(plugin, name, None)):
            return pluggy.HookimplOpts(
                wrapper=False, hookwrapper=False, optionalhook=False, tryfirst=False, trylast=False, specname=None
            )
        return opts


class Plugins:
    """The plugins of a run, imported and checked when they are added; their hooks are called when first needed."""

    def __init__(self, candidates: Iterable[Candidate]) -> None:
        self._manager = _new_manager()
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
            self._complain(
                name, f"exists twice, from {self._infos[name].origin} and from {candidate.origin}: rename or remove one"
            )
            return
        self._infos[name] = PluginInfo(name, candidate.origin, 0.0, ())
        started = time.perf_counter()
        try:
            module = candidate.load()
        except (Exception, SystemExit) as error:
            self._complain(name, f"({candidate.origin}) cannot be imported: {_reason(error)}; mend or remove it")
            return
        seconds = time.perf_counter() - started
        fault = _fault(module)
        self._infos[name] = PluginInfo(name, candidate.origin, seconds, () if fault else _hooks(module))
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
            self._complain(plugin, f"failed in its hook {hook}: {_reason(error)}; mend or remove it")
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


def _new_manager() -> _Manager:
    manager = _Manager(PROJECT)
    manager.add_hookspecs(hookspecs)
    return manager


def _reason(error: BaseException) -> str:
    """One line; our own messages stand for themselves."""
    text = " ".join(str(error).split())
    return text if isinstance(error, IoiBenchError) else f"{type(error).__name__}: {text}".rstrip(": ")


def _hooks(module: object) -> tuple[str, ...]:
    manager = _new_manager()
    return tuple(name for name in dir(module) if manager.parse_hookimpl_opts(module, name) is not None)


def _fault(module: object) -> str:
    """Why a module cannot be registered; empty if it can. It is tried on a manager of its own."""
    version = getattr(module, "IOI_BENCH_API", API_VERSION)
    if version != API_VERSION:
        return (
            f"is built for version {version} of the plugin interface, this ioi-bench has version {API_VERSION}: "
            f"{'upgrade ioi-bench' if isinstance(version, int) and version > API_VERSION else 'upgrade the plugin'}, "
            "or install a version of the plugin that fits"
        )
    manager = _new_manager()
    hooks = _hooks(module)
    known = [kind.hook for kind in KINDS.values()]
    if not hooks:
        return f"has no hooks: define one or more of {', '.join(known)}"
    try:
        manager.register(module)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        for name in hooks:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"the hooks are {', '.join(known)}"
                return f"has the hook {name!r}, which does not exist: {hint}"
            takes = getattr(hookspecs, name)
            allowed = list(inspect.signature(takes).parameters)
            wrong = [arg for arg in inspect.signature(getattr(module, name)).parameters if arg not in allowed]
            if wrong:
                hint = f"it may take {', '.join(allowed)}" if allowed else "it takes none"
                return f"has the hook {name} with the argument {', '.join(wrong)}: {hint}"
        return f"does not fit its hooks: {_reason(error)}"
    return ""
