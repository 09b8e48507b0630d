"""Plugins: what third parties add, through the hooks that the built-ins use too."""

from __future__ import annotations

import pluggy

__all__ = ["hookimpl"]

hookimpl = pluggy.HookimplMarker("ioi_bench")
"""Marks a plugin's functions: ``@hookimpl def ioi_bench_loaders(): ...``."""
