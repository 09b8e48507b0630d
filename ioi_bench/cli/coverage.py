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

    Prints a Markdown table, as in docs/uncertainty.md. Takes about a minute a condition of 1,000 prompts on one core.

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


def _table(found: Sequence[Coverage]) -> str:
    rows = [
        "| condition | prompts | figure | held | truth below, above | quantiles alone | bias, sd |",
        "|---|" + "---:|" * 6,
    ]
    for one in found:
        rows.append(
            f"| {one.condition} | {one.prompts:,} | {one.figure} | {'' if one.sound else '**'}{one.held:.1%}"
            f"{'' if one.sound else '**'} | {one.below:.1%}, {one.above:.1%} | {one.plain:.1%} | {one.bias:+.2f} |"
        )
        if one.others is not None:
            rows.append(
                f"| {one.condition} | {one.prompts:,} | {one.figure}, other names | {one.others:.1%} | | "
                f"{one.others_plain:.1%} | |"
            )
    return "\n".join(rows)
