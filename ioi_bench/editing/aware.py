"""The interpretation-aware edit: features are chosen by what they were found to mean on train."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

from ioi_bench.editing.base import Edit, EditInputs, apply_rounds, check_budgets

__all__ = ["aware", "best_active", "f1_order"]

_BLOCK_ELEMENTS = 1 << 18
_MINIMA = 4  # up to so many minima, one after another, are faster than a selection


@torch.no_grad()
def aware(inputs: EditInputs, budgets: tuple[int, ...]) -> Edit:
    """Remove the r best active features of the base value, add the r best active ones of the target value (METHOD §5).

    Best is by F1 on train, ties to the lower index. Round i removes the i-th of those active in ``a_s`` and adds the
    i-th of those active in ``a_t`` at its value there; −1 where no more are active. On one-hot features whose
    directions are the supervised codes, one round is the skyline's edit ``a − u[v] + u[v']`` (METHOD §3).

    Args:
        inputs: activations and features of both sides, attribute values and train statistics.
        budgets: numbers of rounds, increasing.

    Raises:
        InputError: unusable budgets.
    """
    check_budgets(budgets)
    removed = best_active(inputs.f_s, inputs.base, inputs.train.f1, budgets[-1])
    added = best_active(inputs.f_t, inputs.target, inputs.train.f1, budgets[-1])
    return apply_rounds(inputs, budgets, removed, added, inputs.f_t.gather(1, added.clamp(min=0)))


def f1_order(f1: Float[Tensor, "value d_sae"]) -> Int64[Tensor, "value d_sae"]:
    """Features of each value from the best F1 down; ties by index; NaN counts as 0."""
    return f1.nan_to_num(nan=0.0).argsort(dim=1, descending=True, stable=True)


def best_active(
    features: Float[Tensor, "prompt d_sae"],
    values: Int64[Tensor, " prompt"],
    f1: Float[Tensor, "value d_sae"],
    rounds: int,
) -> Int64[Tensor, "prompt round"]:
    """The first ``rounds`` active features of each prompt in the F1 order of its value, then −1."""
    n_prompts, d_sae = features.shape
    best = torch.full((n_prompts, rounds), -1, dtype=torch.int64, device=features.device)
    step, keep = max(1, _BLOCK_ELEMENTS // d_sae), min(rounds, d_sae)
    present, row = values.unique(return_inverse=True)
    order = f1_order(f1[present])
    narrow = torch.int16 if d_sae < torch.iinfo(torch.int16).max else torch.int32  # small numbers: fewer bytes to move
    places = torch.arange(d_sae, dtype=narrow, device=features.device).expand_as(order)
    rank = torch.empty_like(order, dtype=narrow).scatter_(1, order, places)
    for start in range(0, n_prompts, step):
        part = slice(start, start + step)
        place = rank[row[part]].masked_fill_(features[part] == 0, d_sae)
        first = _smallest(place, keep, d_sae)
        picks = order[row[part, None], first.clamp(max=d_sae - 1)]
        best[part, :keep] = picks.masked_fill_(first == d_sae, -1)
    return best


def _smallest(place: Int[Tensor, "prompt d_sae"], keep: int, nowhere: int) -> Int64[Tensor, "prompt keep"]:
    """The ``keep`` smallest places of each prompt in their order; spends ``place``. Places are distinct, or nowhere."""
    if keep > _MINIMA:
        return place.topk(keep, dim=1, largest=False, sorted=True).values.long()
    found = []
    for _ in range(keep):
        found.append(least := place.amin(1, keepdim=True))
        place.masked_fill_(place == least, nowhere)
    return torch.cat(found, 1).long()
