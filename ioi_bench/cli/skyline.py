"""`ioi-bench skyline`: what supervised dictionaries reach."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ioi_bench.cli import options
from ioi_bench.cli.console import cache_folder, figure, out, print_json, progress, say

if TYPE_CHECKING:
    from rich.table import Table

    from ioi_bench.evaluation.skyline import SkylineCell

__all__ = ["skyline"]


def skyline(
    model: options.Model = "ioi-mini",
    split: Annotated[str, typer.Option("--split", help="The prompts that are edited.")] = "test",
    prompts: options.Prompts = None,
    train_prompts: options.TrainPrompts = None,
    device: options.Device = "cpu",
    batch_size: options.BatchSize = 512,
    seed: options.Seed = 0,
    export: Annotated[
        Path | None, typer.Option("--export", help="Write the suite skyline-encoded to this folder instead.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Fit supervised dictionaries and edit with them in every cell: the 1.0 of the score.

    Prints accuracy and the weight of the edit, with 95 % intervals, for mean and least-squares (MSE) codes.

    \b
    Examples:
      ioi-bench skyline
      ioi-bench skyline --model gpt2 --prompts 500 --json
      ioi-bench skyline --export runs/skyline-encoded
    """
    from ioi_bench.dictionaries.suite import save_suite
    from ioi_bench.evaluation.skyline import export_skyline
    from ioi_bench.evaluation.skyline import skyline as run
    from ioi_bench.lm.model import load_model

    loaded = load_model(model, options.device_name(device))
    circuit = options.circuit_of(loaded)
    with progress() as report:
        if export is not None:
            options.refuse_existing(export)
            suite = export_skyline(
                loaded,
                circuit,
                train_prompts=train_prompts,
                batch_size=batch_size,
                cache_dir=cache_folder(),
                progress=report,
            )
            save_suite(suite, export)
            say(f"wrote {len(suite.sites)} dictionaries to {export}/: score them with `ioi-bench evaluate {export}`")
            return
        cells = run(
            loaded,
            circuit,
            split=split,
            prompts=prompts,
            train_prompts=train_prompts,
            batch_size=batch_size,
            seed=seed,
            cache_dir=cache_folder(),
            progress=report,
        )
    if json:
        print_json([_record(found) for found in cells])
    else:
        out().print(_table(cells))


def _record(found: SkylineCell) -> dict[str, object]:
    return {
        "cell": str(found.cell),
        "headline": found.headline,
        "no_edit": found.no_edit.model_dump(),
        "codes": {kind: figures.model_dump() for kind, figures in found.codes.items()},
    }


def _table(cells: tuple[SkylineCell, ...]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for heading in ("cell", "codes"):
        table.add_column(heading, no_wrap=True)
    for heading in ("no edit", "accuracy", "weight"):
        table.add_column(heading, justify="right", no_wrap=True)
    for found in cells:
        for row, (kind, figures) in enumerate(found.codes.items()):
            first = (str(found.cell), kind, figure(found.no_edit)) if row == 0 else ("", kind, "")
            values = (figure(figures.accuracy), figure(figures.weight))
            table.add_row(*first, *values, style="" if found.headline else "dim")
    return table
