"""A dictionary with its directions dealt out anew: what its encoder is worth without them.

The features fire as they did, on the same prompts and with the same values, and each moves the activation as far as it
did; only where to is another feature's. A dictionary whose score lives in which features fire, and not in what they
write, keeps it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ioi_bench.dictionaries.cross_site import CrossSite
from ioi_bench.dictionary import Dictionary, affine_decoder, encode_in_blocks
from ioi_bench.errors import InputError

__all__ = ["PermutedDecoder", "permuted_decoder"]

_TRAIN_PROMPTS = 4096


@dataclass(frozen=True, eq=False)
class PermutedDecoder:
    """``encode`` of a dictionary, and a decoder of other directions: ``f @ directions + offset``."""

    inner: Dictionary
    directions: Float[Tensor, "d_sae d_in"]
    offset: Float[Tensor, " d_in"]

    @property
    def d_in(self) -> int:
        """Dimensions of the site."""
        return self.directions.shape[1]

    @property
    def d_sae(self) -> int:
        """Number of features."""
        return self.directions.shape[0]

    def encode(self, x: Float[Tensor, "prompt d_in"]) -> Float[Tensor, "prompt d_sae"]:
        """The dictionary's own features."""
        return self.inner.encode(x)

    def decode(self, f: Float[Tensor, "prompt d_sae"]) -> Float[Tensor, "prompt d_in"]:
        """``f @ directions + offset``."""
        return f @ self.directions + self.offset


def permuted_decoder(dictionary: Dictionary, train: Float[Tensor, "prompt d_read"], seed: int) -> Dictionary:
    """The dictionary with the directions of its living features dealt out anew, each stretched to the old one's norm.

    Features that none of the first 4,096 train prompts activates keep theirs: directions that training never used would
    make the living ones' task easier to fail. An offset that depends on the input is replaced by the constant one.

    Args:
        dictionary: whose encoder is kept.
        train: what it reads.
        seed: of the draw.

    Raises:
        InputError: no train activations.
        DictionaryError: the dictionary breaks its contract.
    """
    if not len(train):
        raise InputError("no train activations were given")
    decoder = affine_decoder(dictionary)
    alive = torch.zeros(dictionary.d_sae, dtype=torch.bool)
    for block in train[:_TRAIN_PROMPTS].split(1024):
        alive |= (encode_in_blocks(dictionary, block) != 0).any(0)
    directions = _dealt(decoder.directions, alive, seed)
    if isinstance(dictionary, CrossSite):  # it must be known for one that reads elsewhere
        return replace(dictionary, directions=directions)
    return PermutedDecoder(dictionary, directions, decoder.offset)


def _dealt(
    directions: Float[Tensor, "d_sae d_in"], alive: Bool[Tensor, " d_sae"], seed: int
) -> Float[Tensor, "d_sae d_in"]:
    norms = directions.norm(dim=1, keepdim=True)
    living: Int64[Tensor, " alive"] = (alive & (norms[:, 0] > 0)).nonzero()[:, 0]
    order = torch.randperm(len(living), generator=torch.Generator().manual_seed(seed))
    dealt = directions.clone()
    dealt[living] = directions[living[order]] / norms[living[order]] * norms[living]
    return dealt
