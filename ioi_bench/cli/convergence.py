"""`ioi-bench study convergence`: how far the SAEs of a run have come."""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ioi_bench.cli import options
from ioi_bench.cli.console import cache_folder, out, print_json, progress, say
from ioi_bench.cli.select import candidates_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ioi_bench.studies.convergence import ConvergenceStudy

__all__ = ["convergence"]


def convergence(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished training runs.")],
    folder: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for CONVERGENCE.md, convergence.json and the curves.")
    ] = None,
    prompts: Annotated[int, typer.Option("--prompts", help="Only the first N validation prompts.")] = 2000,
    train_prompts: Annotated[
        int, typer.Option("--train-prompts", min=1, help="Only the first N train prompts, to judge edits.")
    ] = 10_000,
    model: options.Model = "ioi-mini",
    json: options.Json = False,
) -> None:
    """Whether training has converged, by a rule; and what the last doubling, or a longer run, changes.

    Of a run: how loss and error moved over the last quarter before the learning rate falls, and what the second half
    changed on validation. Of several: the last checkpoints of the SAEs that all have. Judged dictionaries are shared
    with `ioi-bench select`. How to read it: docs/training.md.

    \b
    Examples:
      ioi-bench study convergence runs/reference
      ioi-bench study convergence runs/reference runs/longer --out runs/convergence
      ioi-bench study convergence runs/reference --json
    """
    from ioi_bench.errors import InputError
    from ioi_bench.lm.model import load_model
    from ioi_bench.studies.convergence import study_convergence
    from ioi_bench.training.runs import Run

    named = {path.resolve().name: Run(path) for path in runs}
    if len(named) < len(runs):
        raise InputError(f"runs are told apart by their folders' names: {', '.join(map(str, runs))} have one in common")
    if folder is not None:
        options.refuse_existing(folder)
    loaded = load_model(model)
    with progress() as report:
        study = study_convergence(
            named,
            loaded,
            options.circuit_of(loaded),
            prompts=prompts,
            train_prompts=train_prompts,
            cache_dir=cache_folder(),
            announce=lambda name, found: say(f"{name}: {candidates_line(found)}"),
            progress=report,
        )
    if json:
        print_json(study.to_json())
    else:
        _print(study)
    if folder is not None:
        command = f"ioi-bench study convergence {' '.join(f'runs/{name}' for name in named)} --prompts {prompts} "
        _write(study, folder, f"{command}--train-prompts {train_prompts}")


def _print(study: ConvergenceStudy) -> None:
    from ioi_bench.studies.convergence import FIGURES
    from ioi_bench.studies.convergence_page import HEADINGS, compared_rows, end_rows, verdict

    for run in study.spans:
        out().print(f"{verdict(study, run)}\n")
        _table(HEADINGS, end_rows(study, run))
    if len(study.compared):
        out().print(f"The last checkpoints of what all have trained: {' → '.join(study.spans)}\n")
        _table(("variant", "λ, k", "SAEs", *FIGURES.values()), compared_rows(study))


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column(headings[0], no_wrap=True)
    for heading in headings[1:]:
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(*row)
    out().print(table)
    out().print()


def _write(study: ConvergenceStudy, folder: Path, command: str) -> None:
    from ioi_bench.atomic import write_file
    from ioi_bench.studies.convergence_page import FIGURE, convergence_page
    from ioi_bench.studies.post.figures import curve_chart, write_charts

    write_charts({Path(FIGURE).stem: curve_chart(study.curves)}, folder)
    write_file(folder / "CONVERGENCE.md", convergence_page(study, [command]).encode())
    record = json_text.dumps(study.to_json(), indent=1, ensure_ascii=False, allow_nan=False)
    write_file(folder / "convergence.json", (record + "\n").encode())
    say(f"wrote {folder}/: CONVERGENCE.md, convergence.json and {FIGURE}")
