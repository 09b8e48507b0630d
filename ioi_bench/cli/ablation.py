"""`ioi-bench study ablation`: a recipe without each of its tactics."""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ioi_bench.cli import options
from ioi_bench.cli.console import cache_folder, duration, number, out, print_json, progress, say
from ioi_bench.errors import InputError

if TYPE_CHECKING:
    from ioi_bench.studies.ablation_study import AblationRow, AblationStudy

__all__ = ["ablation"]


def ablation(
    recipe: Annotated[Path, typer.Argument(help="A recipe, such as reference_saes/recipes/ablation.toml.")],
    folder: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for the runs, ABLATION.md, its figure and ablation.json.")
    ],
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a study that was stopped.")] = False,
    estimate_only: Annotated[bool, typer.Option("--estimate", help="Say how long it will take, and stop.")] = False,
    prompts: Annotated[int | None, typer.Option("--prompts", help="Only the first N validation prompts.")] = None,
    train_prompts: Annotated[
        int | None,
        typer.Option("--train-prompts", min=1, help="Only the first N train prompts, to learn and to judge."),
    ] = None,
    device: options.Device = "cpu",
    seed: Annotated[int, typer.Option("--seed", help="Of the bootstrap.")] = 0,
    json: options.Json = False,
) -> None:
    """What each tactic of training is worth: trains a recipe with all of them, and again with each one removed.

    Judged by the edit distance on validation of what would be selected, paired with the full recipe. How to read it:
    docs/training.md.

    \b
    Examples:
      ioi-bench study ablation reference_saes/recipes/ablation.toml --out runs/ablation --estimate
      ioi-bench study ablation reference_saes/recipes/ablation.toml --out runs/ablation
      ioi-bench study ablation my.toml --out runs/mine --resume --json
    """
    from ioi_bench.lm.model import load_model
    from ioi_bench.studies.ablation_estimate import estimate_ablation
    from ioi_bench.studies.ablation_study import study_ablation
    from ioi_bench.training import capture_inputs, read_recipe

    settings = read_recipe(recipe)
    if train_prompts is not None:
        settings = settings.model_copy(update={"train_prompts": train_prompts})
    _check_folder(folder, resume or estimate_only)
    model = load_model(settings.model, options.device_name(device))
    circuit, cache = options.circuit_of(model), cache_folder()
    with progress() as report:
        inputs = capture_inputs(settings, model, circuit, cache_dir=cache, progress=report)
        what = (settings, inputs, model, circuit, folder)
        found = estimate_ablation(*what, prompts=prompts, device=device, cache_dir=cache, progress=report)
        say(
            f"{found.runs} runs of {found.saes // found.runs:,} SAEs: {duration(found.training)} of training; "
            f"{found.judged:,} dictionaries to judge: {duration(found.judging)}; from nothing, as measured here"
        )
        if estimate_only:
            return
        study = study_ablation(*what, prompts=prompts, device=device, seed=seed, cache_dir=cache, progress=report)
    _write(study, folder)
    if json:
        print_json(study.to_json())
    else:
        _print(study)


def _check_folder(folder: Path, go_on: bool) -> None:
    from ioi_bench.studies.ablation import FULL

    if not (folder / FULL / "run.json").exists():
        options.refuse_existing(folder)
    elif (folder / FULL / "chunks").exists() and not go_on:
        raise InputError(f"{folder} holds a study that was begun: add --resume to go on, or choose another --out")


def _write(study: AblationStudy, folder: Path) -> None:
    from ioi_bench.atomic import write_file
    from ioi_bench.studies.ablation_figure import write_ablation_figure
    from ioi_bench.studies.ablation_report import FIGURE, ablation_markdown

    write_ablation_figure(study, folder / FIGURE)
    write_file(folder / "ABLATION.md", ablation_markdown(study).encode())
    record = json_text.dumps(study.to_json(), indent=1, ensure_ascii=False, allow_nan=False)
    write_file(folder / "ablation.json", (record + "\n").encode())
    say(f"wrote {folder}/: ABLATION.md, {FIGURE} and ablation.json")


def _print(study: AblationStudy) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("removed", no_wrap=True)
    for heading in ("exchange", "difference", "aware", "difference", "error", "L0", "dead"):
        table.add_column(heading, justify="right", no_wrap=True)
    for variant in study.variants:
        for row in study.rows(variant):
            table.add_row(*_cells(row))
    console = out()
    console.print(
        f"{study.model}: relative edit distance on {study.n_prompts:,} validation prompts, of what is selected. "
        "Difference: without the tactic less with it; above 0 the tactic helps.\n"
    )
    console.print(table)
    console.print(
        "\nIn brackets: 95 % intervals by bootstrap over sites. * excludes 0; without a star the interval includes 0, "
        "and nothing is shown. Error, L0 and dead features are of the last checkpoint."
    )


def _cells(row: AblationRow) -> list[str]:
    from ioi_bench.studies.ablation import FULL, reading
    from ioi_bench.studies.ablation_study import METHODS

    cells = [f"{row.variant}: nothing" if row.tactic == FULL else f"  {row.tactic}"]
    for method in METHODS:
        found = row.effects[method]
        one, star = found.difference, "*" if reading(found.difference) in ("helps", "harms") else " "
        text = f"{number(one.value, 3)} [{number(one.low, 3)} {number(one.high, 3)}]{star}"
        text = "same weights " if row.unmeasured else text
        cells += [number(found.removed, 3), "" if row.tactic == FULL else text]
    last = row.final
    return [*cells, f"{last.error:.3g}", number(last.l0, 1), f"{last.dead:.0%}"]
