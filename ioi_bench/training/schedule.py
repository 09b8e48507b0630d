"""The learning rate over a run (METHOD §8)."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["Rise", "learning_rate"]

WARMUP_START = 0.1
DECAY_SHARE = 4  # the last quarter

Rise = tuple[int, int]
"""The step at which a linear warm-up starts, and how many steps it takes."""


def learning_rate(step: int, steps: int, rises: Sequence[Rise], peak: float, decay: bool = True) -> float:
    """Of step ``step`` (0-based) of ``steps``: a linear rise wherever one starts, a linear fall in the last quarter.

    A rise starts at a tenth of the peak; the fall starts at the peak and would reach 0 at step ``steps``, one after
    the last.

    >>> [learning_rate(step, 8, [(0, 2), (4, 2)], 1.0) for step in range(8)]
    [0.1, 0.55, 1.0, 1.0, 0.1, 0.55, 1.0, 0.5]
    """
    rise = min(
        (WARMUP_START + (1 - WARMUP_START) * (step - start) / length) if start <= step < start + length else 1.0
        for start, length in (*rises, (0, 0))
    )
    falling = steps // DECAY_SHARE if decay else 0
    fall = 1.0 if step < steps - falling else (steps - step) / falling
    return peak * rise * fall
