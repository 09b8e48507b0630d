"""What can be checked of a plugin without its author: edits, metrics and baselines, and its loaders on a source."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import torch
from torch import Tensor

from ioi_bench.dictionaries.nulls import standard_null
from ioi_bench.dictionaries.source import Source
from ioi_bench.dictionaries.supervised import index_labels
from ioi_bench.dictionary import Dictionary
from ioi_bench.errors import IoiBenchError
from ioi_bench.evaluation.data import attribute_values
from ioi_bench.lm.circuit import load_circuit
from ioi_bench.lm.model import load_model
from ioi_bench.plugins.manager import Plugins
from ioi_bench.plugins.records import (
    Baseline,
    EditRecord,
    FitInputs,
    Loader,
    LoadOptions,
    MetricInputs,
    MetricRecord,
    Record,
)
from ioi_bench.sites import ATTRIBUTES, Cell, Site
from ioi_bench.task import task_spec, tokenize
from ioi_bench.testing.dictionaries import DictionaryCase
from ioi_bench.testing.edits import EditCase
from ioi_bench.testing.loaders import LoaderCase
from ioi_bench.testing.metrics import MetricCase
from ioi_bench.testing.results import Case

__all__ = ["plugin_cases"]

R = TypeVar("R", bound=Record)
_CELL, _SITE = Cell.parse("io@nm-out"), Site.parse("z.0.0@end")
_PROMPTS, _VOCAB, _D_IN, _TRAIN = 12, 40, 16, 400


def plugin_cases(
    plugins: Plugins, name: str, source: Source | None = None, options: LoadOptions | None = None
) -> Iterator[Case]:
    """The cases of one plugin; its loaders are checked on ``source``, those of them that know it."""
    generator = torch.Generator().manual_seed(0)

    def own(kind: type[R]) -> Iterator[R]:
        return (record for key, record in plugins.all(kind).items() if plugins.owner(kind, key) == name)

    for edit in own(EditRecord):
        yield EditCase(edit)
    for metric in own(MetricRecord):
        yield _metric_case(metric, generator)
    for baseline in own(Baseline):
        train = torch.randn(_TRAIN, _D_IN, generator=generator) @ torch.randn(_D_IN, _D_IN, generator=generator)
        made, train = (baseline.fit(train, 0), train) if baseline.fit is not None else _fitted(baseline)
        yield DictionaryCase(made, inputs=train[:64], name=f"baseline {baseline.name}")
    if source is not None:
        given = options or LoadOptions()
        yield from (LoaderCase(loader, source, given) for loader in own(Loader) if _knows(loader, source, given))


def _fitted(baseline: Baseline) -> tuple[Dictionary, Tensor]:
    """A dictionary of a baseline that needs more than activations: of a head of ioi-mini, and what it reads there."""
    model, circuit = load_model("ioi-mini"), load_circuit("ioi-mini")
    cell = circuit.headline[0]
    sites = circuit.cross_sections[cell.cross_section].sites
    split = task_spec(circuit.task).split("train").head(_TRAIN)
    activations = model.capture(tokenize(split.spec, split.prompts, model.tokenizer), sites)
    known = attribute_values(split.spec)
    labels = {name: [prompt.value((name,)) for prompt in split.prompts] for name in ATTRIBUTES}
    assert baseline.fit_all is not None
    made = baseline.fit_all(
        FitInputs(
            model=model,
            sites=sites,
            cell=cell if baseline.per_cell else None,
            split=split,
            activations=activations,
            values=index_labels(known, labels),
            n_values={name: len(values) for name, values in known.items()},
            suite={site: standard_null(activations[site], 0) for site in sites} if baseline.needs_suite else {},
            reads={},
            seeds={site: i for i, site in enumerate(sites)},
        )
    )
    return made[sites[0]], activations[sites[0]]


def _knows(loader: Loader, source: Source, options: LoadOptions) -> bool:
    try:
        return loader.recognise(source, options) is not None
    except IoiBenchError:
        return False


def _metric_case(record: MetricRecord, generator: torch.Generator) -> MetricCase:
    """The metric on random logits and activations of one site."""

    def measure(**given: Tensor) -> Tensor:
        return record.measure(
            MetricInputs(
                cell=_CELL,
                edited_logits=given["edited_logits"],
                clean_logits=given["clean_logits"],
                counterfactual_logits=given["counterfactual_logits"],
                edited={_SITE: given["edited"]},
                clean={_SITE: given["clean"]},
                counterfactual={_SITE: given["counterfactual"]},
                names=given["names"],
            )
        )

    sizes = dict.fromkeys(("edited_logits", "clean_logits", "counterfactual_logits"), _VOCAB)
    sizes |= dict.fromkeys(("edited", "clean", "counterfactual"), _D_IN)
    arguments = {key: torch.randn(_PROMPTS, size, generator=generator) for key, size in sizes.items()}
    arguments["names"] = torch.stack([torch.randperm(_VOCAB, generator=generator)[:4] for _ in range(_PROMPTS)])
    return MetricCase(measure, arguments, may_be_nan=True, name=record.name)
