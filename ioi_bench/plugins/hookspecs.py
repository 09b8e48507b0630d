"""The hooks of the entry-point group ``ioi_bench``, each with a plugin that implements it from first line to last.

A hook is a function of that name in the plugin's module; ``@hookimpl`` above it is welcome and not needed. It is called
when its kind of thing is first needed, so that heavy imports may stand inside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from ioi_bench.dictionaries.architectures import Architecture
    from ioi_bench.plugins.records import (
        ArchitectureRecord,
        Baseline,
        EditRecord,
        Loader,
        MetricRecord,
        ModelRecord,
        Reporter,
    )

__all__ = [
    "PROJECT",
    "hookimpl",
    "ioi_bench_architectures",
    "ioi_bench_baselines",
    "ioi_bench_edits",
    "ioi_bench_loaders",
    "ioi_bench_metrics",
    "ioi_bench_models",
    "ioi_bench_reporters",
]

PROJECT = "ioi_bench"
"""pluggy's project name, and the entry-point group."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a function as a hook; a function whose name begins with ``ioi_bench_`` is one without it."""


@hookspec
def ioi_bench_loaders(architectures: Mapping[str, type[Architecture]]) -> list[Loader]:  # noqa: ARG001 (a signature)
    """Formats of dictionaries on disk, which `ioi-bench evaluate PATH` and `inspect PATH` then read.

    ``architectures`` are those known, by name, also other plugins'; a hook that needs none leaves the argument out.

    Example::

        from ioi_bench.dictionaries.architectures import Relu
        from ioi_bench.dictionaries.suite import Suite
        from ioi_bench.plugins import Loader, Recognised, hookimpl

        FILE = "my_sae.safetensors"

        def recognise(source, options):
            if not source.has(FILE):
                return None
            d_in, d_sae = source.tensors(FILE)["encoder"].shape
            return Recognised("relu", (options.hook,) if options.hook else (), d_in, d_sae)

        def load(source, options):
            w = source.safetensors(FILE)
            sae = Relu(W_enc=w["encoder"], b_enc=w["threshold"], W_dec=w["decoder"], b_dec=w["mean"])
            return Suite.at_hook("mine", options.model or "ioi-mini", options.hook, sae)

        @hookimpl
        def ioi_bench_loaders():
            return [Loader("mine", "my own ReLU SAEs, one file each", recognise, load)]
    """
    return []


@hookspec
def ioi_bench_architectures() -> list[ArchitectureRecord]:
    """Architectures that the native format may name: stored by `save_suite`, loaded and scored like the built-in ones.

    Example::

        from dataclasses import dataclass
        from types import MappingProxyType

        from ioi_bench.dictionaries.architectures import Relu
        from ioi_bench.plugins import ArchitectureRecord, hookimpl

        @dataclass(frozen=True, eq=False, kw_only=True)
        class Threshold(Relu):
            name = "threshold"
            settings = MappingProxyType({"scale": float, "threshold": float})
            threshold: float

            def encode(self, x):
                f = super().encode(x)
                return f * (f > self.threshold)

        @hookimpl
        def ioi_bench_architectures():
            return [ArchitectureRecord("threshold", "ReLU, and nothing at or below a threshold", Threshold)]
    """
    return []


@hookspec
def ioi_bench_metrics() -> list[MetricRecord]:
    """Further figures on the card: one value a prompt, for every cell × method × budget. They are never scored.

    Example::

        from ioi_bench.plugins import MetricRecord, hookimpl

        def top_logit_gap(inputs):
            edited, truth = inputs.edited_logits, inputs.counterfactual_logits
            return (edited.max(-1).values - truth.max(-1).values).abs()

        @hookimpl
        def ioi_bench_metrics():
            return [MetricRecord("top-logit-gap", "difference of the highest logits", top_logit_gap, "lower")]
    """
    return []


@hookspec
def ioi_bench_edits() -> list[EditRecord]:
    """Edit methods, for ``--methods``: activations and features of both sides in, edited activations out.

    What a method removes and adds it names round by round (`Edit`), and its weight is counted from that.

    Example::

        from ioi_bench.editing.base import apply_rounds, widened
        from ioi_bench.plugins import EditRecord, hookimpl

        def strongest(inputs, budgets):
            rounds = budgets[-1]

            def first(f):  # the k strongest active features; −1 where there are no more
                order = (-f.abs()).argsort(dim=1, stable=True)[:, :rounds]
                return widened(order.masked_fill(f.gather(1, order) == 0, -1), rounds)

            removed, added = first(inputs.f_s), first(inputs.f_t)
            values = inputs.f_t.gather(1, added.clamp(min=0))
            return apply_rounds(inputs, budgets, removed, added, values)

        @hookimpl
        def ioi_bench_edits():
            return [EditRecord("strongest", "the k strongest features of each side", strongest)]
    """
    return []


@hookspec
def ioi_bench_baselines() -> list[Baseline]:
    """Dictionaries fitted to a site's train activations, scored beside the suite (``--baseline NAME``).

    One that needs more (labels, the model, the suite) gives `Baseline.fit_all` in place of ``fit``.

    Example::

        import torch

        from ioi_bench.dictionaries.nulls import Linear
        from ioi_bench.plugins import Baseline, hookimpl

        def rotated(train, seed):
            square = torch.randn(train.shape[1], train.shape[1], generator=torch.Generator().manual_seed(seed))
            return Linear(torch.linalg.qr(square).Q, train.mean(0))

        @hookimpl
        def ioi_bench_baselines():
            return [Baseline("rotated", "a random orthonormal basis", rotated)]
    """
    return []


@hookspec
def ioi_bench_models() -> list[ModelRecord]:
    """Models with their circuits, for ``--model``: each is a track of its own.

    Example::

        from dataclasses import replace

        from ioi_bench.plugins import ModelRecord, hookimpl

        def load(device):
            from ioi_bench.lm.model import load_model
            return replace(load_model("ioi-mini", device), name="my-mini")

        def circuit():
            from ioi_bench.lm.circuit import load_circuit
            return replace(load_circuit("ioi-mini"), track="my-mini")

        @hookimpl
        def ioi_bench_models():
            return [ModelRecord("my-mini", "ioi-mini as a track of its own", load, circuit)]
    """
    return []


@hookspec
def ioi_bench_reporters() -> list[Reporter]:
    """Ways to write a card (``--report NAME``), as ``report-NAME`` beside ``card.json``.

    Example::

        from ioi_bench.plugins import Reporter, hookimpl

        def write(card, path):
            path.write_text("".join(f"{cell.name}\\t{cell.ranked}\\n" for cell in card.cells))

        @hookimpl
        def ioi_bench_reporters():
            return [Reporter("ranked", "cells and whether they are ranked", ".tsv", write)]
    """
    return []
