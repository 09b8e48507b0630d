"""Do the decoder's directions point where the supervised codes point? (METHOD §6; the paper, on geometry)"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ioi_bench.errors import DictionaryError

__all__ = ["Geometry", "geometry"]

_BLOCK_ELEMENTS = 1 << 22


@dataclass(frozen=True)
class Geometry:
    """Mean maximal cosines between directions and the codes of one attribute; NaN where there is nothing to compare.

    Cosines keep their sign: a direction that points the other way is another direction.
    """

    codes_to_features: float
    """Mean over the codes of the largest cosine with any direction: is every value found?"""
    features_to_codes: float
    """Mean over the living features of the largest cosine with any code of the attribute.

    A dictionary has features for other attributes too, so that this is 1 only where all are of this one.
    """


@torch.no_grad()
def geometry(
    directions: Float[Tensor, "d_sae d_in"], alive: Bool[Tensor, " d_sae"], codes: Float[Tensor, "value d_in"]
) -> Geometry:
    """Compare the unit-norm directions of living features with the centred supervised codes of one attribute.

    Args:
        directions: of the decoder; their lengths do not matter.
        alive: the features that some train prompt activates.
        codes: one a value, less the train mean: mean codes as METHOD §3 has them. The codes of values that train does
            not contain are 0, and are left out, as are directions of length 0.

    Raises:
        DictionaryError: sizes that do not fit.

    Two of three directions are alive; one is the first code, the other is 45° away from it:

    >>> directions = torch.tensor([[2.0, 0.0], [1.0, 1.0], [-1.0, 0.0]])
    >>> found = geometry(directions, torch.tensor([True, True, False]), torch.tensor([[3.0, 0.0], [-3.0, 0.0]]))
    >>> round(found.codes_to_features, 4), round(found.features_to_codes, 4)  # (1 − √½) / 2, (1 + √½) / 2
    (0.1464, 0.8536)
    """
    if directions.shape[1:] != codes.shape[1:] or alive.shape != directions.shape[:1]:
        raise DictionaryError(
            f"directions {tuple(directions.shape)}, alive {tuple(alive.shape)} and codes {tuple(codes.shape)} do not "
            "fit: expected [d_sae, d_in], [d_sae] and [value, d_in]"
        )
    units, targets = _units(directions[alive]), _units(codes)
    if not (len(units) and len(targets)):
        return Geometry(float("nan"), float("nan"))
    nearest, total = torch.full((len(targets),), -1.0, dtype=torch.float64), 0.0
    for some in units.split(max(1, _BLOCK_ELEMENTS // len(targets))):
        cosines = some @ targets.T
        nearest = torch.maximum(nearest, cosines.amax(0))
        total += cosines.amax(1).sum().item()
    return Geometry(nearest.mean().item(), total / len(units))


def _units(rows: Float[Tensor, "row d_in"]) -> Float[Tensor, "kept d_in"]:
    norms = rows.double().norm(dim=1, keepdim=True)
    return (rows / norms)[norms[:, 0] > 0]
