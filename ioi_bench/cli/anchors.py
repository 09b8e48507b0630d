"""`ioi-bench anchors`: what must score nothing on a track, and what knows the answer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ioi_bench.cli import options
from ioi_bench.cli.console import cache_folder, out, print_json, progress, say

__all__ = ["anchors"]


def anchors(
    model: options.Model = "ioi-mini",
    baseline: Annotated[
        list[str] | None, typer.Option("--baseline", help="Only this one; may be repeated. By default all.")
    ] = None,
    prompts: Annotated[int, typer.Option("--prompts", help="The first N test prompts.")] = 1000,
    train_prompts: options.TrainPrompts = None,
    plugin: options.Plugin = None,
    device: options.Device = "cpu",
    batch_size: options.BatchSize = 512,
    seed: options.Seed = 0,
    file: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write them there, for `ioi-bench evaluate --anchors FILE`.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Compute the anchors of a track: nulls, ceilings, and the same pipeline on an untrained model.

    They are the same for every suite. Those of ioi-mini ship and are on every card; those of another model are written
    to a file that `ioi-bench evaluate --anchors` takes.

    \b
    Examples:
      ioi-bench anchors --out runs/anchors.json
      ioi-bench anchors --model gpt2 --out gpt2-anchors.json
      ioi-bench anchors --baseline das --baseline pca --prompts 200
    """
    from ioi_bench.cli.anchors_table import print_anchors
    from ioi_bench.evaluation.anchor_files import write_anchors
    from ioi_bench.evaluation.anchor_records import CardAnchors
    from ioi_bench.evaluation.anchors import track_anchors
    from ioi_bench.lm.model import load_model

    loaded = load_model(model, options.device_name(device))
    with progress() as report:
        found = track_anchors(
            loaded,
            options.circuit_of(loaded),
            plugins=options.load_plugins(plugin),
            only=baseline,
            prompts=prompts,
            train_prompts=train_prompts,
            batch_size=batch_size,
            seed=seed,
            cache_dir=cache_folder(),
            progress=report,
        )
    if json:
        print_json(found.model_dump(mode="json"))
    else:
        print_anchors(CardAnchors(track=found, note="", suite=()), out())
    if file is not None:
        write_anchors(found, file)
        say(f"wrote {file}: `ioi-bench evaluate … --anchors {file}` shows them on a card")
