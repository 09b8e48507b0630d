"""What ioi-bench itself brings, through the same hooks as any plugin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from ioi_bench.dictionaries.architectures import ARCHITECTURES, Architecture, Skyline
from ioi_bench.dictionaries.nulls import Linear, codebook, pca, standard_null
from ioi_bench.editing import EDITS
from ioi_bench.lm.circuit import load_circuit
from ioi_bench.lm.model import load_model
from ioi_bench.plugins import native, reporters
from ioi_bench.plugins.anchors import anchors
from ioi_bench.plugins.hookspecs import hookimpl
from ioi_bench.plugins.records import (
    API_VERSION,
    ArchitectureRecord,
    Baseline,
    EditRecord,
    Loader,
    ModelRecord,
    Reporter,
)

__all__ = [
    "ioi_bench_architectures",
    "ioi_bench_baselines",
    "ioi_bench_edits",
    "ioi_bench_loaders",
    "ioi_bench_models",
    "ioi_bench_reporters",
]

IOI_BENCH_API = API_VERSION

_ARCHITECTURES = {
    "relu": "the vanilla SAE: one layer and a ReLU",
    "gated": "which features are active and how strongly are decided apart",
    "jumprelu": "a ReLU that starts at a threshold of each feature's own",
    "topk": "the k largest pre-activations",
    "skyline": "the supervised codes with a linear encoder: one active feature a block",
}
_EDITS = {
    "exchange": "k features take their value on the counterfactual, the nearest first",
    "split": "r features of the base out, r of the counterfactual in",
    "aware": "by F1 on train, among the features that are active",
    "universal": "by F1 on train, with train means: no counterfactual is read",
}
_MODELS = {
    "ioi-mini": "the small model that ships with ioi-bench",
    "gpt2": "GPT-2 small: the canonical track; needs the weights",
}
_SIZES = {"ioi-mini": (5, 4, 128), "gpt2": (12, 12, 768)}
"""Layers, heads in each, and width of the residual stream."""


@hookimpl
def ioi_bench_loaders(architectures: Mapping[str, type[Architecture]]) -> list[Loader]:
    """The native format."""
    return [native.loader(architectures)]


@hookimpl
def ioi_bench_architectures() -> list[ArchitectureRecord]:
    """relu, gated, topk, skyline."""
    return [ArchitectureRecord(name, _ARCHITECTURES[name], cls) for name, cls in ARCHITECTURES.items()]


@hookimpl
def ioi_bench_edits() -> list[EditRecord]:
    """The methods of METHOD §5."""
    return [EditRecord(name, _EDITS[name], edit) for name, edit in EDITS.items()]


def _codebook(train: Float[Tensor, "prompt d_in"], seed: int) -> Skyline:
    return codebook(train, min(8 * train.shape[1], len(train)), seed)


def _pca(train: Float[Tensor, "prompt d_in"], _: int) -> Linear:
    return pca(train)


def _neurons(train: Float[Tensor, "prompt d_in"], _: int) -> Linear:
    return Linear(torch.eye(train.shape[1]), torch.zeros(train.shape[1]))


@hookimpl
def ioi_bench_baselines() -> list[Baseline]:
    """Dictionaries that know only the data, or nothing; and the other anchors."""
    return [
        Baseline("pca", "principal axes, signed and dense", _pca),
        Baseline("codebook", "8 d_in memorised activations, the nearest one active", _codebook),
        Baseline("random", "8 d_in random directions, the top 3 active", standard_null),
        Baseline("neurons", "the activation's own coordinates: the identity", _neurons),
        *anchors(),
    ]


@hookimpl
def ioi_bench_models() -> list[ModelRecord]:
    """The tracks of METHOD §2."""

    def record(name: str, summary: str) -> ModelRecord:
        load: Callable = partial(load_model, name)
        return ModelRecord(name, summary, load, partial(load_circuit, name), *_SIZES[name])

    return [record(name, summary) for name, summary in _MODELS.items()]


@hookimpl
def ioi_bench_reporters() -> list[Reporter]:
    """The card as JSON, and as a table in Markdown."""
    return [
        Reporter("json", "the whole card", ".json", reporters.write_json),
        Reporter("markdown", "scores and cells as tables, to paste", ".md", reporters.write_markdown),
    ]
