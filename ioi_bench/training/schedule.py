"""The learning rate over a run (METHOD §8)."""

from __future__ import annotations

__all__ = ["learning_rate"]

WARMUP_START = 0.1
DECAY_SHARE = 4  # the last quarter


def learning_rate(step: int, steps: int, warmup: int, peak: float) -> float:
    """Of step ``step`` (0-based): a linear rise over ``warmup`` steps, a linear fall in the last quarter of ``steps``.

    The rise starts at a tenth of the peak; the fall starts at the peak and would reach 0 at step ``steps``, one after
    the last.

    >>> [learning_rate(step, 8, 2, 1.0) for step in range(8)]
    [0.1, 0.55, 1.0, 1.0, 1.0, 1.0, 1.0, 0.5]
    """
    rise = 1.0 if step >= warmup else WARMUP_START + (1 - WARMUP_START) * step / warmup
    decay = steps // DECAY_SHARE
    fall = 1.0 if step < steps - decay else (steps - step) / decay
    return peak * rise * fall
