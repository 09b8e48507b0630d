"""The audit itself: judge, compare, decide, write."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ioi_bench.atomic import write_file
from ioi_bench.errors import InputError
from ioi_bench.evaluation.card import SCHEMA_VERSION
from ioi_bench.evaluation.provenance import versions
from ioi_bench.evaluation.score import SCORED_BUDGETS, SCORED_METHODS, SCORING
from ioi_bench.studies.audit import tables
from ioi_bench.studies.audit.gates import MAX_P, MIN_ICC, MIN_RHO, Verdict
from ioi_bench.studies.audit.plan import Plan
from ioi_bench.studies.audit.units import code_sha256
from ioi_bench.task import task_spec

__all__ = ["FORMAT", "Audit", "audit", "read_audit", "write_audit"]

FORMAT = 1
"""Of audit.json."""


@dataclass(frozen=True)
class Audit:
    """Everything that was found; as it lies in audit.json.

    Attributes:
        made: what made it: versions, hashes, amounts, the date.
        rows: the figures of every suite on every split.
        separation: of `tables.separation_table`, which alone needs the draws.
    """

    made: Mapping[str, Any]
    rows: tuple[Mapping[str, Any], ...]
    separation: tuple[Mapping[str, Any], ...]

    @cached_property
    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """All tables by name."""
        rows = [dict(row) for row in self.rows]
        return {
            "retest": tables.retest_table(rows),
            "seeds": tables.seed_table(rows),
            "separation": [dict(row) for row in self.separation],
            "checkpoints": tables.checkpoint_table(rows),
            "planted": tables.planted_table(rows),
        }

    @cached_property
    def verdicts(self) -> dict[str, Verdict]:
        """By figure, whether it may rank."""
        return tables.verdicts(self.tables["retest"], self.tables["separation"], self.tables["planted"])

    def to_json(self) -> dict[str, Any]:
        """As JSON values, with the verdicts that follow."""
        return {
            "format": FORMAT,
            "made": dict(self.made),
            "verdicts": self.shipped(),
            "separation": [dict(row) for row in self.separation],
            "rows": [_rounded(row) for row in self.rows],
        }

    def shipped(self) -> dict[str, dict[str, Any]]:
        """The verdicts alone: what pages and cards read."""
        return {name: {"ranks": found.ranks, "reason": found.reason} for name, found in self.verdicts.items()}


def audit(plan: Plan, *, date: str, command: str, announce: Callable[[str], None]) -> Audit:
    """Measure the benchmark.

    Args:
        plan: what is judged, and where.
        date: of the report.
        command: what makes it again, for the report.
        announce: told what there is to do, and how long it will take.

    Raises:
        InputError: suites that cannot be compared; `StorageError`: results cannot be kept.
    """
    units = plan.units()
    judged = plan.bench.judge_all(units, announce)
    rows = [_rounded(row) for row in tables.rows_of(judged)]
    return Audit(
        {"date": date, "command": command, **_made(plan, rows)}, tuple(rows), tuple(tables.separation_table(judged))
    )


def _made(plan: Plan, rows: list[dict[str, Any]]) -> dict[str, Any]:
    bench = plan.bench
    spec = task_spec(bench.circuit.task)
    content = sorted({(row["suite"], row["suite_sha256"]) for row in rows})
    return {
        "model": bench.model.name,
        "model_sha256": bench.model.sha256,
        "spec": spec.name,
        "spec_sha256": spec.sha256,
        "circuit": bench.circuit.track,
        "circuit_sha256": bench.circuit.sha256,
        "suites_sha256": hashlib.sha256(json.dumps(content).encode()).hexdigest(),
        "scoring": SCORING,
        "code_sha256": code_sha256(),
        "card_schema": SCHEMA_VERSION,
        "cells": [str(cell) for cell in bench.cells],
        "methods": list(SCORED_METHODS),
        "budgets": list(SCORED_BUDGETS),
        "amount": asdict(plan.amount),
        "gates": {"icc": MIN_ICC, "p": MAX_P, "rho": MIN_RHO},
        "versions": versions(),
    }


def _rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    """Figures to six decimals: what is computed from them is computed from what is written."""
    figures = {
        name: None if value is None or value != value else round(value, 6) for name, value in row["figures"].items()
    }
    return {**row, "figures": figures}


def write_audit(found: Audit, folder: Path, verdicts: Path | None = None) -> None:
    """Write audit.md, audit.json and ``audit/*.png`` into a folder.

    Args:
        found: the audit.
        folder: where to.
        verdicts: also the verdicts alone, as ioi-bench ships them, into this file.

    Raises:
        StorageError: a file cannot be written.
    """
    from ioi_bench.studies.audit.charts import audit_charts
    from ioi_bench.studies.audit.page import audit_page
    from ioi_bench.studies.post.figures import write_charts

    write_charts(audit_charts(found), folder / "audit")
    _write_json(folder / "audit.json", found.to_json())
    write_file(folder / "audit.md", audit_page(found).encode())
    if verdicts is not None:
        _write_json(verdicts, {"made": {"date": found.made["date"], **_named(found)}, "verdicts": found.shipped()})


def _named(found: Audit) -> dict[str, Any]:
    names = (
        "model",
        "model_sha256",
        "spec_sha256",
        "circuit_sha256",
        "suites_sha256",
        "scoring",
        "code_sha256",
        "gates",
    )
    return {name: found.made[name] for name in names}


def _write_json(path: Path, value: Any) -> None:
    write_file(path, (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())


def read_audit(path: Path) -> Audit:
    """What `write_audit` wrote.

    Raises:
        InputError: there is none, or it is of another format.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["format"] != FORMAT:
            raise InputError(
                f"{str(path)!r} is in format {found['format']!r}, this version of ioi-bench reads {FORMAT}"
            )
        return Audit(found["made"], tuple(found["rows"]), tuple(found["separation"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{str(path)!r} cannot be read as an audit: {error}") from error
