"""`ioi-bench train`: reference SAEs at every site of a circuit, as a recipe says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ioi_bench.cli import options
from ioi_bench.cli.console import cache_folder, duration, print_json, progress, say
from ioi_bench.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ioi_bench.cli.console import Report
    from ioi_bench.training import EpochReport, Recipe, Run

__all__ = ["train"]

_ON_A_GPU = 256  # SAEs in one program: at METHOD §8's sizes its buffers take about a GB


def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe, such as reference_saes/recipes/quick.toml.")],
    folder: Annotated[
        Path | None, typer.Option("--out", "-o", help="The run's folder; by default runs/RECIPE.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped.")] = False,
    device: options.Device = "cpu",
    model: Annotated[str | None, typer.Option("--model", "-m", help="Instead of the recipe's model.")] = None,
    chunk_members: Annotated[
        int | None,
        typer.Option("--chunk", min=1, help="At most so many SAEs in one program: memory and speed, not results."),
    ] = None,
    estimate_only: Annotated[bool, typer.Option("--estimate", help="Say how long it will take, and stop.")] = False,
    json: options.Json = False,
) -> None:
    """Train all SAEs of a recipe: every variant, sparsity and seed, at every site of the model's circuit, together.

    A run that is stopped, even by kill -9, goes on with --resume to the same bytes (on a CPU). Choose among what was
    trained with `ioi-bench select`.

    \b
    Examples:
      ioi-bench train reference_saes/recipes/quick.toml
      ioi-bench train reference_saes/recipes/ioi-mini.toml --estimate
      ioi-bench train my.toml --out runs/mine --resume
      ioi-bench train my.toml --estimate --json | jq .estimated_seconds
    """
    from ioi_bench.training import Run, estimate, read_recipe, train_run

    options.device_name(device)
    settings = read_recipe(recipe)
    if model is not None:
        settings = settings.model_copy(update={"model": model})
    folder = folder or Path("runs") / recipe.stem
    if not (folder / "run.json").exists():
        options.refuse_existing(folder)
    elif not estimate_only and Run(folder).recipe == settings and not Run(folder).unfinished:
        say(f"{folder} is trained to the end: choose among its SAEs with `ioi-bench select {folder}`")
        if json:
            print_json(_about(Run(folder), None))
        return
    elif (folder / "chunks").exists() and not (resume or estimate_only):
        raise InputError(f"{folder} holds a run that was begun: add --resume to go on, or choose another --out")
    with progress() as report:
        many = chunk_members or (None if device == "cpu" else _ON_A_GPU)
        run = _prepared(settings, folder, many, report)
        seconds, done = estimate(run, device=device, resumed=True), _share_done(run)
        rest = f" for the rest ({done:.0%} is done)" if done else ""
        say(f"{len(run.members):,} SAEs in {len(run.chunks)} chunks: {duration(seconds)}{rest}, as measured here")
        if not estimate_only:
            train_run(folder, device=device, progress=_teller(report, run))
    if not estimate_only:
        say(f"trained {len(run.members):,} SAEs in {folder}/: choose among them with `ioi-bench select {folder}`")
    if json:
        print_json(_about(run, seconds))


def _about(run: Run, seconds: float | None) -> dict[str, Any]:
    """The run for programs; ``estimated_seconds`` where it was measured."""
    return {
        "run": str(run.folder),
        "identity": run.identity,
        "members": len(run.members),
        "chunks": len(run.chunks),
        "finished": not run.unfinished,
        "checkpoints": list(run.checkpoints),
        "estimated_seconds": seconds,
    }


def _share_done(run: Run) -> float:
    """Of all epochs of all SAEs."""
    done = sum(run.epochs_done(chunk) * len(chunk.members) for chunk in run.chunks)
    return done / (run.recipe.epochs * len(run.members))


def _prepared(recipe: Recipe, folder: Path, chunk_members: int | None, report: Report) -> Run:
    """Capture what is to be learnt, and write it down as a run."""
    from ioi_bench.lm.model import load_model
    from ioi_bench.training.inputs import capture_inputs

    model = load_model(recipe.model)
    inputs = capture_inputs(recipe, model, options.circuit_of(model), cache_dir=cache_folder(), progress=report)
    return inputs.plan(folder, recipe, chunk_members=chunk_members)


def _teller(report: Report, run: Run) -> Callable[[EpochReport], None]:
    """Progress over all chunks: epochs of members, with the latest figures."""
    done = {chunk.index: run.epochs_done(chunk) * len(chunk.members) for chunk in run.chunks}

    def tell(epoch: EpochReport) -> None:
        done[epoch.chunk.index] = epoch.epoch * len(epoch.chunk.members)
        loss, error, l0, dead = epoch.figures.mean(1).tolist()
        detail = f"{epoch.chunk.variant}: loss {loss:.3g}, error {error:.3g}, L0 {l0:.3g}, dead {dead:.0%}"
        report("epochs of SAEs", sum(done.values()), run.recipe.epochs * len(run.members), detail)

    return tell
