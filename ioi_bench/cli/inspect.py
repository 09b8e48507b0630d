"""`ioi-bench inspect`: what a source of dictionaries is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ioi_bench.cli import options
from ioi_bench.cli.console import out, print_json, progress, say

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.table import Table

    from ioi_bench.plugins.inspection import Inspection

__all__ = ["inspect"]

_SHOWN = 4


def inspect(
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="A file, a folder or hf://org/repo that holds dictionaries.")
    ],
    loader: options.Loader = None,
    hook: options.Hook = None,
    arch: options.Arch = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="By default the one that the source names.")
    ] = None,
    settings: options.Set = None,
    track: options.Track = None,
    plugin: options.Plugin = None,
    json: options.Json = False,
) -> None:
    """Say what a source is, and what would be scored of it, without loading a model or weights.

    \b
    Examples:
      ioi-bench inspect reference_saes/ioi-mini/topk-k3-s0
      ioi-bench inspect my_sae.safetensors --hook blocks.2.hook_resid_pre
      ioi-bench inspect hf://org/repo/sub/folder
      ioi-bench inspect my_saes/ --plugin my_sae.py --json
    """
    from ioi_bench.plugins.inspection import inspect_source
    from ioi_bench.plugins.sources import open_source

    plugins = options.load_plugins(plugin)
    given = options.load_options(hook=hook, arch=arch, model=model, settings=settings)
    with progress() as told:
        source = open_source(path, told)
    found = inspect_source(source, given, loader, plugins=plugins, track=track)
    for warning in found.warnings:
        say(f"warning: {warning}", style="yellow")
    if json:
        print_json(_record(found))
        return
    console = out()
    console.print(_facts(found))
    console.print()
    if found.cells:
        console.print(_cells(found))
    elif found.sites:
        console.print(
            f"no site of the circuit {found.track} is among these: each hook is a track of its own, so evaluate "
            f"them one at a time, such as --hook {found.sites[0].point}"
        )
    else:
        console.print("what is scored depends on the hook: add --hook, such as --hook blocks.2.hook_resid_pre")


def _record(found: Inspection) -> dict[str, Any]:
    what = found.recognised
    return {
        "source": found.origin,
        "loader": found.loader,
        "architecture": what.architecture,
        "hooks": [str(hook) for hook in what.hooks],
        "sites": [str(site) for site in found.sites],
        "d_in": what.d_in,
        "d_sae": what.d_sae,
        "normalisation": what.normalisation,
        "model": found.model,
        "track": found.track,
        "notes": list(what.notes),
        "warnings": list(found.warnings),
        "cells": [
            {"cell": c.cell, "headline": c.headline, "ranked": c.ranked, "sites": c.sites, "covered": c.covered}
            for c in found.cells
        ],
    }


def _facts(found: Inspection) -> Table:
    from rich.table import Table

    what = found.recognised
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("source", found.origin)
    table.add_row("loader", found.loader)
    table.add_row("architecture", what.architecture)
    table.add_row("hooks", _some(what.hooks) or "not said")
    if found.sites:
        table.add_row("roles", ", ".join(sorted({str(site.role) for site in found.sites})))
    table.add_row("shapes", f"d_in {what.d_in:,}, d_sae {what.d_sae:,}")
    table.add_row("normalisation", what.normalisation)
    table.add_row("model", found.model + ("" if what.model else " (not said: the default)"))
    table.add_row("track", found.track)
    for note in what.notes:
        table.add_row("note", note)
    return table


def _some(values: Iterable[object]) -> str:
    names = [str(value) for value in values]
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _cells(found: Inspection) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), show_edge=False)
    table.add_column("cell", no_wrap=True)
    table.add_column("sites with a dictionary", justify="right", no_wrap=True)
    table.add_column("counts", no_wrap=True)
    for cell in found.cells:
        counts = "no: a further cell" if not cell.headline else "no: not ranked" if cell.ranked is False else "yes"
        shown = "to be found" if cell.headline and cell.ranked is None else counts
        style = "" if cell.headline else "dim"
        table.add_row(cell.cell, f"{cell.covered} of {cell.sites}", shown, style=style)
    return table
