"""`ioi-bench train`: reference SAEs at every site of a circuit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ioi_bench.cli import options
from ioi_bench.cli.console import cache_folder, progress, say

if TYPE_CHECKING:
    from ioi_bench.cli.console import Report
    from ioi_bench.training import EpochReport

__all__ = ["train"]


def train(
    folder: Annotated[Path, typer.Option("--out", "-o", help="Folder for the suite.")],
    architecture: Annotated[str, typer.Option("--architecture", "-a", help="relu, gated or topk.")] = "topk",
    k: Annotated[int | None, typer.Option("--k", help="Active features (topk).")] = None,
    lam: Annotated[float | None, typer.Option("--lam", help="Weight of the sparsity penalty (relu, gated).")] = None,
    d_sae: Annotated[int, typer.Option("--d-sae", help="Features a site.")] = 512,
    epochs: Annotated[int, typer.Option("--epochs", help="Passes over the train prompts.")] = 2000,
    batch_size: Annotated[int, typer.Option("--batch-size", help="Prompts a step.")] = 512,
    learning_rate: Annotated[float, typer.Option("--lr", help="Adam's learning rate.")] = 3e-4,
    warmup_epochs: Annotated[int, typer.Option("--warmup-epochs", help="Epochs in which the rate rises.")] = 0,
    seed: Annotated[int, typer.Option("--seed", help="Of weights and batch order.")] = 0,
    model: options.Model = "ioi-mini",
    train_prompts: options.TrainPrompts = None,
    name: Annotated[str | None, typer.Option("--name", help="The suite's name; by default the folder's.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped.")] = False,
) -> None:
    """Train one SAE at every site of the model's circuit, all in one program, and write them as a suite.

    A run that is stopped leaves its state beside the folder; --resume goes on from it, to the same bytes.

    \b
    Examples:
      ioi-bench train --architecture topk --k 6 --out runs/topk
      ioi-bench train --architecture gated --lam 1 --out runs/gated --epochs 500
      ioi-bench train --architecture topk --k 6 --out runs/topk --resume
    """
    from ioi_bench.activations import capture_split
    from ioi_bench.dictionaries.suite import Suite, save_suite
    from ioi_bench.lm.model import load_model
    from ioi_bench.task import task_spec
    from ioi_bench.training import TrainConfig, train_suite

    config = TrainConfig(architecture, d_sae, lam, k, epochs, batch_size, learning_rate, warmup_epochs, seed)
    options.refuse_existing(folder)
    state = options.state_file(folder, ".safetensors", resume)
    loaded = load_model(model)
    circuit = options.circuit_of(loaded)
    split = task_spec(circuit.task).split("train")
    split = split if train_prompts is None else split.head(train_prompts)
    with progress() as report:
        activations = capture_split(
            loaded,
            split.spec,
            split.prompts,
            circuit.sites,
            batch_size=512,
            cache_dir=cache_folder(),
            progress=lambda done, total: report("train activations", done, total),
        )
        trained = train_suite(activations, config, resume_path=state, progress=lambda epoch: _tell(report, epoch))
    metadata = {
        "training": config.to_json(),
        "task": split.spec.name,
        "spec_sha256": split.spec.sha256,
        "train_prompts": len(split),
    }
    save_suite(Suite(name or folder.name, loaded.name, trained, loaded.sha256, metadata), folder)
    state.unlink(missing_ok=True)
    say(f"wrote {len(trained)} dictionaries to {folder}/: score them with `ioi-bench evaluate {folder}`")


def _tell(report: Report, epoch: EpochReport) -> None:
    figures = {"loss": epoch.loss, "error": epoch.error, "L0": epoch.l0, "dead": epoch.dead}
    detail = ", ".join(f"{name} {values.mean().item():.3g}" for name, values in figures.items())
    report(f"epochs at {len(epoch.sites)} sites", epoch.epoch, epoch.epochs, detail)
