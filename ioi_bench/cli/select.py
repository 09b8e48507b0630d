"""`ioi-bench select`: the best of a training run, as suites."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ioi_bench.cli import options
from ioi_bench.cli.console import cache_folder, duration, number, out, print_json, progress, say
from ioi_bench.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from ioi_bench.evaluation.candidate_estimate import CandidatesEstimate
    from ioi_bench.sites import Site

__all__ = ["candidates_line", "select"]


def select(
    run: Annotated[Path, typer.Argument(help="Folder of a finished training run.")],
    folder: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for the suites and selection.csv; by default RUN/selected."),
    ] = None,
    method: Annotated[str, typer.Option("--method", help="The edit method that chooses.")] = "exchange",
    last_epoch: Annotated[
        bool, typer.Option("--last-epoch", help="Only the last checkpoint: λ alone is selected.")
    ] = False,
    prompts: Annotated[int | None, typer.Option("--prompts", help="Only the first N validation prompts.")] = None,
    train_prompts: options.TrainPrompts = None,
    half: Annotated[bool, typer.Option("--half", help="Store weights in half precision.")] = False,
    estimate_only: Annotated[bool, typer.Option("--estimate", help="Say how long it will take, and stop.")] = False,
    model: options.Model = "ioi-mini",
    json: options.Json = False,
) -> None:
    """Choose λ and checkpoint at every site by edit distance on validation, and write one suite a variant and seed.

    Of the top-k variants every k is a suite of its own. Nothing is read from the test split. Judged dictionaries are
    kept in the run's folder, so that a selection that was cut off goes on, and another --method costs nothing.

    \b
    Examples:
      ioi-bench select runs/sweep
      ioi-bench select runs/sweep --estimate
      ioi-bench select runs/sweep --out selected-last --last-epoch --half
      ioi-bench select runs/sweep --out selected-aware --method aware --prompts 1000
      ioi-bench select runs/sweep --out selected --json | jq length
    """
    from ioi_bench.atomic import write_file
    from ioi_bench.dictionaries.suite import save_suite
    from ioi_bench.editing import EDITS
    from ioi_bench.errors import UnknownNameError
    from ioi_bench.evaluation import selection
    from ioi_bench.evaluation.candidate_estimate import estimate_candidates
    from ioi_bench.lm.model import load_model
    from ioi_bench.training.runs import Run

    if method not in EDITS:
        raise UnknownNameError("edit method", method, EDITS)
    folder = folder or run / "selected"
    if not estimate_only:
        options.refuse_existing(folder)
    found = Run(run)
    found.require_finished()
    loaded = load_model(model)
    circuit = options.circuit_of(loaded)
    judging: dict[str, Any] = {"prompts": prompts, "train_prompts": train_prompts, "cache_dir": cache_folder()}
    with progress() as report:
        judging |= {"keep": run / "selection", "progress": report}
        expected = estimate_candidates(found, loaded, circuit, **judging)
        say(candidates_line(expected))
        if estimate_only:
            if json:
                print_json(asdict(expected))
            return
        table = selection.candidates_table(found, loaded, circuit, **judging)
    choices = selection.select(table, last_epoch=last_epoch)
    failed = 0
    for name, own in choices.groupby("suite"):
        variant, seed, k = own[["variant", "seed", "sparsity"]].iloc[0]
        sparsity = k if variant in selection.FIXED_SPARSITY else None
        try:
            suite = selection.selected_suite(
                found,
                choices,
                variant,
                seed,
                method,
                model=loaded,
                circuit=circuit,
                sparsity=sparsity,
                half=half,
            )
        except InputError as error:
            failed += 1
            say(f"warning: no suite {name}: {error}", style="yellow")
            continue
        save_suite(suite, folder / suite.name)
    write_file(folder / "selection.csv", selection.with_chosen(table, choices).to_csv(index=False).encode())
    shown = _shown(choices, selection.headline_attributes(circuit), method)
    if json:
        print_json([{k: None if v != v else v for k, v in row.items()} for row in shown.to_dict("records")])
    else:
        _print(shown)
    say(f"wrote {choices['suite'].nunique() - failed} suites and selection.csv to {folder}/")
    if failed:
        say(f"{failed} suites could not be made", style="red")
        raise typer.Exit(1)


def candidates_line(found: CandidatesEstimate) -> str:
    """How much there is to judge, and how long it will take."""
    if not found.left:
        return f"{found.dictionaries:,} dictionaries: all are judged"
    return (
        f"{found.dictionaries:,} dictionaries, {found.left:,} of them to be judged: {duration(found.seconds)}, "
        "as measured here"
    )


def _shown(choices: pd.DataFrame, headline: Mapping[Site, str], method: str) -> pd.DataFrame:
    """The choices that the suites are made of: those of the headline attribute of each site."""
    served = choices["site"].map({str(site): attribute for site, attribute in headline.items()})
    return choices[(choices["attribute"] == served) & (choices["method"] == method)]


def _print(choices: pd.DataFrame) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    for heading in ("suite", "site", "for"):
        table.add_column(heading, no_wrap=True)
    for heading in ("λ, k", "epoch", "distance", "rel.", "L0", "FVU", "LD"):
        table.add_column(heading, justify="right", no_wrap=True)
    last = ""
    for row in choices.to_dict("records"):
        name = "" if row["suite"] == last else row["suite"]
        last = row["suite"]
        chosen = (f"{row['sparsity']:g}", str(row["epoch"]))
        distances = (number(row["distance"], 3), number(row["distance_relative"], 3))
        recovered = number(row["ld_recovered"]) + ("" if row["ld_reliable"] else "?")
        rest = (number(row["l0"], 1), number(row["fvu"], 3), recovered)
        table.add_row(name, row["site"], row["attribute"], *chosen, *distances, *rest)
    out().print(table)
    if not choices["ld_reliable"].all():
        say("LD with a ?: ablating the site alone hardly moves the logit difference, so its recovery means little")
