"""A dictionary at one site as an evaluation uses it: its encoder and decoder, and what train says of its features."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ioi_bench.dictionaries.narrow import narrowed
from ioi_bench.dictionaries.nulls import FeatureUse, feature_use
from ioi_bench.dictionaries.supervised import SupervisedCodes
from ioi_bench.dictionary import (
    AffineDecoder,
    Dictionary,
    PerInputOffset,
    affine_decoder,
    encode_in_blocks,
    encoded_blocks,
)
from ioi_bench.editing import FeatureStatistics, feature_statistics
from ioi_bench.evaluation.sparse import (
    SparseStatistics,
    active_features,
    kept_features,
    wide_explanations,
    wide_statistics,
)
from ioi_bench.evaluation.watched import Watched, watched
from ioi_bench.metrics import Explanations, activity_counts, explanations
from ioi_bench.sites import Site

__all__ = ["Encoder", "SiteCodes", "SiteInputs", "Values", "dictionary_codes", "oracle_codes"]

_USUAL_PROMPTS, _FEWEST_USUAL, _USUAL_ELEMENTS, _USUALLY = 512, 64, 1 << 22, 0.5
_NORM_PROMPTS, _WIDE_NORM_PROMPTS = 2048, 128

Values = Mapping[str, Tensor]
"""Per edit (``io``, ``pos+s``, …) the index of its attributes' joint value in each prompt."""

Encoder = Callable[[Tensor, Values], Tensor]
"""Features of activations. Dictionaries read the activations alone; the skyline's oracle reads the values alone."""


_WIDE = 4096
"""Wider dictionaries keep active features only, and their statistics sparse; all others are held whole."""


@dataclass(frozen=True)
class SiteCodes:
    """Encoder, decoder and train statistics at one site.

    Of a wide dictionary, ``d_sae`` is here the number of features that are kept (`ioi_bench.evaluation.sparse`).

    Attributes:
        decoder: directions and offset.
        encode: activations (and the prompts' attribute values) to features.
        reconstruct: activations and their features to reconstructions.
        train: by edit, the statistics of the features against its values.
        mean: train means of the features.
        fires: the features that some train prompt activates.
        use: what matched nulls share with it.
        train_mean: train mean of the activation.
        base_mean, base_activation: means of the features and of the activation over the base prompts that are judged:
            weights are centred by these, so that no encoder can move the centre by what it does on train.
        base_variance: ``E ‖a − E a‖²`` over these prompts: the unit of how far an edit moves.
        norm_ratio: mean norm of reconstructions over mean norm of activations, on train.
        n_features: all features, also those that were not kept.
        reads: where the encoder reads, if not at the site itself (`ioi_bench.dictionaries.cross_site`).
        explanations: what train says its features mean; empty where nobody asked.
        offset_share: how much of the train activations' variance an offset of each input's own explains; 0 without one.
        watched: what it encoded, to be asked again; empty for ioi-bench's own architectures.
    """

    decoder: AffineDecoder
    encode: Encoder
    reconstruct: Callable[[Tensor, Tensor], Tensor]
    train: Mapping[str, FeatureStatistics | SparseStatistics]
    mean: Float[Tensor, " d_sae"]
    fires: Bool[Tensor, " d_sae"]
    use: FeatureUse
    train_mean: Float[Tensor, " d_in"]
    base_mean: Float[Tensor, " d_sae"]
    base_activation: Float[Tensor, " d_in"]
    base_variance: float
    norm_ratio: float
    n_features: int
    reads: Site | None = None
    explanations: Explanations | None = None
    offset_share: float = 0.0
    watched: Watched | None = None

    def statistics(self, edit: str) -> FeatureStatistics:
        """The statistics against the values of an edit, as edits read them."""
        found = self.train[edit]
        return found.dense() if isinstance(found, SparseStatistics) else found

    @property
    def dead_share(self) -> float:
        """Share of all features that no train prompt activates."""
        return 1 - int(self.fires.sum()) / self.n_features


@dataclass(frozen=True)
class SiteInputs:
    """What a dictionary is shown at a site.

    Attributes:
        train: train activations that the encoder reads.
        at_site: train activations that the decoder reconstructs: the same, unless the dictionary reads elsewhere.
        base: what the encoder will read in the base prompts that are judged.
        base_at_site: activations of these at the site.
        counterfactuals: what it will read in their counterfactuals.
        matched: of these, the ones of cells that score, for which nulls are matched; empty for no nulls.
        reads: where it reads, if elsewhere.
    """

    train: Float[Tensor, "prompt d_in"]
    at_site: Float[Tensor, "prompt d_in"]
    base: Float[Tensor, "prompt d_in"]
    base_at_site: Float[Tensor, "prompt d_in"]
    counterfactuals: tuple[Float[Tensor, "prompt d_in"], ...] = ()
    matched: tuple[Float[Tensor, "prompt d_in"], ...] = ()
    reads: Site | None = None


def dictionary_codes(
    dictionary: Dictionary,
    shown: SiteInputs,
    values: Values,
    n_values: Mapping[str, int],
    *,
    rounds: int,
    names: Mapping[str, int] | None = None,
) -> SiteCodes:
    """Encode the train activations at the site once, and take all statistics from that (METHOD §5).

    Args:
        dictionary: in the model's units.
        shown: activations.
        values, n_values: the attribute values of the train prompts, by edit.
        rounds: the largest budget: so many features that do nothing stay within an edit's reach.
        names: how many names ``io`` and ``s`` have, where features are to be explained.

    Raises:
        DictionaryError: it breaks its contract: shapes, NaN, a decoder that is not affine.
    """
    if dictionary.d_sae > _WIDE:
        return _wide_codes(dictionary, shown, values, n_values, rounds, names)
    decoder = affine_decoder(dictionary)
    seen = watched(dictionary)
    asked = dictionary if seen is None else seen
    f = encode_in_blocks(asked, shown.train)
    train = {edit: feature_statistics(f, values[edit], n) for edit, n in n_values.items()}
    reconstruct = _reconstruct(dictionary, decoder)
    return SiteCodes(
        decoder=decoder,
        encode=lambda x, _: encode_in_blocks(asked, x),
        reconstruct=reconstruct,
        train=train,
        mean=next(iter(train.values())).mean,
        fires=(f != 0).any(0),
        use=_use(asked, shown, feature_use(f, decoder)),
        train_mean=shown.at_site.mean(0),
        base_mean=_mean_features(asked, shown.base),
        base_activation=shown.base_at_site.mean(0),
        base_variance=_variance(shown.base_at_site),
        norm_ratio=_norm_ratio(shown, reconstruct, f[:_NORM_PROMPTS]),
        n_features=dictionary.d_sae,
        reads=shown.reads,
        explanations=None if names is None else _explained(f, values, names),
        offset_share=_offset_share(dictionary, shown),
        watched=seen,
    )


def _explained(f: Float[Tensor, "prompt d_sae"], values: Values, names: Mapping[str, int]) -> Explanations:
    found = activity_counts(f, values["io"], values["s"], values["pos"], n_io=names["io"], n_s=names["s"])
    return explanations(found)


def _wide_codes(
    dictionary: Dictionary,
    shown: SiteInputs,
    values: Values,
    n_values: Mapping[str, int],
    rounds: int,
    names: Mapping[str, int] | None,
) -> SiteCodes:
    """The same in bounded memory: active features only."""
    seen = watched(dictionary)
    asked = dictionary if seen is None else seen
    active = active_features(asked, shown.train)
    kept = kept_features(asked, active, (shown.base, *shown.counterfactuals), rounds)
    found = wide_statistics(active, kept, values, n_values)
    explained = None if names is None else wide_explanations(active, kept, lambda f: _explained(f, values, names))
    whole = affine_decoder(dictionary)
    decoder = AffineDecoder(whole.directions[kept], whole.offset)
    del whole, active
    fewer = narrowed(dictionary, kept)
    reconstruct = _reconstruct(dictionary, decoder)

    def encode(x: Tensor, _: Values | None = None) -> Tensor:
        return encode_in_blocks(asked, x, features=kept) if fewer is None else encode_in_blocks(fewer, x)

    counts, n = found.counts, len(shown.train)
    varies = (counts > 0) & ((counts < n) | found.varies)
    use = FeatureUse(counts[varies].sum().item() / n, varies, decoder.directions.norm(dim=1))
    return SiteCodes(
        decoder=decoder,
        encode=encode,
        reconstruct=reconstruct,
        train=found.train,
        mean=next(iter(found.train.values())).mean,
        fires=counts > 0,
        use=_use(asked, shown, use, kept),
        train_mean=shown.at_site.mean(0),
        base_mean=_mean_features(asked, shown.base)[kept],
        base_activation=shown.base_at_site.mean(0),
        base_variance=_variance(shown.base_at_site),
        norm_ratio=_norm_ratio(shown, reconstruct, encode(shown.train[:_WIDE_NORM_PROMPTS])),
        n_features=dictionary.d_sae,
        reads=shown.reads,
        explanations=explained,
        offset_share=_offset_share(dictionary, shown),
        watched=seen,
    )


def _use(
    dictionary: Dictionary, shown: SiteInputs, train: FeatureUse, kept: Int64[Tensor, " feature"] | None = None
) -> FeatureUse:
    """What nulls must share: L0 in the prompts that are judged, and the features that live there or on train.

    An encoder that knows the train prompts could fire there as it likes, and choose its null. A feature that is active
    in most prompts counts where it is not at its usual value: a code turned inside out, ``1 − f``, meets the null of f.
    """
    if not shown.matched:
        return train
    few = min(_USUAL_PROMPTS, max(_FEWEST_USUAL, _USUAL_ELEMENTS // dictionary.d_sae))
    some = torch.cat([*encoded_blocks(dictionary, shown.base[:few])])
    some = some if kept is None else some[:, kept]
    usual = some.median(0).values * ((some != 0).float().mean(0) > _USUALLY)
    counts, n = torch.zeros(len(train.alive), dtype=torch.int64), 0
    least, most = (torch.full((len(train.alive),), end) for end in (torch.inf, -torch.inf))
    for x in (shown.base, *shown.matched):
        for block in encoded_blocks(dictionary, x):
            f = block if kept is None else block[:, kept]
            counts += (f != usual).sum(0)
            least, most = torch.minimum(least, f.amin(0)), torch.maximum(most, f.amax(0))
        n += len(x)
    varies = least < most  # one that never varies carries nothing, and must not buy the null another direction
    return FeatureUse(counts[varies].sum().item() / n, train.alive | varies, train.norms)


def _mean_features(dictionary: Dictionary, x: Float[Tensor, "prompt d_in"]) -> Float[Tensor, " d_sae"]:
    total = torch.zeros(dictionary.d_sae, dtype=torch.float64)
    for block in encoded_blocks(dictionary, x):
        total += block.sum(0, dtype=torch.float64)
    return (total / len(x)).float()


def _reconstruct(dictionary: Dictionary, decoder: AffineDecoder) -> Callable[[Tensor, Tensor], Tensor]:
    if not isinstance(dictionary, PerInputOffset):
        return lambda _, f: decoder(f)

    @torch.no_grad()
    def reconstruct(x: Tensor, f: Tensor) -> Tensor:
        return f @ decoder.directions + dictionary.offset_for(x)

    return reconstruct


@torch.no_grad()
def _offset_share(dictionary: Dictionary, shown: SiteInputs) -> float:
    if not isinstance(dictionary, PerInputOffset):
        return 0.0
    x, at_site = shown.train[:_NORM_PROMPTS], shown.at_site[:_NORM_PROMPTS]
    left = (at_site - dictionary.offset_for(x)).square().sum()
    return float(1 - left / (at_site - at_site.mean(0)).square().sum().clamp_min(1e-12))


def _variance(a: Float[Tensor, "prompt d_in"]) -> float:
    return (a - a.mean(0)).square().sum(1).mean().item()


def _norm_ratio(shown: SiteInputs, reconstruct: Callable[[Tensor, Tensor], Tensor], f: Tensor) -> float:
    norm = reconstruct(shown.train[: len(f)], f).norm(dim=1).mean()
    return float(norm / shown.at_site[: len(f)].norm(dim=1).mean())


def oracle_codes(
    kinds: Mapping[str, Mapping[Site, SupervisedCodes]],
    values: Values,
    n_values: Mapping[str, int],
    base_values: Values,
    base: Mapping[Site, Float[Tensor, "prompt d_in"]],
) -> dict[str, dict[Site, SiteCodes]]:
    """Skylines, by kind, as dictionaries whose encoder reads the prompts' attributes: one code scores all (METHOD §3).

    Their features are the same at every site, and so are the statistics of these. ``values`` are of train,
    ``base_values`` and the activations ``base`` of the base prompts that are judged.
    """
    some = next(iter(next(iter(kinds.values())).values()))
    f = some.oracle_features(values)
    train = {edit: feature_statistics(f, values[edit], n) for edit, n in n_values.items()}
    mean, fires, use = f.mean(0), (f != 0).any(0), feature_use(f, some.decoder)
    base_mean = some.oracle_features(base_values).mean(0)

    def of(own: SupervisedCodes, here: Tensor) -> SiteCodes:
        def encode(_: Tensor, labels: Values) -> Tensor:
            return own.oracle_features(labels)

        def reconstruct(_: Tensor, f: Tensor) -> Tensor:
            return own.decoder(f)

        return SiteCodes(
            decoder=own.decoder,
            encode=encode,
            reconstruct=reconstruct,
            train=train,
            mean=mean,
            fires=fires,
            use=use,
            train_mean=own.mean,
            base_mean=base_mean,
            base_activation=here.mean(0),
            base_variance=_variance(here),
            norm_ratio=1.0,
            n_features=own.d_sae,
        )

    return {kind: {site: of(own, base[site]) for site, own in codes.items()} for kind, codes in kinds.items()}
