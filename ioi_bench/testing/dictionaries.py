"""Checking a dictionary: the contract, its decoder, and its form on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from ioi_bench.dictionary import Dictionary
from ioi_bench.testing.contract import CONTRACT_CHECKS
from ioi_bench.testing.decoding import DECODING_CHECKS
from ioi_bench.testing.examples import DictionaryExample
from ioi_bench.testing.results import Case, Check, require_all
from ioi_bench.testing.storage import STORAGE_CHECKS

__all__ = ["DictionaryCase", "check_dictionary"]


@dataclass(frozen=True, eq=False)
class DictionaryCase(DictionaryExample):
    """A dictionary to be checked; the fields are those of `DictionaryExample`."""

    @property
    def subject(self) -> str:
        """What it is called in messages."""
        return self.name or type(self.dictionary).__name__

    @property
    def checks(self) -> Sequence[Check]:
        """All checks of a dictionary."""
        return (*CONTRACT_CHECKS, *DECODING_CHECKS, *STORAGE_CHECKS)

    def further(self) -> Iterable[Case]:
        """Nothing."""
        return ()


def check_dictionary(
    dictionary: Dictionary,
    *,
    inputs: Float[Tensor, "prompt d_in"] | None = None,
    reconstruct: Callable[[Float[Tensor, "prompt d_in"]], Float[Tensor, "prompt d_in"]] | None = None,
    seed: int = 0,
) -> None:
    """Raise unless the dictionary keeps its contract (METHOD §4): for a test of your own.

    Args:
        dictionary: the one to be checked.
        inputs: activations that it was made for; without them, random ones.
        reconstruct: the library's own reconstruction, where there is one.
        seed: of what is drawn.

    Raises:
        ConformanceError: an `AssertionError`: what was checked, what was found, what to do.
    """
    require_all(DictionaryCase(dictionary, inputs, reconstruct, seed))
