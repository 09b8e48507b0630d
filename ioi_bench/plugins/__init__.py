"""Plugins: what third parties add, through the hooks that the built-ins use too.

All that the author of a plugin imports is here; `ioi_bench.plugins.hookspecs` shows one of each kind.
"""

from __future__ import annotations

from ioi_bench.plugins.hookspecs import hookimpl
from ioi_bench.plugins.manager import Plugins
from ioi_bench.plugins.records import (
    API_VERSION,
    ArchitectureRecord,
    Baseline,
    EditRecord,
    FitInputs,
    Loader,
    LoadOptions,
    MetricInputs,
    MetricRecord,
    ModelRecord,
    Recognised,
    Reporter,
)

__all__ = [
    "API_VERSION",
    "ArchitectureRecord",
    "Baseline",
    "EditRecord",
    "FitInputs",
    "LoadOptions",
    "Loader",
    "MetricInputs",
    "MetricRecord",
    "ModelRecord",
    "Plugins",
    "Recognised",
    "Reporter",
    "hookimpl",
]
