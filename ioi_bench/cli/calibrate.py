"""`ioi-bench calibrate`: are the published figures reproduced?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import typer

from ioi_bench.cli import options
from ioi_bench.cli.console import cache_folder, number, out, print_json, progress, say
from ioi_bench.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

    from ioi_bench.evaluation.calibrate import CalibrationRow

__all__ = ["calibrate"]


def calibrate(
    model: options.Model = "gpt2",
    prompts: options.Prompts = None,
    train_prompts: options.TrainPrompts = None,
    device: options.Device = "cpu",
    batch_size: options.BatchSize = 256,
    json: options.Json = False,
) -> None:
    """Check the published figures of GPT-2 that need no SAE: PASS or FAIL a row.

    An edit's accuracy also FAILs where no edit is about as accurate: such a model does not do the task.

    Exits with 0 if every row passes and with 1 otherwise: then cards made here do not compare with published ones.
    20,000 train prompts through GPT-2 take about half an hour on two cores, once.

    \b
    Examples:
      ioi-bench calibrate --model gpt2
      ioi-bench calibrate --model path/to/gpt2 --prompts 500 --train-prompts 5000
      ioi-bench calibrate --json
    """
    from ioi_bench.evaluation.calibrate import calibrate as run
    from ioi_bench.lm.circuit import load_circuit
    from ioi_bench.lm.model import load_model

    if model == "ioi-mini":
        raise InputError("the published figures are GPT-2's: give --model gpt2, or a directory that holds its weights")
    loaded = load_model(model, options.device_name(device))
    with progress() as report:
        rows = run(
            loaded,
            load_circuit("gpt2"),
            prompts=prompts,
            train_prompts=train_prompts,
            batch_size=batch_size,
            cache_dir=cache_folder(),
            progress=report,
        )
    if json:
        print_json([_record(row) for row in rows])
    else:
        out().print(_table(rows))
    failed = sum(not row.passed for row in rows)
    if failed:
        say(f"{failed} of {len(rows)} figures are not reproduced", style="red")
        raise typer.Exit(1)


def _record(row: CalibrationRow) -> dict[str, Any]:
    gain, low = row.gain or (None, None)
    record = vars(row) | {"gain": gain, "gain_low": low, "passed": row.passed, "reason": row.reason}
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in record.items()}


def _table(rows: tuple[CalibrationRow, ...]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("figure", no_wrap=True)
    for heading in ("published", "±", "here", "no edit", ""):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("why")
    for row in rows:
        verdict = Text("PASS", style="green") if row.passed else Text("FAIL", style="bold red")
        no_edit = "" if row.no_edit is None else number(row.no_edit, 3)
        values = (number(row.expected, 3), number(row.tolerance), number(row.found, 3), no_edit)
        table.add_row(row.name, *values, verdict, row.reason)
    return table
