"""Checks of how a dictionary decodes: affine in the features, as it declares, and as its library reconstructs."""

from __future__ import annotations

import torch
from torch import Tensor

from ioi_bench.dictionary import PerInputOffset, affine_decoder
from ioi_bench.testing.examples import BATCH, DictionaryExample
from ioi_bench.testing.results import Check, Finding, NotApplicable
from ioi_bench.testing.tensors import require_close, require_equal, require_shape, require_unchanged

__all__ = ["DECODING_CHECKS"]

_AFFINITY = 1e-4
_PROBED = 4096
_BLOCK = 512
_LARGE = 1e4


def _affinity(case: DictionaryExample) -> None:
    """``decode(αf + βg) = α decode(f) + β decode(g) + (1 − α − β) decode(0)``: affinity itself, without directions.

    `affine_decoder` compares with probed directions on codes of one seed; these are others, of other kinds.
    """
    decode, zero = case.dictionary.decode, case.dictionary.decode(torch.zeros(1, case.dictionary.d_sae))
    kinds = {
        "dense": (1.0, 1.0),
        "sparse": (0.02, 1.0),
        "single": (2 / case.dictionary.d_sae, 1.0),
        "large": (0.05, _LARGE),
        "small": (0.05, 1 / _LARGE),
    }
    for salt, (kind, (density, size)) in enumerate(kinds.items()):
        f, g = case.codes(16, density=density, salt=2 * salt), case.codes(16, density=density, salt=2 * salt + 1)
        alpha, beta = 0.75 * size, -1.5 * size
        terms = (alpha * decode(f), beta * decode(g), (1 - alpha - beta) * zero)
        got, expected = decode(alpha * f + beta * g), sum(terms)
        scale = sum(term.norm(dim=1) for term in terms) + 1e-30
        error = float(((got - expected).norm(dim=1) / scale).nan_to_num(nan=torch.inf).max())
        if error > _AFFINITY:
            raise Finding(
                f"an error of {error:.2g} (relative; at most {_AFFINITY:g}) on {kind} codes",
                "edits need a linear decoder: move normalisation, clamps and nonlinearities into encode",
            )


def _directions(case: DictionaryExample) -> None:
    d = case.dictionary
    declared = {name: getattr(d, name) for name in ("directions", "offset") if hasattr(d, name)}
    if not declared:
        raise NotApplicable("it declares no directions and offset: they are probed")
    if len(declared) == 1:
        raise Finding(f"{next(iter(declared))} alone", "declare both `directions` and `offset`, or neither")
    require_shape("directions", declared["directions"], (d.d_sae, d.d_in), "[d_sae, d_in]")
    require_shape("offset", declared["offset"], (d.d_in,), "[d_in]")
    advice = "give `directions[j]` = decode(e_j) − decode(0) and `offset` = decode(0), in the model's units"
    directions, offset = declared["directions"].detach().float(), declared["offset"].detach().float()
    require_close("the declared offset and decode(0)", offset[None], d.decode(torch.zeros(1, d.d_sae)), advice)
    for features in _some_features(d.d_sae, case.seed).split(_BLOCK):
        one_hot = torch.zeros(len(features), d.d_sae).scatter_(1, features[:, None], 1.0)
        declared_form = directions[features] + offset
        require_close("decode(e_j) by the declaration and by decode", declared_form, d.decode(one_hot), advice)


def _some_features(d_sae: int, seed: int) -> Tensor:
    """All of them, or so many at random."""
    if d_sae <= _PROBED:
        return torch.arange(d_sae)
    return torch.randperm(d_sae, generator=torch.Generator().manual_seed(seed))[:_PROBED]


def _per_input_offset(case: DictionaryExample) -> None:
    d = case.dictionary
    if not isinstance(case.dictionary, PerInputOffset):
        raise NotApplicable("it has no offset_for: one offset serves all inputs")
    x = case.x()
    require_unchanged({"the input of offset_for": x}, lambda: d.offset_for(x))
    offset = d.offset_for(x)
    require_shape("offset_for", offset, (BATCH, d.d_in), "[prompt, d_in]")
    if offset.dtype != torch.float32:
        raise Finding(f"offsets of {offset.dtype}", "convert with .float()")
    kept = offset.clone()
    d.encode(case.other())
    d.offset_for(case.other())
    stateless = "compute the offset from the argument of offset_for alone, not from the last input of encode"
    require_equal("offsets before and after another input", kept, d.offset_for(case.x()), stateless)
    for size in (1, 7):
        parts = torch.cat([d.offset_for(part) for part in case.x().split(size)])
        require_close(f"offsets in batches of {size} and of {BATCH}", parts, kept, stateless)


def _reconstruction(case: DictionaryExample) -> None:
    if case.reconstruct is None:
        raise NotApplicable("no `reconstruct=` was given to compare with")
    d, x, normalises = case.dictionary, case.x(), isinstance(case.dictionary, PerInputOffset)
    f = d.encode(x)
    ours = f @ affine_decoder(d).directions + d.offset_for(x) if normalises else d.decode(f)
    theirs = case.reconstruct(case.x())
    require_shape("the library's reconstruction", theirs, (BATCH, d.d_in), "[prompt, d_in]")
    what = "encode(x) @ directions + offset_for(x)" if normalises else "decode(encode(x))"
    advice = "fold every scale of the input into the features, and everything else into the offset"
    require_close(f"{what} and the library's reconstruction", ours, theirs.detach(), advice, tolerance=1e-4)


DECODING_CHECKS = (
    Check(
        "affinity", "decoding is affine in the features, for dense, sparse, single, large and small codes", _affinity
    ),
    Check("directions", "the declared directions and offset are what decode does", _directions),
    Check("per-input-offset", "offset_for depends on its argument alone, row by row", _per_input_offset),
    Check("reconstruction", "features and offset give the library's own reconstruction", _reconstruction),
)
