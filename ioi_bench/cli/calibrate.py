"""`ioi-bench calibrate`: are the published figures reproduced?"""

from __future__ import annotations

import math

import typer

from ioi_bench.cli import options
from ioi_bench.cli.console import cache_folder, number, out, print_json, progress, say
from ioi_bench.errors import InputError

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

    Exits with 0 if every row passes and with 1 otherwise: then cards made here do not compare with published ones.
    20,000 train prompts through GPT-2 take about half an hour on two cores, once.

    \b
    Examples:
      ioi-bench calibrate --model gpt2
      ioi-bench calibrate --model path/to/gpt2 --prompts 500 --train-prompts 5000
      ioi-bench calibrate --json
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

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
        found = [vars(row) | {"passed": row.passed} for row in rows]
        print_json(
            [{k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()} for row in found]
        )
    else:
        table = Table(box=box.SIMPLE_HEAD, show_edge=False)
        table.add_column("figure", no_wrap=True)
        for heading in ("published", "±", "here", ""):
            table.add_column(heading, justify="right", no_wrap=True)
        for row in rows:
            verdict = Text("PASS", style="green") if row.passed else Text("FAIL", style="bold red")
            values = (number(row.expected, 3), number(row.tolerance), number(row.found, 3))
            table.add_row(row.name, *values, verdict)
        out().print(table)
    failed = sum(not row.passed for row in rows)
    if failed:
        say(f"{failed} of {len(rows)} figures are not reproduced", style="red")
        raise typer.Exit(1)
