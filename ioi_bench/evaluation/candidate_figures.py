"""One dictionary alone at its site: what it is like, and how near its edits come (METHOD §5, §6)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ioi_bench.dictionary import Dictionary, affine_decoder, encode_in_blocks
from ioi_bench.editing import EditInputs, EditMethod, FeatureStatistics
from ioi_bench.editing.base import statistics_of_sums
from ioi_bench.evaluation.codes import Values
from ioi_bench.evaluation.data import SplitData, TrainData
from ioi_bench.lm.patching import CleanRun, clean_run, patched_logits
from ioi_bench.metrics import code_statistics, edit_distance, ld_recovered, logit_difference
from ioi_bench.sites import Site

if TYPE_CHECKING:
    from ioi_bench.lm.model import LanguageModel

__all__ = ["LogitDifferences", "SiteView", "ValueSums", "site_view", "spoilt_figures"]

_BLOCK = 2048  # prompts whose features stay in the cache
_LOGITS_AT_ONCE = 1 << 26
_FIGURES = ("l0", "dead_share", "l2", "fvu")


class ValueSums:
    """Sums of train features by attribute value, of all edits at once.

    A one-hot matrix ``[value, prompt]`` over the values of all edits turns the sums into one sparse product a block of
    prompts. The same figures as `ioi_bench.editing.feature_statistics`, several times faster.

    Args:
        values: index of the value of every train prompt, by edit.
        n_values: number of values, by edit.
        edits: which of them.
    """

    def __init__(self, values: Values, n_values: Mapping[str, int], edits: Sequence[str]) -> None:
        from scipy.sparse import csr_matrix

        self._sizes = {edit: n_values[edit] for edit in edits}
        self._prompts = [torch.bincount(values[edit], minlength=n_values[edit]) for edit in edits]
        self._one_hot = []
        starts = np.cumsum([0, *self._sizes.values()])
        for start in range(0, len(values[edits[0]]), _BLOCK):
            rows = [
                values[edit][start : start + _BLOCK].numpy() + first for edit, first in zip(edits, starts, strict=False)
            ]
            n = len(rows[0])
            places = (np.concatenate(rows), np.tile(np.arange(n), len(rows)))
            self._one_hot.append(csr_matrix((np.ones(n * len(rows)), places), shape=(starts[-1], n)))

    def statistics(
        self, dictionary: Dictionary, x: Float[Tensor, "prompt d_in"]
    ) -> tuple[dict[str, FeatureStatistics], Bool[Tensor, " d_sae"]]:
        """Statistics of a dictionary's features on the train activations, by edit; and which features fire there.

        Raises:
            DictionaryError: features of the wrong shape, or not finite.
        """
        total = sum(self._sizes.values())
        sums, hits = np.zeros((2, total, dictionary.d_sae))
        for one_hot, block in zip(self._one_hot, x.split(_BLOCK), strict=True):
            f = encode_in_blocks(dictionary, block)
            sums += one_hot @ f.numpy()
            hits += one_hot @ (f != 0).float().numpy()
        parts = (torch.from_numpy(both).split(list(self._sizes.values())) for both in (sums, hits))
        found = zip(self._sizes, *parts, self._prompts, strict=True)
        made = {edit: (own, hit, statistics_of_sums(own, hit, prompts)) for edit, own, hit, prompts in found}
        fires = next(iter(made.values()))[1].sum(0) > 0
        return {edit: statistics for edit, (_, _, statistics) in made.items()}, fires


@dataclass(frozen=True)
class SiteView:
    """What the dictionaries of one site are judged on.

    Attributes:
        edits: what is edited here, by attributes.
        train, base: activations of train and of validation prompts.
        counterfactual: by edit, those of the counterfactuals.
        base_values, target_values: by edit, the index of the edited value in the prompt and in its counterfactual.
        mean: train mean.
    """

    site: Site
    edits: tuple[str, ...]
    train: Float[Tensor, "prompt d_in"]
    sums: ValueSums
    base: Float[Tensor, "prompt d_in"]
    counterfactual: Mapping[str, Float[Tensor, "prompt d_in"]]
    base_values: Mapping[str, Int64[Tensor, " prompt"]]
    target_values: Mapping[str, Int64[Tensor, " prompt"]]
    mean: Float[Tensor, " d_in"]

    @torch.no_grad()
    def judge(
        self, dictionary: Dictionary, methods: Mapping[str, EditMethod], budget: int, reconstructed: int
    ) -> tuple[dict[str, float], list[dict[str, Any]], Float[Tensor, "prompt d_in"]]:
        """Figures of the dictionary; a row for every edit and method; reconstructions of the first prompts.

        Raises:
            DictionaryError: it breaks its contract.
        """
        decoder = affine_decoder(dictionary)
        train, fires = self.sums.statistics(dictionary, self.train)
        f = encode_in_blocks(dictionary, self.base, _BLOCK)
        reconstruction = decoder(f)
        codes = code_statistics(f, reconstruction, self.base, self.mean, fires)
        scale = float(getattr(dictionary, "scale", 1.0))
        l2 = scale**2 * codes.residual.double().mean().item()
        figures = dict(zip(_FIGURES, (codes.l0, codes.dead_share, l2, codes.fvu), strict=True))
        rows = []
        for edit in self.edits:
            a_t = self.counterfactual[edit]
            f_t = encode_in_blocks(dictionary, a_t, _BLOCK)
            values = self.base_values[edit], self.target_values[edit]
            inputs = EditInputs(decoder, self.base, a_t, f, f_t, *values, train[edit])
            for name, method in methods.items():
                found = edit_distance(method(inputs, (budget,)).edited[0], self.base, a_t)
                distance = {"distance": found.absolute.mean().item(), "distance_relative": found.relative.item()}
                rows.append({"attribute": edit, "method": name, **distance})
        return figures, rows, reconstruction[:reconstructed].clone()


def spoilt_figures(edits: Iterable[str], methods: Iterable[str]) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """What `SiteView.judge` says of a dictionary that cannot be used: NaN throughout."""
    nan, methods = float("nan"), list(methods)
    distance = {"distance": nan, "distance_relative": nan}
    rows = [{"attribute": edit, "method": name, **distance} for edit in edits for name in methods]
    return dict.fromkeys(_FIGURES, nan), rows


def site_view(site: Site, edits: tuple[str, ...], train: TrainData, data: SplitData) -> SiteView:
    """Gather what concerns one site."""
    return SiteView(
        site=site,
        edits=edits,
        train=train.activations[site],
        sums=ValueSums(train.values, train.n_values, edits),
        base=data.base[site],
        counterfactual={edit: data.counterfactual[edit][site] for edit in edits},
        base_values={edit: data.base_values[edit] for edit in edits},
        target_values={edit: data.target_values[edit][edit] for edit in edits},
        mean=train.activations[site].mean(0),
    )


@dataclass(frozen=True)
class LogitDifferences:
    """Mean logit differences of some prompts: clean, under mean ablation of each site, and what runs start from."""

    model: LanguageModel
    run: CleanRun
    names: Int64[Tensor, "prompt name"]
    clean: Float[Tensor, ""]
    ablated: Mapping[Site, Float[Tensor, ""]]

    @classmethod
    @torch.no_grad()
    def of(cls, model: LanguageModel, data: SplitData, train: TrainData, prompts: int) -> LogitDifferences:
        """Run the first prompts, and run them with each site's activation at its train mean."""
        names = next(iter(data.names.values()))[:prompts, :2].to(model.device)
        run = clean_run(model, data.tokens.slice(0, prompts), min(site.layer for site in data.base))
        clean = logit_difference(patched_logits(model, run, [{}]), names[:, 0], names[:, 1]).mean()
        ablated = {}
        for site in data.base:
            mean = train.activations[site].mean(0).expand(len(names), -1)
            logits = patched_logits(model, run, [{site: mean}])
            ablated[site] = logit_difference(logits, names[:, 0], names[:, 1]).mean()
        return cls(model, run, names, clean.cpu(), {site: value.cpu() for site, value in ablated.items()})

    @torch.no_grad()
    def recovered(
        self, site: Site, reconstructions: Sequence[Float[Tensor, "prompt d_in"]]
    ) -> tuple[list[float], bool]:
        """LD recovered (METHOD §6) by each of these at the site alone, and whether its denominator is large enough."""
        vocab = self.model.weights.unembed.shape[1]
        step, means = max(1, _LOGITS_AT_ONCE // (len(self.names) * vocab)), []
        for start in range(0, len(reconstructions), step):
            some = [{site: one} for one in reconstructions[start : start + step]]
            logits = patched_logits(self.model, self.run, some)
            means.append(logit_difference(logits, self.names[:, 0], self.names[:, 1]).mean(1).cpu())
        found = ld_recovered(torch.cat(means), self.ablated[site], self.clean)
        return found.recovered.tolist(), bool(found.reliable)
