"""A dictionary over some of its features only: what makes 131,072 of them affordable (docs/any-hook.md).

On inputs that activate none of the features left out, the narrowed dictionary is the same: a ReLU and a gate look at
each feature alone, and a top-k that never took the missing ones takes the same from the rest.
"""

from __future__ import annotations

from dataclasses import replace

from jaxtyping import Int64
from torch import Tensor

from ioi_bench.dictionaries.architectures import Architecture, Gated, Relu, TopK
from ioi_bench.dictionaries.nulls import RandomTopK
from ioi_bench.dictionary import Dictionary

__all__ = ["narrowed"]

_KNOWN = (Relu, Gated, TopK)


def narrowed(dictionary: Dictionary, features: Int64[Tensor, " feature"]) -> Dictionary | None:
    """The dictionary with these features, in this order; None where it is not known how its features compete.

    Subclasses may let features compete in ways of their own, so that only the classes themselves are known.
    """
    if isinstance(dictionary, RandomTopK):
        units, norms = dictionary.units[features], dictionary.norms[features]
        return replace(dictionary, units=units, norms=norms, k=min(dictionary.k, len(features)))
    if type(dictionary) not in _KNOWN:
        return None
    assert isinstance(dictionary, Architecture)
    changes: dict[str, object] = {
        name: tensor.index_select(dictionary.axes[name].index("d_sae"), features)
        for name, tensor in dictionary.tensors.items()
        if "d_sae" in dictionary.axes[name]
    }
    if isinstance(dictionary, TopK):
        changes["k"] = min(dictionary.k, len(features))
    return replace(dictionary, **changes)  # type: ignore[arg-type]  # values by field name
