"""`ioi-bench study half`: whether half precision moves the cards of what was selected."""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ioi_bench.cli import options
from ioi_bench.cli.console import cache_folder, out, print_json, progress, say

if TYPE_CHECKING:
    from ioi_bench.studies.post.half import HalfStudy

__all__ = ["half"]


def half(
    run: Annotated[Path, typer.Argument(help="Folder of a finished training run.")],
    file: Annotated[Path | None, typer.Option("--out", "-o", help="Write the figures to this JSON file.")] = None,
    seed: Annotated[
        list[int] | None, typer.Option("--seed", help="Only suites of this seed; may be repeated. By default all.")
    ] = None,
    prompts: Annotated[int, typer.Option("--prompts", help="Only the first N test prompts.")] = 1000,
    train_prompts: options.TrainPrompts = None,
    selection_prompts: Annotated[
        int, typer.Option("--selection-prompts", help="Of selection: only the first N validation prompts.")
    ] = 2000,
    selection_train_prompts: Annotated[
        int, typer.Option("--selection-train-prompts", help="Of selection: only the first N train prompts.")
    ] = 10_000,
    model: options.Model = "ioi-mini",
    json: options.Json = False,
) -> None:
    """Judge every selected suite in full and in half precision: no IOI score may move by .005 or more.

    Exits 1 where one does. Cards are kept in the run's folder, and those of `ioi-bench study post` serve again.

    \b
    Examples:
      ioi-bench study half runs/reference
      ioi-bench study half runs/reference --out reference_saes/half.json
      ioi-bench study half runs/reference --seed 0 --prompts 500 --json
    """
    from ioi_bench.atomic import write_file
    from ioi_bench.lm.model import load_model
    from ioi_bench.studies.post.half import BOUND, study_half
    from ioi_bench.training.runs import Run

    found = Run(run)
    found.require_finished()
    loaded = load_model(model)
    with progress() as report:
        study = study_half(
            found,
            loaded,
            options.circuit_of(loaded),
            seeds=seed,
            prompts=prompts,
            train_prompts=train_prompts,
            selection_prompts=selection_prompts,
            selection_train_prompts=selection_train_prompts,
            cache_dir=cache_folder(),
            announce=say,
            progress=report,
        )
    if json:
        print_json(study.to_json())
    else:
        _print(study)
    if file is not None:
        record = json_text.dumps(study.to_json(), indent=1, ensure_ascii=False, allow_nan=False)
        write_file(file, (record + "\n").encode())
    if not study.holds:
        say(f"half precision moves an IOI score by {BOUND:g} or more: keep full precision", style="red")
        raise typer.Exit(1)


def _print(study: HalfStudy) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("suite", no_wrap=True)
    methods = list(study.suites[0].scores)
    for heading in (*methods, "largest S of a cell", "largest accuracy"):
        table.add_column(heading, justify="right")
    for one in study.suites:
        scores = (f"{one.scores[method]:+.4f}" for method in methods)
        table.add_row(one.suite, *scores, f"{one.cell:.4f}", f"{one.accuracy:.4f}")
    out().print(f"IOI scores on {study.prompts:,} test prompts: full precision less half\n")
    out().print(table)
