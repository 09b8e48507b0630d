"""The strictest edit: feature arithmetic that knows the target value, but not the target activation."""

from __future__ import annotations

from dataclasses import replace

import torch

from ioi_bench.editing.aware import best_active, f1_order
from ioi_bench.editing.base import Edit, EditInputs, apply_rounds, check_budgets, widened

__all__ = ["universal"]


@torch.no_grad()
def universal(inputs: EditInputs, budgets: tuple[int, ...]) -> Edit:
    """Remove as `aware` does; add the same features, at the same values, on every prompt (METHOD §5; ours).

    Round i adds the i-th best of **all** features by train F1 for the target value, at its mean activation on train
    given that value. Nothing is read from the counterfactual (``a_t``, ``f_t``). A feature whose mean is 0 adds
    nothing: −1.

    Args:
        inputs: activations and features of the base side, attribute values and train statistics.
        budgets: numbers of rounds, increasing.

    Raises:
        InputError: unusable budgets.
    """
    check_budgets(budgets)
    rounds = budgets[-1]
    removed = best_active(inputs.f_s, inputs.base, inputs.train.f1, rounds)
    present, row = inputs.target.unique(return_inverse=True)
    best = f1_order(inputs.train.f1[present])[:, :rounds]
    mean = inputs.train.conditional_mean[present].gather(1, best).to(inputs.a_s.dtype)
    added = widened(best.masked_fill(mean == 0, -1), rounds)
    value = widened(mean, rounds)[row]
    return replace(apply_rounds(inputs, budgets, removed, added[row], value), added_value=value)
