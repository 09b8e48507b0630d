"""Everything that does not depend on the suite: model, circuit, activations, skylines."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor

from ioi_bench.dictionaries.cross_site import CrossSite
from ioi_bench.dictionaries.supervised import SupervisedCodes
from ioi_bench.dictionary import Dictionary
from ioi_bench.evaluation.codes import SiteCodes, SiteInputs, dictionary_codes, oracle_codes
from ioi_bench.evaluation.data import Capture, Progress, SplitData, TrainData, read_split, read_train
from ioi_bench.evaluation.shipped import fit_codes, fitted_codes, read_skylines
from ioi_bench.sites import Cell, Site
from ioi_bench.task import Split

if TYPE_CHECKING:
    from ioi_bench.lm.circuit import Circuit
    from ioi_bench.lm.model import LanguageModel

__all__ = ["Inputs", "gather", "inputs_on", "null_seed"]


@dataclass(frozen=True)
class Inputs:
    """What evaluations of all suites on one split share.

    Attributes:
        cells: headline cells, then further ones.
        mean_codes: the codes of the headline skyline, by site.
        skylines: oracle codes by kind, ``skyline`` (mean codes) and ``skyline-mse``.
    """

    model: LanguageModel
    circuit: Circuit
    cells: tuple[Cell, ...]
    data: SplitData
    train: TrainData
    mean_codes: Mapping[Site, SupervisedCodes]
    skylines: Mapping[str, Mapping[Site, SiteCodes]]

    @cached_property
    def sites(self) -> dict[str, tuple[Site, ...]]:
        """The sites of every cross-section that has a cell."""
        return {cell.cross_section: self.circuit.cross_sections[cell.cross_section].sites for cell in self.cells}

    def sites_of(self, cells: Iterable[Cell]) -> tuple[Site, ...]:
        """All sites of some cells."""
        return tuple(sorted({site for cell in cells for site in self.sites[cell.cross_section]}))

    def codes(
        self,
        site: Site,
        dictionary: Dictionary,
        cells: Iterable[Cell],
        rounds: int,
        *,
        explain: bool = False,
        matched: Iterable[Cell] = (),
    ) -> SiteCodes:
        """A dictionary at a site with its train statistics, for the edits that these cells make there.

        ``rounds`` is the largest budget of these edits; ``explain`` asks also what the features mean;
        ``matched`` are the cells in which nulls will stand beside it.

        Raises:
            DictionaryError: it breaks its contract.
        """
        here = {cell.edit: self.train.n_values[cell.edit] for cell in cells if site in self.sites[cell.cross_section]}
        scored = dict.fromkeys(cell.edit for cell in matched if site in self.sites[cell.cross_section])
        reads = self.data.sources[site] if isinstance(dictionary, CrossSite) else None
        source, at_site = reads or site, self.train.activations[site]
        shown = SiteInputs(
            train=self.train.activations[source],
            at_site=at_site,
            base=self.data.base[source],
            base_at_site=self.data.base[site],
            counterfactuals=tuple(self.data.counterfactual[edit][source] for edit in here),
            matched=tuple(self.data.counterfactual[edit][source] for edit in scored),
            reads=reads,
        )
        names = self.train.n_values if explain else None
        return dictionary_codes(dictionary, shown, self.train.values, here, rounds=rounds, names=names)

    @property
    def train_split(self) -> Split:
        """The train prompts whose activations these are."""
        split = self.data.split.spec.split("train")
        return split.head(len(next(iter(self.train.activations.values()))))

    def train_at(self, site: Site) -> Float[Tensor, "prompt d_in"]:
        """Train activations."""
        return self.train.activations[site]


def gather(
    capture: Capture,
    circuit: Circuit,
    split: Split,
    train: Split,
    *,
    mse: bool = True,
    sources: Mapping[Site, Site] = MappingProxyType({}),
    cells: Sequence[Cell] | None = None,
) -> Inputs:
    """Capture all activations and fit the skylines (METHOD §3).

    ``sources`` says of sites whose dictionaries read elsewhere, where: activations are captured there too. ``cells``
    are those that will be judged; by default all of the circuit.
    """
    cells = tuple(dict.fromkeys((*circuit.headline, *circuit.further) if cells is None else cells))
    read = read_train(capture, circuit, cells, train, sources)
    kinds = read_skylines(capture.model, train, set(read.activations)) or fitted_codes(
        fit_codes(train, read.activations)
    )
    if not mse:
        kinds = {"skyline": kinds["skyline"]}
    data = read_split(capture, circuit, cells, split, sources)
    skylines = oracle_codes(kinds, read.values, read.n_values, data.base_values, data.base)
    return Inputs(capture.model, circuit, cells, data, read, kinds["skyline"], skylines)


def inputs_on(
    model: Callable[[LanguageModel, int], LanguageModel], inputs: Inputs, seed: int, batch_size: int, progress: Progress
) -> Inputs:
    """The same cells, prompts and train prompts on another model, which is made from the one of the inputs.

    Nothing is kept in a cache: the model is not worth it.
    """
    other = model(inputs.model, seed)
    circuit, judged = inputs.circuit, inputs.data.split
    capture = Capture(other, batch_size, None, progress)
    return gather(
        capture, circuit, judged, inputs.train_split, mse=False, sources=inputs.data.sources, cells=inputs.cells
    )


def null_seed(*what: object) -> int:
    """A seed of its own for every null: sites of equal sizes must not have equal random directions.

    >>> null_seed(0, 1, "z.9.9@end") == null_seed(0, 2, "z.9.9@end")
    False
    """
    return int.from_bytes(hashlib.sha256("/".join(map(str, what)).encode()).digest()[:6], "big")
