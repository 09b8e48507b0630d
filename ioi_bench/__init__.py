"""ioi-bench: judge sparse autoencoders by what editing their features does on the IOI task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ioi_bench.evaluation.card import Card
    from ioi_bench.evaluation.evaluate import evaluate

__all__ = ["Card", "evaluate"]

_HOMES = {"Card": "ioi_bench.evaluation.card", "evaluate": "ioi_bench.evaluation.evaluate"}


def __getattr__(name: str) -> Any:
    """Import on first use: `ioi-bench --help` must not wait for torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
