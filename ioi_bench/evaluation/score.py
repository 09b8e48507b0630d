"""The score (METHOD §7): what an edit is worth, a cell's value, and how it compares with random dictionaries.

Everything works on tensors with leading axes, so that the bootstrap's draws go through in one call.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = [
    "HEADLINE_METHOD",
    "MAX_NULL_S",
    "MIN_GAP",
    "MIN_GAP_LOW",
    "NULL_SEEDS",
    "SCORED_BUDGETS",
    "SCORED_METHODS",
    "SCORING",
    "cell_value",
    "edit_value",
    "gain_reason",
    "null_normalised",
    "ranking_reason",
    "untrained_reason",
]

SCORING = "ioi-v1.2"
"""The version of METHOD's edits, metrics and score: only cards of one version are compared (docs/method-changes.md)."""
SCORED_BUDGETS = (1, 2, 4)
SCORED_METHODS = ("exchange", "aware", "universal")
HEADLINE_METHOD = "exchange"
NULL_SEEDS = 3
MIN_GAP, MIN_GAP_LOW, MAX_NULL_S = 0.10, 0.05, 0.5
_LEAST_ROOM = 0.1
_MOST_NULL = 0.9


def edit_value(
    accuracy: Float[Tensor, "*draw"],
    weight: Float[Tensor, "*draw"],
    *,
    no_edit: Float[Tensor, "*draw"],
    skyline: Float[Tensor, "*draw"],
    skyline_weight: Float[Tensor, "*draw"],
) -> Float[Tensor, "*draw"]:
    """``v = y (1 − x)``: accuracy gained, as a share of the skyline's gain, less what needless weight costs.

    ``y = (acc − acc_no-edit) / (acc_sky − acc_no-edit)`` and ``x = (w − w_sky) / max(1 − w_sky, 0.1)``, clipped to
    [0, 1]; w is the mean weight that is exchanged. NaN where the skyline gains nothing. A weight that is undefined in
    every prompt counts as the whole weight: it must not pay to have none.

    Half of the skyline's gain, with half of the weight that it leaves: ½ · (1 − ½).

    >>> half, t = torch.tensor(0.5), torch.tensor
    >>> edit_value(half, t(0.7), no_edit=t(0.1), skyline=t(0.9), skyline_weight=t(0.4)).item()
    0.25...
    """
    gain = skyline - no_edit
    y = (accuracy - no_edit) / torch.where(gain > 0, gain, torch.nan)
    x = (weight - skyline_weight) / (1 - skyline_weight).clamp_min(_LEAST_ROOM)
    return y * (1 - x.nan_to_num(nan=1.0).clamp(0, 1))


def cell_value(values: Float[Tensor, "*draw budget"], budgets: Sequence[int]) -> Float[Tensor, "*draw"]:
    """``S = mean over k ∈ {1, 2, 4} of max(0, v_1 … v_k)``, over those of the budgets 1, 2 and 4 that were evaluated.

    Right only with two features (budgets 8 and 16 never count):

    >>> cell_value(torch.tensor([0.0, 0.6, 0.3, 1.0]), (1, 2, 4, 8)).item()
    0.4...
    """
    best = []
    for most in SCORED_BUDGETS:
        at = [i for i, budget in enumerate(budgets) if budget in SCORED_BUDGETS and budget <= most]
        best.append(values[..., at].amax(-1).clamp_min(0) if at else values.new_zeros(values.shape[:-1]))
    return torch.stack(best).mean(0)


def null_normalised(s: Float[Tensor, "*draw"], s_null: Float[Tensor, "*draw"]) -> Float[Tensor, "*draw"]:
    """0 for what a matched random dictionary reaches, 1 for the skyline, −1 at worst.

    ``(S − S_null) / (1 − min(S_null, 0.9))`` where S ≥ S_null, else ``(S − S_null) / max(S_null, 0.1)``. METHOD §7 has
    S_null alone below; but random dictionaries reach an S of some thousandths, so that the difference of two came out
    as anything down to −1. No denominator is less than 0.1, as in the other branch and in x.

    >>> null_normalised(torch.tensor([0.625, 0.125, 0.001]), torch.tensor([0.25, 0.25, 0.003])).tolist()
    [0.5, -0.5, -0.0199...]
    """
    above = (s - s_null) / (1 - s_null.clamp_max(_MOST_NULL))
    below = (s - s_null) / s_null.clamp_min(_LEAST_ROOM)
    return torch.where(s < s_null, below, above)


def gain_reason(gap: float, gap_low: float) -> str:
    """Why the skyline gains too little over no edit for its accuracy to mean anything; empty if it gains enough.

    The first half of METHOD §7's rule for ranked cells.

    Args:
        gap: ``acc_sky − acc_no-edit``; NaN is too little.
        gap_low: lower end of its 95 % interval.

    >>> gain_reason(0.5, 0.4)
    ''
    >>> gain_reason(-0.06, -0.12)
    'the skyline gains only -0.060 over no edit (0.10 needed)'
    """
    if not gap >= MIN_GAP:
        return f"the skyline gains only {gap:.3f} over no edit ({MIN_GAP:.2f} needed)"
    if not gap_low > MIN_GAP_LOW:
        return f"the skyline's gain is uncertain: its interval begins at {gap_low:.3f} ({MIN_GAP_LOW:.2f} needed)"
    return ""


def ranking_reason(gap: float, gap_low: float, s_null: float) -> str:
    """Why a cell cannot be ranked; empty if it can (METHOD §7).

    Args:
        gap: ``acc_sky − acc_no-edit``.
        gap_low: lower end of its 95 % interval.
        s_null: S of the track's standard null (random top-k, d_sae = 8 d_in, k = 3) under ``exchange``.

    >>> ranking_reason(0.5, 0.4, 0.1)
    ''
    >>> ranking_reason(0.08, 0.06, 0.1)
    'the skyline gains only 0.080 over no edit (0.10 needed)'
    """
    if reason := gain_reason(gap, gap_low):
        return reason
    if not s_null <= MAX_NULL_S:
        return f"random dictionaries reach S = {s_null:.2f} ({MAX_NULL_S} at most)"
    return ""


def untrained_reason(gap: float, gap_low: float, seed: int) -> str:
    """Why a cell that untrained models pass cannot be ranked; empty where this one fails (METHOD §7).

    An untrained model passes where `gain_reason` would let a trained one pass. Sutter et al. 2025 (arXiv 2507.08802):
    a map that is rich enough finds any algorithm in a randomly initialised model, too.

    Args:
        gap: ``acc_sky − acc_no-edit`` on the untrained model, with a skyline fitted there.
        gap_low: lower end of its 95 % interval.
        seed: of the untrained model.

    >>> untrained_reason(0.05, 0.03, 0)
    ''
    >>> untrained_reason(0.3, 0.2, 1)
    'the skyline gains 0.300 over no edit on an untrained model, too (seed 1)'
    """
    if gain_reason(gap, gap_low):
        return ""
    return f"the skyline gains {gap:.3f} over no edit on an untrained model, too (seed {seed})"
