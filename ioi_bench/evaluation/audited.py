"""What the audit of the benchmark found: which figures may rank (docs/audit.md, `ioi-bench audit`).

The verdicts ship with ioi-bench, in ``audited.json``. A figure that failed a gate is shown and never ranks, and neither
does one that was not audited, such as the score under a plugin's edit method, or one made by another version of the
scoring than was audited. On another model than the audited one it ranks, with a note.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

__all__ = ["audit_note", "may_rank", "why_not"]


@cache
def _audit() -> dict[str, dict[str, Any]]:
    text = resources.files("ioi_bench.evaluation").joinpath("audited.json").read_text("utf-8")
    found: dict[str, dict[str, Any]] = json.loads(text)
    return found


def may_rank(figure: str, scoring: str) -> bool:
    """Whether suites may be ranked by a figure, such as ``score.exchange``, that this version of the scoring gave."""
    return not why_not(figure, scoring)


def why_not(figure: str, scoring: str) -> str:
    """Why a figure does not rank; empty if it does.

    Args:
        figure: its name in the audit.
        scoring: by which it was made, as its card says.

    >>> why_not("score.of-a-plugin", "ioi-v1.1")
    'it was not audited'
    """
    made, found = _audit()["made"], _audit()["verdicts"].get(figure)
    if found is None:
        return "it was not audited"
    if scoring != made["scoring"]:
        return f"audited under {made['scoring']}, not under this one ({scoring})"
    return "" if found["ranks"] else str(found["reason"])


def audit_note(model_sha256: str) -> str:
    """What is to be said of figures that rank on this model; empty if it is the audited one."""
    made = _audit()["made"]
    return "" if model_sha256 == made["model_sha256"] else f"audited on {made['model']} only"
