"""The interpretation-agnostic edit: exchange the features that bring the activation nearest to its counterfactual."""

from __future__ import annotations

from functools import partial

import torch

from ioi_bench.editing.base import Edit, EditInputs, check_budgets, in_chunks, widened
from ioi_bench.editing.greedy import Candidates, tie_tolerance

__all__ = ["exchange"]


@torch.no_grad()
def exchange(inputs: EditInputs, budgets: tuple[int, ...], *, chunk: int | None = None) -> Edit:
    """Greedy over feature indices; choosing j adds ``Δ_j = (f_j(a_t) − f_j(a_s)) d_j`` (METHOD §5; the post).

    Each of the k rounds takes the j, not yet chosen, that minimises ``‖a_s + ΣΔ − a_t‖₂``; ties go to the lower index.
    A feature whose value is the same on both sides does nothing when chosen: such a round is recorded as −1, and there
    can be no more of them than there are such features. A round may both remove (j is active in ``a_s``) and
    add (j is active in ``a_t``).

    Only features with a change enter the search, and no ``[prompt, d_sae, d_in]`` is ever built: besides the result,
    memory is a few ``[chunk, d_sae]`` tensors and the directions of the features that change in the chunk.

    Args:
        inputs: activations and features of both sides.
        budgets: numbers of rounds, increasing.
        chunk: prompts that are searched at once; changes nothing but memory and time.

    Raises:
        InputError: unusable budgets.
    """
    check_budgets(budgets)
    return in_chunks(inputs, budgets, chunk, partial(_exchange, inputs, budgets))


def _exchange(inputs: EditInputs, budgets: tuple[int, ...], part: slice) -> Edit:
    current, a_t, f_s, f_t = (x[part] for x in (inputs.a_s, inputs.a_t, inputs.f_s, inputs.f_t))
    rounds = min(budgets[-1], f_s.shape[1])  # after that nothing is left to choose
    candidates = Candidates.of(f_t - f_s, inputs.directions, rounds)
    tolerance = tie_tolerance(a_t - current)
    rows = torch.arange(len(current), device=current.device)
    picks, states = [], []
    for _ in range(rounds):
        feature, step = candidates.take(rows, candidates.best(a_t - current, tolerance)[0])
        picks.append(feature)
        states.append(current := current + step)
    chosen = torch.stack(picks, 1)
    before, after = f_s.gather(1, chosen), f_t.gather(1, chosen)
    changed = before != after
    removed, added = (widened(chosen.where(changed & (f != 0), -1), budgets[-1]) for f in (before, after))
    return Edit(budgets, torch.stack([states[min(k, rounds) - 1] for k in budgets]), removed, added)
