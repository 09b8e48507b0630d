"""What a tactic of training is worth: the recipe without it, compared pair by pair with the recipe (METHOD §8).

Of each run the candidate of least edit distance is selected, per variant, seed (and k, where it is not selected over),
site and attribute. Its distance, as a share of the unedited one, is paired with that of the full recipe; differences
are averaged at each site over attributes, seeds and k, and then over sites. The interval is a bootstrap over sites.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ioi_bench.errors import InputError
from ioi_bench.evaluation.bootstrap import Bootstrap, Interval, interval
from ioi_bench.training import Recipe, Tactics

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FULL", "TACTICS", "Effect", "Final", "effect", "final", "reading", "same_weights", "without"]

FULL = "full"
"""The recipe with all of its tactics."""

TACTICS = tuple(Tactics.model_fields)

_OF_RESAMPLING = ("resample", "resample_warmup", "example_losses", "feature_norms", "adam_reset")
_PAIR = ["suite", "site", "attribute"]  # the suite's name says variant, seed and k


def without(recipe: Recipe, tactic: str) -> Recipe:
    """The recipe with one tactic switched off and all else as it was.

    >>> without(Recipe(variants={"topk": (3,)}), "decay").tactics.decay
    False
    """
    return recipe.model_copy(update={"tactics": recipe.tactics.model_copy(update={tactic: False})})


def same_weights(recipe: Recipe, tactic: str) -> str:
    """Why a recipe trains the same weights without a tactic; empty where it does not.

    >>> same_weights(Recipe(variants={"topk": (3,)}), "dense_checkpoints")
    'it changes only which checkpoints are kept'
    >>> same_weights(Recipe(variants={"topk": (3,)}), "decay")
    ''
    """
    if not getattr(recipe.tactics, tactic):
        return "the recipe does without it already"
    if tactic == "dense_checkpoints":
        return "it changes only which checkpoints are kept"
    if tactic in _OF_RESAMPLING and not recipe.resample_after:
        return "nothing is resampled in this recipe"
    if tactic == "resample_warmup" and recipe.resample_warmup == 0:
        return "the warm-up of this recipe has no epochs"
    return ""


@dataclass(frozen=True)
class Effect:
    """What one tactic is worth to one variant, by one edit method.

    Attributes:
        full, removed: mean relative edit distance of what was selected, with all tactics and without this one.
        difference: removed less full, with the interval over sites; positive where the tactic helps. NaN for the
            interval where there is only one site.
        sites: that were resampled.
        pairs: (seed, k, site, attribute) that both runs have a choice for.
    """

    full: float
    removed: float
    difference: Interval
    sites: int
    pairs: int


def effect(full: pd.DataFrame, removed: pd.DataFrame, *, seed: int = 0) -> Effect:
    """Compare the choices of two runs, of one variant and one method (`ioi_bench.evaluation.selection.select`).

    Raises:
        InputError: there is no pair.
    """
    columns = [*_PAIR, "distance_relative"]
    pairs = full[columns].merge(removed[columns], on=_PAIR, suffixes=("_full", "_removed"), validate="one_to_one")
    if pairs.empty:
        raise InputError(
            "nothing can be compared: no seed, site and attribute has a choice both with the tactic and without it"
        )
    names = ["distance_relative_full", "distance_relative_removed"]
    by_site = torch.from_numpy(pairs.groupby("site")[names].mean().to_numpy(dtype="float64", copy=True))
    draws = Bootstrap.of(range(len(by_site)), seed=seed).mean(by_site[:, 1] - by_site[:, 0])
    found = interval(draws) if len(by_site) > 1 else Interval(draws[0].item(), float("nan"), float("nan"))
    mean_full, mean_removed = by_site.mean(0).tolist()
    return Effect(mean_full, mean_removed, found, len(by_site), len(pairs))


def reading(difference: Interval) -> str:
    """What an interval says of a tactic, and no more.

    >>> [reading(Interval(0.1, low, 0.2)) for low in (0.05, -0.01, float("nan"))]
    ['helps', 'interval includes 0', 'no interval']
    >>> reading(Interval(-0.1, -0.2, -0.05)), reading(Interval(0.0, 0.0, 0.0))
    ('harms', 'no difference')
    """
    low, high = difference.low, difference.high
    if low != low:  # NaN: a single site
        return "no interval"
    if low == high == 0.0:
        return "no difference"
    if low > 0:
        return "helps"
    return "harms" if high < 0 else "interval includes 0"


@dataclass(frozen=True)
class Final:
    """What the last checkpoints of a variant are like: means over sites, seeds and sparsities.

    Attributes:
        error: ``‖x − x̂‖²`` on validation, with inputs scaled to the mean norm √d_in, whatever the run learnt from.
        l0: active features a prompt, on validation.
        dead: share of features that no train prompt activates.
    """

    error: float
    l0: float
    dead: float


def final(table: pd.DataFrame, units: Mapping[str, float]) -> Final:
    """Of one variant's candidates (`ioi_bench.evaluation.selection.candidates_table`).

    Args:
        table: all their rows.
        units: by site, what takes ``l2`` from the run's own units into those of `Final.error`.
    """
    last = table[table["epoch"] == table["epoch"].max()].drop_duplicates(["sparsity", "seed", "site"])
    error = (last["l2"] * last["site"].map(units)).mean()
    return Final(float(error), float(last["l0"].mean()), float(last["dead_share"].mean()))
