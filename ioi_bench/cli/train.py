"""`ioi-bench train`: reference SAEs at every site of a circuit, as a recipe says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ioi_bench.cli import options
from ioi_bench.cli.console import cache_folder, progress, say
from ioi_bench.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ioi_bench.cli.console import Report
    from ioi_bench.training import EpochReport, Recipe, Run

__all__ = ["train"]


def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe, such as reference_saes/recipes/quick.toml.")],
    folder: Annotated[
        Path | None, typer.Option("--out", "-o", help="The run's folder; by default runs/RECIPE.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped.")] = False,
    device: options.Device = "cpu",
    model: Annotated[str | None, typer.Option("--model", "-m", help="Instead of the recipe's model.")] = None,
    chunk_members: Annotated[
        int, typer.Option("--chunk", min=1, help="At most so many SAEs in one program: memory and speed, not results.")
    ] = 32,
    estimate_only: Annotated[bool, typer.Option("--estimate", help="Say how long it will take, and stop.")] = False,
) -> None:
    """Train all SAEs of a recipe: every variant, sparsity and seed, at every site of the model's circuit, together.

    A run that is stopped, even by kill -9, goes on with --resume to the same bytes (on a CPU). Choose among what was
    trained with `ioi-bench select`.

    \b
    Examples:
      ioi-bench train reference_saes/recipes/quick.toml
      ioi-bench train reference_saes/recipes/ioi-mini.toml --estimate
      ioi-bench train my.toml --out runs/mine --resume
    """
    from ioi_bench.training import estimate, read_recipe, train_run

    options.device_name(device)
    settings = read_recipe(recipe)
    if model is not None:
        settings = settings.model_copy(update={"model": model})
    folder = folder or Path("runs") / recipe.stem
    if not (folder / "run.json").exists():
        options.refuse_existing(folder)
    elif (folder / "chunks").exists() and not (resume or estimate_only):
        raise InputError(f"{folder} holds a run that was begun: add --resume to go on, or choose another --out")
    with progress() as report:
        run = _prepared(settings, folder, chunk_members, report)
        took = _duration(estimate(run, device=device))
        say(f"{len(run.members):,} SAEs in {len(run.chunks)} chunks: {took} from nothing, as measured here")
        if estimate_only:
            return
        train_run(folder, device=device, progress=_teller(report, run))
    say(f"trained {len(run.members):,} SAEs in {folder}/: choose among them with `ioi-bench select {folder}`")


def _prepared(recipe: Recipe, folder: Path, chunk_members: int, report: Report) -> Run:
    """Capture what is to be learnt, and write it down as a run."""
    from ioi_bench.activations import capture_split, gradient_split
    from ioi_bench.lm.model import load_model
    from ioi_bench.task import task_spec
    from ioi_bench.training import create_run
    from ioi_bench.training.programs import program

    model = load_model(recipe.model)
    circuit = options.circuit_of(model)
    split = task_spec(circuit.task).split("train")
    split = split if recipe.train_prompts is None else split.head(recipe.train_prompts)
    activations = capture_split(
        model,
        split.spec,
        split.prompts,
        circuit.sites,
        batch_size=512,
        cache_dir=cache_folder(),
        progress=lambda done, total: report("train activations", done, total),
    )
    gradients = None
    if any(program(name).needs_gradient for name in recipe.variants):
        gradients = gradient_split(
            model,
            split.spec,
            split.prompts,
            circuit.sites,
            cache_dir=cache_folder(),
            progress=lambda done, total: report("gradients of the logit difference", done, total),
        )
    provenance = {
        "model": model.name,
        "model_sha256": model.sha256,
        "task": split.spec.name,
        "spec_sha256": split.spec.sha256,
        "train_prompts": len(split),
    }
    return create_run(
        folder, recipe, activations, gradients=gradients, provenance=provenance, chunk_members=chunk_members
    )


def _teller(report: Report, run: Run) -> Callable[[EpochReport], None]:
    """Progress over all chunks: epochs of members, with the latest figures."""
    done: dict[int, int] = {}

    def tell(epoch: EpochReport) -> None:
        done[epoch.chunk.index] = epoch.epoch * len(epoch.chunk.members)
        loss, error, l0, dead = epoch.figures.mean(1).tolist()
        detail = f"{epoch.chunk.variant}: loss {loss:.3g}, error {error:.3g}, L0 {l0:.3g}, dead {dead:.0%}"
        report("epochs of SAEs", sum(done.values()), run.recipe.epochs * len(run.members), detail)

    return tell


def _duration(seconds: float) -> str:
    """As people say it.

    >>> _duration(42), _duration(600), _duration(7260)
    ('about 42 s', 'about 10 min', 'about 2 h 1 min')
    """
    if seconds < 90:
        return f"about {seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"about {hours} h {minutes} min" if hours else f"about {minutes} min"
