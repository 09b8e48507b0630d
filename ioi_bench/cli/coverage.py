"""`ioi-bench study coverage`: whether the card's intervals hold what is true."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ioi_bench.cli import options
from ioi_bench.cli.console import print_json, progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ioi_bench.uncertainty.coverage import Coverage

__all__ = ["coverage"]


def coverage(
    condition: Annotated[
        list[str] | None, typer.Option("--condition", help="Such as half; may be repeated; by default all.")
    ] = None,
    prompts: Annotated[int, typer.Option("--prompts", help="In each simulated benchmark.")] = 1000,
    benchmarks: Annotated[int, typer.Option("--benchmarks", help="Simulated benchmarks of each condition.")] = 500,
    draws: Annotated[int, typer.Option("--draws", help="Of the bootstrap.")] = 1000,
    names: Annotated[bool, typer.Option("--names", help="Also the wider interval over other names.")] = False,
    json: options.Json = False,
) -> None:
    """Simulate benchmarks of known truth, and count how often 95 % intervals hold it.

    Prints the table of docs/uncertainty.md (in brackets: what quantiles alone hold; bold: outside 92–98 %). Takes
    about a minute a condition of 1,000 prompts on one core.

    \b
    Examples:
      ioi-bench study coverage
      ioi-bench study coverage --condition half --condition high --prompts 5000
      ioi-bench study coverage --condition "near one" --benchmarks 200 --json
    """
    from dataclasses import asdict

    from ioi_bench.errors import InputError, UnknownNameError
    from ioi_bench.uncertainty.coverage import coverage as run
    from ioi_bench.uncertainty.simulated import CONDITIONS

    if min(prompts, benchmarks) < 2 or draws < 100:
        raise InputError(
            f"--prompts {prompts} --benchmarks {benchmarks} --draws {draws}: expected at least 2, 2 and 100"
        )
    for name in condition or ():
        if name not in CONDITIONS:
            raise UnknownNameError("condition", name, CONDITIONS)
    found: list[Coverage] = []
    with progress() as told:
        for name in condition or CONDITIONS:
            found += run(
                CONDITIONS[name],
                prompts=prompts,
                benchmarks=benchmarks,
                draws=draws,
                others=names,
                progress=lambda done, name=name: told(name, done, benchmarks),  # type: ignore[misc]
            )
    if json:
        print_json([asdict(one) | {"sound": one.sound} for one in found])
    else:
        typer.echo(_table(found))


_GROUPS = {f"{what}, budget ": f"{what} (by budget)" for what in ("accuracy", "weight of the edit", "v")}
"""Figures of each scored budget, which share a column."""


def _table(found: Sequence[Coverage]) -> str:
    """A row a condition: the share held and, where it differs, that of the quantiles alone."""
    rows: dict[tuple[str, int, int], dict[str, list[str]]] = {}
    for one in found:
        columns = rows.setdefault((one.condition, one.prompts, one.benchmarks), {})
        heading = next((to for begins, to in _GROUPS.items() if one.figure.startswith(begins)), one.figure)
        columns.setdefault(heading, []).append(_beside(one.held, one.plain, "" if one.sound else "**"))
        if one.others is not None:
            columns[f"{one.figure}, other names"] = [_beside(one.others, one.others_plain)]
    headings = list(dict.fromkeys(heading for columns in rows.values() for heading in columns))
    lines = ["| " + " | ".join(("condition", "prompts", "benchmarks", *headings)) + " |", "|---" + "|---:" * 2]
    lines[1] += "|---:" * len(headings) + "|"
    for (condition, prompts, benchmarks), columns in rows.items():
        cells = [", ".join(columns.get(heading, ())) for heading in headings]
        lines.append(f"| {condition} | {prompts:,} | {benchmarks:,} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _beside(held: float, plain: float, mark: str = "") -> str:
    """Both shares, or one where they read the same."""
    both = [f"{share:.1%}" for share in (held, plain)]
    return f"{mark}{both[0]}{mark}" + (f" ({both[1]})" if both[0] != both[1] else "")
