"""The paper's edit: removals and additions are chosen separately."""

from __future__ import annotations

from functools import partial

import torch

from ioi_bench.editing.base import Edit, EditInputs, check_budgets, in_chunks
from ioi_bench.editing.greedy import Candidates, tie_tolerance

__all__ = ["split"]


@torch.no_grad()
def split(inputs: EditInputs, budgets: tuple[int, ...], *, chunk: int | None = None) -> Edit:
    """At most r removals of what is active in ``a_s``, r additions of what is active in ``a_t`` (METHOD §5; the paper).

    Each round first removes the feature (``Δ = −f_j(a_s) d_j``), then adds the one (``Δ = +f_j(a_t) d_j``), that brings
    the activation nearest to ``a_t``, each at most once; ties go to the lower index. Either is left out (−1) where none
    brings it strictly nearer. Memory is bounded as in `exchange`.

    Args:
        inputs: activations and features of both sides.
        budgets: numbers of rounds, increasing.
        chunk: prompts that are searched at once; changes nothing but memory and time.

    Raises:
        InputError: unusable budgets.
    """
    check_budgets(budgets)
    return in_chunks(inputs, budgets, chunk, partial(_split, inputs, budgets))


def _split(inputs: EditInputs, budgets: tuple[int, ...], part: slice) -> Edit:
    current, a_t = inputs.a_s[part], inputs.a_t[part]
    removals = Candidates.of(-inputs.f_s[part], inputs.directions)
    additions = Candidates.of(inputs.f_t[part], inputs.directions)
    tolerance = tie_tolerance(a_t - current)
    edited, picks = [], []
    for i in range(budgets[-1]):
        for candidates in (removals, additions):
            column, least = candidates.best(a_t - current, tolerance)
            rows = (least < -tolerance).nonzero()[:, 0]
            feature, step = candidates.take(rows, column[rows])
            current = current.index_add(0, rows, step)
            picks.append(torch.full_like(column, -1).index_copy_(0, rows, feature))
        if i + 1 in budgets:
            edited.append(current)
    return Edit(budgets, torch.stack(edited), torch.stack(picks[::2], 1), torch.stack(picks[1::2], 1))
