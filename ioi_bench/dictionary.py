"""The contract of a dictionary, and how its directions are read or probed (METHOD §4).

A third party gives ``encode`` and ``decode``; everything else is derived from ``decode``:
``offset = decode(0)``, ``directions[j] = decode(e_j) - offset``, and affinity is checked on random codes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import Parameter

from ioi_bench.errors import DictionaryError

__all__ = [
    "AffineDecoder",
    "Dictionary",
    "PerInputOffset",
    "affine_decoder",
    "check_affine",
    "encode_in_blocks",
    "encoded_blocks",
]

_AFFINITY_TOLERANCE = 1e-3
_LARGEST = 1e15  # differences and products of larger ones overflow in single precision, and then have no value
_PROBE_BLOCK = 1024
_BLOCK_ELEMENTS = 1 << 24  # of [prompt, d_sae]: 64 MB, of which an encoder may need a few


@runtime_checkable
class Dictionary(Protocol):
    """Encode/decode over one site or hook. Stateless; decoding is affine in the features given the input.

    ``d_in`` and ``d_sae`` are the sizes; a feature is active iff its value is not 0.
    Optional attributes ``directions: [d_sae, d_in]`` and ``offset: [d_in]`` spare the probing.
    """

    @property
    def d_in(self) -> int:
        """Dimensions of an activation."""
        ...

    @property
    def d_sae(self) -> int:
        """Number of features."""
        ...

    def encode(self, x: Float[Tensor, "prompt d_in"]) -> Float[Tensor, "prompt d_sae"]:
        """Feature values of activations in the model's own units."""
        ...

    def decode(self, f: Float[Tensor, "prompt d_sae"]) -> Float[Tensor, "prompt d_in"]:
        """Reconstruction, in the model's own units."""
        ...


@runtime_checkable
class PerInputOffset(Protocol):
    """A dictionary that normalises each input: its features carry that scale, and the offset depends on the input."""

    def offset_for(self, x: Float[Tensor, "prompt d_in"]) -> Float[Tensor, "prompt d_in"]:
        """The offset ``b(x)`` such that the reconstruction of ``x`` is ``encode(x) @ directions + b(x)``."""
        ...


@dataclass(frozen=True)
class AffineDecoder:
    """``decode(f) = f @ directions + offset``."""

    directions: Float[Tensor, "d_sae d_in"]
    offset: Float[Tensor, " d_in"]

    def __call__(self, f: Float[Tensor, "prompt d_sae"]) -> Float[Tensor, "prompt d_in"]:
        """Decode by the affine form."""
        return f @ self.directions + self.offset


def _probe(dictionary: Dictionary) -> AffineDecoder:
    zero = torch.zeros(1, dictionary.d_sae)
    offset = dictionary.decode(zero)[0]
    rows, step = [], min(_PROBE_BLOCK, max(1, _BLOCK_ELEMENTS // dictionary.d_sae))
    for start in range(0, dictionary.d_sae, step):
        size = min(step, dictionary.d_sae - start)
        block = torch.zeros(size, dictionary.d_sae)
        block[torch.arange(size), torch.arange(start, start + size)] = 1.0
        rows.append(dictionary.decode(block) - offset)
    return AffineDecoder(torch.cat(rows), offset)


def _plain(tensor: Tensor, name: str) -> Tensor:
    """A copy: the dictionary keeps its own, and could change it between calls."""
    if type(tensor) not in (Tensor, Parameter):  # a subclass may answer every question in its own way
        raise DictionaryError(f"{name} is a {type(tensor).__name__}, expected a torch.Tensor and no subclass of it")
    return tensor.detach().to(torch.float32, copy=True)


def check_affine(dictionary: Dictionary, decoder: AffineDecoder, codes: Float[Tensor, "prompt d_sae"]) -> None:
    """Raise `DictionaryError` unless ``decode`` agrees with its affine form on ``codes`` (relative error 1e-3)."""
    got, expected = dictionary.decode(codes), decoder(codes)
    scale = (expected - decoder.offset).norm() + decoder.offset.norm() + 1e-12
    error = float((got - expected).norm() / scale)
    if not error <= _AFFINITY_TOLERANCE:  # also catches NaN
        raise DictionaryError(
            f"decode is not affine in the features: it differs from decode(0) + Σ f_j·(decode(e_j) − decode(0)) by "
            f"{error:.2g} (relative; at most {_AFFINITY_TOLERANCE:g} is allowed). Edits need a linear decoder: "
            "move any nonlinearity into encode"
        )


@torch.no_grad()
def affine_decoder(dictionary: Dictionary, *, seed: int = 0) -> AffineDecoder:
    """Directions and offset: read where they exist, otherwise probed; then checked on random codes.

    Raises:
        DictionaryError: wrong shapes, NaN or Inf, or a ``decode`` that is not affine.
    """
    directions, offset = getattr(dictionary, "directions", None), getattr(dictionary, "offset", None)
    if isinstance(directions, Tensor) and isinstance(offset, Tensor):
        decoder = AffineDecoder(_plain(directions, "directions"), _plain(offset, "offset"))
    else:
        decoder = _probe(dictionary)
    expected = (dictionary.d_sae, dictionary.d_in)
    if tuple(decoder.directions.shape) != expected or tuple(decoder.offset.shape) != expected[1:]:
        raise DictionaryError(
            f"directions {tuple(decoder.directions.shape)} and offset {tuple(decoder.offset.shape)} do not have the "
            f"shapes [d_sae, d_in] = {expected} and [d_in]"
        )
    if not (decoder.directions.isfinite().all() and decoder.offset.isfinite().all()):
        raise DictionaryError("the decoder has NaN or Inf in it: the weights are damaged or the training diverged")
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randn(8, dictionary.d_sae, generator=generator)
    sparse = codes * (torch.rand(8, dictionary.d_sae, generator=generator) < 0.05)
    check_affine(dictionary, decoder, torch.cat([codes, 100 * sparse]))
    return decoder


@torch.no_grad()
def encoded_blocks(
    dictionary: Dictionary, x: Float[Tensor, "prompt d_in"], block: int = 4096
) -> Iterator[Float[Tensor, "prompt d_sae"]]:
    """Encode some inputs after the others: at most ``block``, and fewer where the dictionary is wide.

    A dictionary that reads elsewhere than it writes says so by ``d_read``, the width of what it reads.

    Raises:
        DictionaryError: the features have the wrong shape or are not finite.
    """
    width = getattr(dictionary, "d_read", dictionary.d_in)
    if x.shape[1] != width:
        raise DictionaryError(f"the activations have {x.shape[1]} dimensions, the dictionary expects d_in = {width}")
    step = min(block, max(1, _BLOCK_ELEMENTS // dictionary.d_sae))
    for start in range(0, len(x), step):
        part = dictionary.encode(x[start : start + step])
        if type(part) is not Tensor:  # a subclass may answer every question in its own way
            raise DictionaryError(
                f"encode returned {type(part).__name__}, expected a torch.Tensor and no subclass of it"
            )
        expected = (len(x[start : start + step]), dictionary.d_sae)
        if tuple(part.shape) != expected:
            raise DictionaryError(f"encode returned shape {tuple(part.shape)}, expected [prompt, d_sae] = {expected}")
        part = part.float()  # first: what is finite in double precision may not be here
        least, most = part.aminmax()  # NaN is either; one pass, where asking each feature takes three
        if not (least.isfinite() and most.isfinite()):
            raise DictionaryError("encode returned NaN or Inf: check the weights and the input scale")
        if max(-least, most) > _LARGEST:
            raise DictionaryError(
                f"encode returned features too large to reckon with: {max(-least, most):.1e}, at most {_LARGEST:.0e}; "
                "check the weights and the input scale"
            )
        yield part


def encode_in_blocks(
    dictionary: Dictionary,
    x: Float[Tensor, "prompt d_in"],
    block: int = 4096,
    features: Int64[Tensor, " feature"] | None = None,
) -> Float[Tensor, "prompt d_sae"]:
    """Encode many inputs with bounded memory; only some of the features are kept where ``features`` names them.

    Raises:
        DictionaryError: the features have the wrong shape or are not finite.
    """
    blocks = encoded_blocks(dictionary, x, block)
    return torch.cat([part if features is None else part[:, features] for part in blocks])
