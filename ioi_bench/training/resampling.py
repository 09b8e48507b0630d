"""Dead features start again (METHOD §8; Bricken et al. 2023, appendix "Neuron Resampling").

A feature that no prompt of the last epoch activated is dead. Of each member, as many train prompts are drawn as it has
dead features, with chances ∝ ``(‖x − x̂‖²)²``. The feature's decoder row becomes the unit vector ``v`` along
``x − b_dec``, its encoder column ``v`` times 0.2 × the mean norm of alive features' columns, its bias 0, all else what
it was at first; Adam's moments of all these are 0.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from ioi_bench.training.programs import Program
from ioi_bench.training.recipe import Tactics

__all__ = ["resample"]

ENCODER_NORM = 0.2


def resample(
    program: Program,
    member: int,
    x: Float[Tensor, "prompt d_in"],
    loss: Float[Tensor, " prompt"],
    used: Float[Tensor, " d_sae"],
    moments: tuple[Mapping[str, Tensor], ...],
    tactics: Tactics,
    generator: torch.Generator,
) -> int:
    """Let one member's dead features start again.

    Args:
        program: whose parameters are changed.
        member: which of its members.
        x: all train inputs, in the SAE's units.
        loss: of each of them, ``‖x − x̂‖²``.
        used: how much each feature was active in the last epoch; 0 is dead.
        moments: Adam's, by the names of the parameters.
        tactics: which parts are on.
        generator: decides the draw.

    Returns:
        How many features were dead.
    """
    dead = (used == 0).nonzero()[:, 0]
    if len(dead) == 0:
        return 0
    chances = loss.double().cpu().square() if tactics.example_losses else torch.ones(len(x), dtype=torch.float64)
    enough = int((chances > 0).sum()) >= len(dead)
    drawn = torch.multinomial(chances.clamp_min(1e-300), len(dead), replacement=not enough, generator=generator)
    weights = {name: tensor[member] for name, tensor in program.parameters.items()}
    directions = x[drawn.to(x.device)] - weights["b_dec"]
    directions /= directions.norm(dim=1, keepdim=True).clamp_min(1e-12)
    counted = used > 0 if tactics.feature_norms and len(dead) < len(used) else torch.ones_like(used, dtype=torch.bool)
    norm = weights["encoder"][: program.d_in, counted].norm(dim=0).mean()
    weights["decoder"][dead] = directions
    weights["encoder"][: program.d_in, dead] = ENCODER_NORM * norm * directions.T
    weights["encoder"][program.d_in, dead] = 0.0
    for name, value in program.initial.items():
        weights[name][dead] = value
    if tactics.adam_reset:
        for moment in moments:
            moment["decoder"][member][dead] = 0.0
            moment["encoder"][member][:, dead] = 0.0
            for name in program.initial:
                moment[name][member][dead] = 0.0
    return len(dead)
