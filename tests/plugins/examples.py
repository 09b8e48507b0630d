"""The examples of the hooks' docstrings, as text."""

from __future__ import annotations

import inspect
import textwrap

from ioi_bench.plugins import hookspecs
from ioi_bench.plugins.manager import KINDS

HOOKS = [kind.hook for kind in KINDS.values()]


def example(hook: str) -> str:
    """What stands under "Example::"."""
    documented = inspect.getdoc(getattr(hookspecs, hook)) or ""
    return textwrap.dedent(documented.partition("Example::\n")[2]).strip("\n") + "\n"
