"""`ioi-bench evaluate`: the main job."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from ioi_bench.cli import options
from ioi_bench.cli.console import cache_folder, out, progress, say

__all__ = ["evaluate"]


def evaluate(
    path: Annotated[str, typer.Argument(metavar="PATH", help="A suite: a folder with suite.json, or a .safetensors.")],
    model: options.Model = "ioi-mini",
    split: Annotated[str, typer.Option("--split", help="validation or test; choose on validation.")] = "test",
    budgets: Annotated[str, typer.Option("--budgets", help="Features that an edit may change.")] = "1,2,4,8,16",
    methods: Annotated[str, typer.Option("--methods", help="Edit methods.")] = "exchange,split,aware,universal",
    prompts: options.Prompts = None,
    train_prompts: options.TrainPrompts = None,
    device: options.Device = "cpu",
    batch_size: options.BatchSize = 512,
    seed: options.Seed = 0,
    folder: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the card; by default runs/SUITE-HASH.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Score a suite of dictionaries: how well editing its features does what editing the prompt would.

    Prints the IOI score and a table of cells, and writes card.json, prompts.parquet and card.png. 0 is what matched
    random dictionaries reach, 1 what supervised ones reach.

    \b
    Examples:
      ioi-bench evaluate reference_saes/ioi-mini/topk
      ioi-bench evaluate my_saes/ --model gpt2 --prompts 500
      ioi-bench evaluate my_saes/ --methods exchange --budgets 1,2,4 --out runs/mine
      ioi-bench evaluate my_saes/ --json | jq .headline
    """
    from ioi_bench.cli.card_table import print_card
    from ioi_bench.dictionaries.suite import load_suite
    from ioi_bench.evaluation.evaluate import evaluate as run

    suite = load_suite(path)
    target = folder or Path("runs") / f"{_file_name(suite.name)}-{suite.sha256[:8]}"
    with progress() as report:
        card = run(
            suite,
            model=model,
            split=split,
            prompts=prompts,
            train_prompts=train_prompts,
            budgets=options.numbers("--budgets", budgets),
            methods=options.words(methods),
            device=options.device_name(device),
            batch_size=batch_size,
            seed=seed,
            cache_dir=cache_folder(),
            out=target,
            progress=report,
        )
    if json:
        typer.echo(card.model_dump_json(indent=1))
    else:
        print_card(card, out())
    for warning in card.warnings:
        say(f"warning: {warning.message}", style="yellow")
    say(f"wrote {target}/: card.json, prompts.parquet, card.png, card.svg")


def _file_name(name: str) -> str:
    """A suite's name comes from a file of somebody's: only what is harmless in a path is kept."""
    return re.sub(r"[^\w.-]+", "-", name).strip(".-") or "suite"
