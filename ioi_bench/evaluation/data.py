"""What an evaluation reads: activations of a split, of its counterfactuals and of train, with attribute values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ioi_bench.activations import capture_split
from ioi_bench.dictionaries.supervised import index_labels
from ioi_bench.errors import InputError
from ioi_bench.evaluation.codes import Values
from ioi_bench.evaluation.runs import CellBatch
from ioi_bench.sites import ATTRIBUTES, Cell, Site
from ioi_bench.task import Prompt, Split, TaskSpec, TokenBatch, name_tokens, task_spec, tokenize
from ioi_bench.threads import in_threads

if TYPE_CHECKING:
    from ioi_bench.lm.circuit import Circuit
    from ioi_bench.lm.model import LanguageModel

__all__ = [
    "Capture",
    "Progress",
    "SplitData",
    "TrainData",
    "attribute_values",
    "read_split",
    "read_train",
    "silent",
    "split_of",
    "values_of",
]

Progress = Callable[[str, int, int], None]
"""Called as ``progress(what, done, total)``."""

_SHARD = 1000
"""Prompts that are captured together: as many as `capture_split` keeps in a file."""


def silent(what: str, done: int, total: int) -> None:
    """Tell nobody."""


def split_of(circuit: Circuit, split: Split | str, prompts: int | None = None) -> Split:
    """A split of the circuit's task, by name or as it was drawn, or its first prompts.

    Raises:
        UnknownNameError: no such split.
        InputError: fewer than 1 prompt, or more than there are; a split of another task; or a held-out split, whose
            dictionaries and skyline would have to be fitted on its own train split (METHOD §1).
    """
    if isinstance(split, Split):
        if split.spec != task_spec(circuit.task):
            raise InputError(
                f"{split.name!r} is of the task {split.spec.name!r}; {circuit.track!r} has {circuit.task!r}"
            )
        return split if prompts is None else split.head(prompts)
    if split.startswith("held-out"):
        raise InputError(
            f"{split!r} cannot be evaluated: skylines and rankings are fitted on 'train', which shows its names and "
            "its template; give test or validation"
        )
    found = task_spec(circuit.task).split(split)
    return found if prompts is None else found.head(prompts)


def attribute_values(spec: TaskSpec) -> dict[str, tuple[str, ...]]:
    """All values of every attribute, in the order of their indices."""
    return {"io": spec.names, "s": spec.names, "pos": ("ABB", "BAB")}


def values_of(spec: TaskSpec, prompts: Sequence[Prompt], cells: Sequence[Cell]) -> tuple[Values, dict[str, int]]:
    """Indices of each prompt's attribute values, also joint ones, and how many values there are, by edit."""
    known = attribute_values(spec)
    labels = {attribute: [prompt.value((attribute,)) for prompt in prompts] for attribute in ATTRIBUTES}
    values, sizes = index_labels(known, labels), {attribute: len(known[attribute]) for attribute in ATTRIBUTES}
    for cell in cells:
        joint, size = torch.zeros(len(prompts), dtype=torch.int64), 1
        for attribute in cell.attributes:
            joint = joint * len(known[attribute]) + values[attribute]
            size *= len(known[attribute])
        values[cell.edit], sizes[cell.edit] = joint, size
    return values, sizes


@dataclass(frozen=True)
class TrainData:
    """Train activations at all sites, and attribute values by edit."""

    activations: Mapping[Site, Float[Tensor, "prompt d_in"]]
    values: Values
    n_values: Mapping[str, int]


@dataclass(frozen=True)
class SplitData:
    """The prompts that are evaluated, with their counterfactuals' activations, by edit."""

    split: Split
    tokens: TokenBatch
    base: Mapping[Site, Float[Tensor, "prompt d_in"]]
    counterfactual: Mapping[str, Mapping[Site, Float[Tensor, "prompt d_in"]]]
    base_values: Values
    target_values: Mapping[str, Values]
    names: Mapping[str, Int64[Tensor, "prompt name"]]
    sources: Mapping[Site, Site] = field(default_factory=dict)
    """Where the dictionaries of some sites read instead of at their own."""

    def __len__(self) -> int:
        return len(self.split)

    def batch(self, cell: Cell, sites: Sequence[Site], rows: slice) -> CellBatch:
        """Some prompts of a cell."""
        sources = {site: self.sources[site] for site in sites if site in self.sources}
        return CellBatch(
            edit=cell.edit,
            a_s={site: self.base[site][rows] for site in sites},
            a_t={site: self.counterfactual[cell.edit][site][rows] for site in sites},
            base={edit: index[rows] for edit, index in self.base_values.items()},
            target={edit: index[rows] for edit, index in self.target_values[cell.edit].items()},
            names=self.names[cell.edit][rows],
            read_s={site: self.base[source][rows] for site, source in sources.items()},
            read_t={site: self.counterfactual[cell.edit][source][rows] for site, source in sources.items()},
        )


@dataclass(frozen=True)
class Capture:
    """How activations are read."""

    model: LanguageModel
    batch_size: int
    cache_dir: Path | None
    progress: Progress

    def __call__(
        self, spec: TaskSpec, prompts: Sequence[Prompt], sites: Sequence[Site], what: str
    ) -> dict[Site, Float[Tensor, "prompt d_in"]]:
        """Activations at sites, from the cache where they are there."""
        done, lock = dict.fromkeys(range(0, len(prompts), _SHARD), 0), Lock()

        def read(start: int) -> dict[Site, Tensor]:
            def tell(n: int, _: int) -> None:
                with lock:
                    done[start] = n
                    self.progress(what, sum(done.values()), len(prompts))

            some = prompts[start : start + _SHARD]
            options: dict[str, Any] = {"batch_size": self.batch_size, "cache_dir": self.cache_dir, "progress": tell}
            return capture_split(self.model, spec, some, sites, **options)

        starts = list(done)
        parts = in_threads(read, starts) if self.model.device.type == "cpu" else [read(start) for start in starts]
        return {site: torch.cat([part[site] for part in parts]) for site in sites}


def _with_sources(sites: Iterable[Site], sources: Mapping[Site, Site]) -> set[Site]:
    return {place for site in sites for place in (site, sources.get(site, site))}


def read_train(
    capture: Capture, circuit: Circuit, cells: Sequence[Cell], train: Split, sources: Mapping[Site, Site]
) -> TrainData:
    """Capture the train split at all sites of the cells, and where their dictionaries read."""
    values, sizes = values_of(train.spec, train.prompts, cells)
    every = (site for cell in cells for site in circuit.cross_sections[cell.cross_section].sites)
    sites = sorted(_with_sources(every, sources), key=str)
    return TrainData(capture(train.spec, train.prompts, sites, "train activations"), values, sizes)


def read_split(
    capture: Capture, circuit: Circuit, cells: Sequence[Cell], split: Split, sources: Mapping[Site, Site]
) -> SplitData:
    """Capture a split and the counterfactuals that the cells need, each at the sites of its cells."""
    spec, tokenizer = split.spec, capture.model.tokenizer
    needed: dict[tuple[str, ...], set[Site]] = {}
    for cell in cells:
        needed.setdefault(cell.attributes, set()).update(
            _with_sources(circuit.cross_sections[cell.cross_section].sites, sources)
        )
    everywhere = sorted(set().union(*needed.values()), key=str)
    name_token = name_tokens(spec.names, tokenizer)
    base_values, _ = values_of(spec, split.prompts, cells)
    counterfactual, values, names = {}, {}, {}
    for attributes, sites in needed.items():
        edit, prompts = "+".join(attributes), split.counterfactual(attributes)
        counterfactual[edit] = capture(spec, prompts, sorted(sites, key=str), f"{edit} counterfactuals")
        values[edit], _ = values_of(spec, prompts, cells)
        named = (base_values["io"], base_values["s"], values[edit]["io"], values[edit]["s"])
        names[edit] = torch.stack([name_token[index] for index in named], 1)
    return SplitData(
        split=split,
        tokens=tokenize(spec, split.prompts, tokenizer),
        base=capture(spec, split.prompts, everywhere, "activations"),
        counterfactual=counterfactual,
        base_values=base_values,
        target_values=values,
        names=names,
        sources=sources,
    )
