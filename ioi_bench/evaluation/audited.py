"""What the audit of the benchmark found: which figures may rank (docs/audit.md, `ioi-bench audit`).

The verdicts ship with ioi-bench, in ``audited.json``. A figure that failed a gate is shown and never ranks, and neither
does one that was not audited, such as the score under a plugin's edit method.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

__all__ = ["may_rank", "why_not"]


@cache
def _verdicts() -> dict[str, dict[str, Any]]:
    text = resources.files("ioi_bench.evaluation").joinpath("audited.json").read_text("utf-8")
    found: dict[str, dict[str, Any]] = json.loads(text)["verdicts"]
    return found


def may_rank(figure: str) -> bool:
    """Whether suites may be ranked by a figure, such as ``score.exchange``."""
    return bool(_verdicts().get(figure, {}).get("ranks", False))


def why_not(figure: str) -> str:
    """Why a figure does not rank; empty if it does.

    >>> why_not("score.of-a-plugin")
    'it was not audited'
    """
    found = _verdicts().get(figure)
    return "it was not audited" if found is None else str(found["reason"])
