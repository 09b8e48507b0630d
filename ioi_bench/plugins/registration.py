"""Whether a module can be registered with pluggy, and if not, what its author should change."""

from __future__ import annotations

import difflib
import inspect
from typing import Any

import pluggy

from ioi_bench.errors import IoiBenchError
from ioi_bench.plugins import hookspecs
from ioi_bench.plugins.hookspecs import PROJECT
from ioi_bench.plugins.records import API_VERSION

__all__ = ["fault_of", "hooks_of", "new_manager", "reason_of"]

_PREFIX = "ioi_bench_"
_KNOWN = tuple(name for name in hookspecs.__all__ if name.startswith(_PREFIX))


class _Manager(pluggy.PluginManager):
    """Functions whose names begin with ``ioi_bench_`` are hooks, marked or not: a misspelt one is never silence."""

    def parse_hookimpl_opts(self, plugin: Any, name: str) -> pluggy.HookimplOpts | None:
        opts = super().parse_hookimpl_opts(plugin, name)
        if opts is None and name.startswith(_PREFIX) and inspect.isroutine(getattr(plugin, name, None)):
            return pluggy.HookimplOpts(
                wrapper=False, hookwrapper=False, optionalhook=False, tryfirst=False, trylast=False, specname=None
            )
        return opts


def new_manager() -> pluggy.PluginManager:
    """A manager that knows the hooks, and no plugin yet."""
    manager = _Manager(PROJECT)
    manager.add_hookspecs(hookspecs)
    return manager


def reason_of(error: BaseException) -> str:
    """One line; our own messages stand for themselves."""
    text = " ".join(str(error).split())
    return text if isinstance(error, IoiBenchError) else f"{type(error).__name__}: {text}".rstrip(": ")


def hooks_of(module: object) -> tuple[str, ...]:
    """Names of the functions of a module that are hooks, known or not."""
    manager = new_manager()
    return tuple(name for name in dir(module) if manager.parse_hookimpl_opts(module, name) is not None)


def fault_of(module: object) -> str:
    """Why a module cannot be registered; empty if it can. It is tried on a manager of its own."""
    version = getattr(module, "IOI_BENCH_API", API_VERSION)
    if version != API_VERSION:
        return (
            f"is built for version {version} of the plugin interface, this ioi-bench has version {API_VERSION}: "
            f"{'upgrade ioi-bench' if isinstance(version, int) and version > API_VERSION else 'upgrade the plugin'}, "
            "or install a version of the plugin that fits"
        )
    manager = new_manager()
    hooks = hooks_of(module)
    if not hooks:
        return f"has no hooks: define one or more of {', '.join(_KNOWN)}"
    try:
        manager.register(module)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        for name in hooks:
            if name not in _KNOWN:
                near = difflib.get_close_matches(name, _KNOWN, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"the hooks are {', '.join(_KNOWN)}"
                return f"has the hook {name!r}, which does not exist: {hint}"
            takes = getattr(hookspecs, name)
            allowed = list(inspect.signature(takes).parameters)
            wrong = [arg for arg in inspect.signature(getattr(module, name)).parameters if arg not in allowed]
            if wrong:
                hint = f"it may take {', '.join(allowed)}" if allowed else "it takes none"
                return f"has the hook {name} with the argument {', '.join(wrong)}: {hint}"
        return f"does not fit its hooks: {reason_of(error)}"
    return ""
