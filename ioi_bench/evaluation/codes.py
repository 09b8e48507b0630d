"""A dictionary at one site as an evaluation uses it: its encoder and decoder, and what train says of its features."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ioi_bench.dictionaries.nulls import FeatureUse
from ioi_bench.dictionaries.supervised import SupervisedCodes
from ioi_bench.dictionary import AffineDecoder, Dictionary, PerInputOffset, affine_decoder, encode_in_blocks
from ioi_bench.editing import FeatureStatistics, feature_statistics
from ioi_bench.sites import Site

__all__ = ["Encoder", "SiteCodes", "Values", "dictionary_codes", "oracle_codes"]

_NORM_PROMPTS = 2048

Values = Mapping[str, Tensor]
"""Per edit (``io``, ``pos+s``, …) the index of its attributes' joint value in each prompt."""

Encoder = Callable[[Tensor, Values], Tensor]
"""Features of activations. Dictionaries read the activations alone; the skyline's oracle reads the values alone."""


@dataclass(frozen=True)
class SiteCodes:
    """Encoder, decoder and train statistics at one site.

    Attributes:
        decoder: directions and offset.
        encode: activations (and the prompts' attribute values) to features.
        reconstruct: activations and their features to reconstructions.
        train: by edit, the statistics of the features against its values.
        mean: train means of the features.
        fires: the features that some train prompt activates.
        use: what matched nulls share with it.
        train_mean: train mean of the activation.
        norm_ratio: mean norm of reconstructions over mean norm of activations, on train.
    """

    decoder: AffineDecoder
    encode: Encoder
    reconstruct: Callable[[Tensor, Tensor], Tensor]
    train: Mapping[str, FeatureStatistics]
    mean: Float[Tensor, " d_sae"]
    fires: Bool[Tensor, " d_sae"]
    use: FeatureUse
    train_mean: Float[Tensor, " d_in"]
    norm_ratio: float = 1.0


def dictionary_codes(
    dictionary: Dictionary, activations: Float[Tensor, "prompt d_in"], values: Values, n_values: Mapping[str, int]
) -> SiteCodes:
    """Encode the train activations at the site once, and take all statistics from that (METHOD §5).

    Raises:
        DictionaryError: it breaks its contract: shapes, NaN, a decoder that is not affine.
    """
    decoder = affine_decoder(dictionary)
    f = encode_in_blocks(dictionary, activations)
    train = {edit: feature_statistics(f, values[edit], n) for edit, n in n_values.items()}

    @torch.no_grad()
    def reconstruct(x: Tensor, f: Tensor) -> Tensor:
        if isinstance(dictionary, PerInputOffset):
            return f @ decoder.directions + dictionary.offset_for(x)
        return decoder(f)

    some = activations[:_NORM_PROMPTS]
    return SiteCodes(
        decoder=decoder,
        encode=lambda x, _: encode_in_blocks(dictionary, x),
        reconstruct=reconstruct,
        train=train,
        mean=next(iter(train.values())).mean,
        fires=(f != 0).any(0),
        use=_use(f, decoder),
        train_mean=activations.mean(0),
        norm_ratio=float(reconstruct(some, f[:_NORM_PROMPTS]).norm(dim=1).mean() / some.norm(dim=1).mean()),
    )


def oracle_codes(
    kinds: Mapping[str, Mapping[Site, SupervisedCodes]], values: Values, n_values: Mapping[str, int]
) -> dict[str, dict[Site, SiteCodes]]:
    """Skylines, by kind, as dictionaries whose encoder reads the prompts' attributes: one code scores all (METHOD §3).

    Their features are the same at every site, and so are the statistics of these.
    """
    some = next(iter(next(iter(kinds.values())).values()))
    f = some.oracle_features(values)
    train = {edit: feature_statistics(f, values[edit], n) for edit, n in n_values.items()}
    mean, fires, use = f.mean(0), (f != 0).any(0), _use(f, some.decoder)

    def of(own: SupervisedCodes) -> SiteCodes:
        def encode(_: Tensor, labels: Values) -> Tensor:
            return own.oracle_features(labels)

        def reconstruct(_: Tensor, f: Tensor) -> Tensor:
            return own.decoder(f)

        return SiteCodes(own.decoder, encode, reconstruct, train, mean, fires, use, own.mean)

    return {kind: {site: of(own) for site, own in codes.items()} for kind, codes in kinds.items()}


def _use(f: Float[Tensor, "prompt d_sae"], decoder: AffineDecoder) -> FeatureUse:
    """Features that never vary carry nothing: a constant one must not buy the null another active direction."""
    counts = (f != 0).sum(0)
    varies = counts > 0
    always = (counts == len(f)).nonzero()[:, 0]
    varies[always] = (f[:, always] != f[0, always]).any(0)
    return FeatureUse(counts[varies].sum().item() / len(f), varies, decoder.directions.norm(dim=1))
