"""Making the ioi-mini track: the model, what it reached, and its circuit with the ranked cells frozen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ioi_bench.atomic import write_file
from ioi_bench.evaluation.data import Capture, Progress, silent, split_of
from ioi_bench.evaluation.ranking import rank_track
from ioi_bench.evaluation.shipped import fit_codes, write_skylines
from ioi_bench.lm.circuit import Circuit, write_circuit
from ioi_bench.lm.mini.export import mini_circuit, write_model
from ioi_bench.lm.mini.measure import measure_interchange, measure_task
from ioi_bench.lm.mini.train import MiniRecipe, train_mini
from ioi_bench.lm.mini.train import Progress as TrainingProgress
from ioi_bench.lm.model import load_model

__all__ = ["freeze_track", "make_mini_track"]

_CARD = """---
license: apache-2.0
library_name: transformers
tags: [interpretability, sparse-autoencoder, ioi]
---

# ioi-mini

A small GPT-2 ({n_layers} layers, {n_heads} heads, d_model {d_model}) over a word-level vocabulary of {d_vocab} tokens.
It does one thing, indirect-object identification, and was trained to do it by a designated circuit:
interchange-intervention training (Geiger et al. 2022) with the strict form's loss on all other sites (InterpBench,
Gupta et al. 2024). Duplicate-token heads at S2 are to write which of the two names S is, S-inhibition heads to carry
that to END, name movers to move the other name; the heads of a stage share its work. How far that holds is measured
below: `one head` is the answers that stay when one head of the stage is held at its mean, `least` the other site whose
interchange changes most answers.

Made by `ioi-bench model train-mini` (seed {seed}, recipe {recipe}); prompts are drawn from the spec `ioi-v1-mini`'s
words and templates, so a training prompt can equal one of a split. Weights under Apache-2.0.

| measured | value |
|---|---|
{rows}
"""


def make_mini_track(
    folder: Path,
    *,
    recipe: MiniRecipe | None = None,
    checkpoint: Path | None = None,
    training: TrainingProgress | None = None,
    progress: Progress | None = None,
) -> Circuit:
    """Train ioi-mini and write it, its model card and its circuit (``circuit.toml``) into a folder.

    Args:
        folder: where everything goes.
        recipe: what decides the weights.
        checkpoint: the training's state; it goes on from there where the file exists.
        training: called after each training step.
        progress: called as ``progress(what, done, total)`` while measuring.

    Raises:
        InputError: the checkpoint is damaged or of another recipe.
        StorageError: the folder cannot be written.
    """
    recipe = recipe or MiniRecipe()
    network, tokenizer = train_mini(recipe, checkpoint=checkpoint, progress=training)
    write_model(network, tokenizer, folder)
    return freeze_track(folder, recipe, progress)


def freeze_track(folder: Path, recipe: MiniRecipe, progress: Progress | None = None) -> Circuit:
    """Measure the model in a folder, find its ranked cells, and write the circuit and the model card beside it."""
    tell: Callable[[str, int, int], None] = progress or silent
    model = load_model(folder)
    effects = {"task": measure_task(model)}
    effects |= measure_interchange(model, progress=lambda done, total: tell("interchange", done, total))
    rounded = {name: {key: round(value, 4) for key, value in row.items()} for name, row in effects.items()}
    circuit = mini_circuit(rounded)
    train = split_of(circuit, "train")
    activations = Capture(model, 512, None, tell)(train.spec, train.prompts, circuit.sites, "train activations")
    write_skylines(folder, fit_codes(train, activations), model, train)
    circuit = replace(circuit, ranked=rank_track(model, circuit, progress=progress))
    write_circuit(
        circuit,
        folder / "circuit.toml",
        comment="ioi-mini's designated circuit; `ioi-bench model train-mini` measured effects and ranked cells.",
    )
    rows = "\n".join(
        f"| {name}: {key.replace('_', ' ')} | {value:.4f} |"
        for name, row in rounded.items()
        for key, value in row.items()
    )
    card = _CARD.format(
        n_layers=model.n_layers,
        n_heads=model.n_heads,
        d_model=model.d_model,
        d_vocab=model.d_vocab,
        seed=recipe.seed,
        recipe=recipe.sha256[:12],
        rows=rows,
    )
    write_file(folder / "README.md", card.encode())
    return circuit
