"""Dictionaries of others' code, held to their contract on what they are judged by (METHOD §4: no state between calls).

A conformance test is run when its author likes; a dictionary that is judged is watched while it is judged. What it
encodes is sampled, and at the end a copy that has seen nothing encodes the sample again, in another order and in one
batch: an encoder that remembers earlier calls, or that looks at its batch, gives itself away. ioi-bench's own
architectures have neither state nor batch by construction, and are not watched.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from random import Random
from threading import Lock

import torch
from jaxtyping import Float
from torch import Tensor

from ioi_bench.dictionaries.architectures import ARCHITECTURES
from ioi_bench.dictionaries.nulls import Linear, RandomTopK
from ioi_bench.dictionary import AffineDecoder, Dictionary, affine_decoder, check_affine, encode_in_blocks
from ioi_bench.errors import DictionaryError

__all__ = ["Watched", "watched"]

_ELEMENTS = 1 << 20  # of [prompt, d_sae] that are kept
_FEWEST, _MOST = 16, 512
_A_CALL = 16
_TOLERANCE = 1e-3
_ROWS = 0.01
_OURS = (*ARCHITECTURES.values(), RandomTopK, Linear)


@dataclass(eq=False)
class Watched:
    """A dictionary, a copy of it that has seen nothing, and a sample of what it was asked and what it said.

    The rows of a call are sampled evenly; past the limit, later ones take the place of earlier ones at random.

    Attributes:
        dictionary: what is judged.
        fresh: a copy from before its first call; itself, where it cannot be copied.
        directions: its decoder's rows before that.
    """

    dictionary: Dictionary
    fresh: Dictionary
    directions: Float[Tensor, "d_sae d_in"]
    _kept: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    _seen: int = 0
    _random: Random = field(default_factory=lambda: Random(0))
    _lock: Lock = field(default_factory=Lock)

    @property
    def d_in(self) -> int:
        """Dimensions of an activation."""
        return self.dictionary.d_in

    @property
    def d_sae(self) -> int:
        """Number of features."""
        return self.dictionary.d_sae

    @property
    def d_read(self) -> int:
        """Dimensions of what it reads."""
        return getattr(self.dictionary, "d_read", self.dictionary.d_in)

    def encode(self, x: Float[Tensor, "prompt d_in"]) -> Float[Tensor, "prompt d_sae"]:
        """Encode, and remember some of it. The encoder gets a copy: the activations are what is judged.

        Raises:
            DictionaryError: it changed what it was given.
        """
        given = x.clone()
        f = self.dictionary.encode(given)
        if not torch.equal(given, x):
            raise DictionaryError("encode changed the activations that it was given: work on a copy of them")
        if f.shape == (len(x), self.d_sae) and len(x):  # other shapes are an error further on
            self._remember(x, f)
        return f

    def decode(self, f: Float[Tensor, "prompt d_sae"]) -> Float[Tensor, "prompt d_in"]:
        """As the dictionary does."""
        return self.dictionary.decode(f)

    def _remember(self, x: Tensor, f: Tensor) -> None:
        limit = min(_MOST, max(_FEWEST, _ELEMENTS // self.d_sae))
        rows = torch.linspace(0, len(x) - 1, min(_A_CALL, len(x))).round().long().tolist()
        with self._lock:
            for row in rows:
                self._seen += 1
                place = len(self._kept) if len(self._kept) < limit else self._random.randrange(self._seen)
                if place < limit:
                    self._kept[place : place + 1] = [(x[row].clone(), f[row].detach().float().clone())]

    @torch.no_grad()
    def require_same_again(self, where: object) -> None:
        """Encode the sample again, and decode it: raise unless both are what they were.

        Args:
            where: the site, for the message.

        Raises:
            DictionaryError: `encode` depends on earlier calls or on the batch, or ``decode`` is not affine on the
                dictionary's own features.
        """
        if not self._kept:
            return
        decoder = affine_decoder(self.dictionary)
        if not torch.equal(decoder.directions, self.directions):
            raise DictionaryError(
                f"{where}: the decoder has other directions than before the activations were encoded: keep no state"
            )
        x, f = (torch.stack(tensors) for tensors in zip(*reversed(self._kept), strict=True))
        again = encode_in_blocks(self.fresh, x)
        norms = decoder.directions.norm(dim=1)
        apart = ((again - f) * norms).norm(dim=1) / ((f * norms).norm(dim=1) + 1e-12)
        many = int((~(apart <= _TOLERANCE)).sum())  # NaN is not the same
        if many > max(1, _ROWS * len(x)):
            raise DictionaryError(
                f"{where}: encode is not a function of each activation alone: {many} of {len(x)} activations that were "
                "judged have other features when they are encoded again, in another order and batch. Keep no state "
                "between calls, and compute nothing from the batch (its mean, its order, its size)"
            )
        _require_affine(self.dictionary, decoder, f, where)


def _require_affine(dictionary: Dictionary, decoder: AffineDecoder, f: Tensor, where: object) -> None:
    try:
        check_affine(dictionary, decoder, f)
    except DictionaryError as error:
        raise DictionaryError(f"{where}, on its own features: {error}") from None


def watched(dictionary: Dictionary) -> Watched | None:
    """The dictionary under watch; None where there is nothing to watch: one of ioi-bench's own."""
    if type(dictionary) in _OURS:
        return None
    try:
        fresh = copy.deepcopy(dictionary)
    except Exception:  # it may hold anything, and say so in any way
        fresh = dictionary
    return Watched(dictionary, fresh, affine_decoder(dictionary).directions)
