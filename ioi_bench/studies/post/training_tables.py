"""How the run's SAEs were trained, and where selection landed, as tidy tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ioi_bench.evaluation.selection import FIXED_SPARSITY
from ioi_bench.training.schedule import DECAY_SHARE

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CONVERGED", "EARLY", "choice_table", "curve_table", "steady_span"]

CONVERGED = 0.02
"""Neither loss nor error moves by this share, or more, over the span of a run that has converged."""

EARLY = 4
"""A checkpoint is early up to this epoch."""


def choice_table(choices: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Where selection landed: variant, k, n choices, and how many of them at either end of λ's grid, and of the epochs.

    Args:
        choices: of `select`, one row a site and seed.
        table: of `candidates_table`: what there was to choose from.
    """
    import pandas as pd

    rows = []
    for _, own in choices.groupby(choices["suite"].str.rpartition("-s")[0], sort=False):
        variant = own["variant"].iloc[0]
        known, fixed = table[table["variant"] == variant], variant in FIXED_SPARSITY
        nan = float("nan")
        ends = [nan if fixed else int((own["sparsity"] == end(known["sparsity"])).sum()) for end in (min, max)]
        rows.append(
            {
                "variant": variant,
                "k": float(own["sparsity"].iloc[0]) if fixed else nan,
                "n": len(own),
                "least": ends[0],
                "largest": ends[1],
                "early": int((own["epoch"] <= EARLY).sum()),
                "last": int((own["epoch"] == known["epoch"].max()).sum()),
            }
        )
    return pd.DataFrame(rows)


def curve_table(curves: pd.DataFrame, span: tuple[int, int]) -> pd.DataFrame:
    """Training curves, means over sites and seeds: variant, sparsity, epoch, loss, error, l0, dead, and what moved.

    Args:
        curves: of the run.
        span: two epochs.

    Returns:
        On the rows of the last epoch ``change`` and ``loss_change``, the relative changes of error and loss over the
        span, and ``converged``: whether both are below `CONVERGED`. Elsewhere NaN.
    """
    figures = ["loss", "error", "l0", "dead"]
    grouped = curves.groupby(["variant", "sparsity", "epoch"], sort=False)[figures].mean().reset_index()
    ends = [grouped[grouped["epoch"] == at].set_index(["variant", "sparsity"])[["loss", "error"]] for at in span]
    moved = (ends[1] / ends[0] - 1).set_axis(["loss_change", "change"], axis=1)
    moved = moved.assign(converged=(moved.abs() < CONVERGED).all(axis=1))
    return grouped.merge(
        moved.reset_index().assign(epoch=int(grouped["epoch"].max())), how="left", on=["variant", "sparsity", "epoch"]
    )


def steady_span(epochs: int, *, decay: bool) -> tuple[int, int]:
    """A quarter of a run's epochs, the last at the learning rate's height.

    >>> steady_span(100, decay=True), steady_span(100, decay=False)
    ((50, 75), (75, 100))
    """
    end = epochs - (epochs // DECAY_SHARE if decay else 0)
    return max(1, end - max(1, epochs // 4)), end
