"""The figures of a score card, as frozen records; the card itself is in `ioi_bench.evaluation.card`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict

__all__ = [
    "CellScore",
    "CrossSectionFigures",
    "Direction",
    "EditFigures",
    "ExplainedFigures",
    "Faithfulness",
    "Figure",
    "GeometryFigures",
    "NullFigures",
    "Number",
    "Record",
]

Direction = Literal["higher", "lower", "none"]


def _finite_or_none(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


Number = Annotated[float | None, BeforeValidator(_finite_or_none)]


class Record(BaseModel):
    """A part of a card."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Figure(Record):
    """A number with its 95 % interval (bootstrap over prompts, clustered by name pair) and which way is better."""

    value: Number
    low: Number = None
    high: Number = None
    direction: Direction = "none"


class EditFigures(Record):
    """What one edit did in a cell: a method at a budget, or the skyline (``budget`` 1).

    ``weight`` is the weight that scores: the most of what goes out of the base activation, what comes in and what is
    moved aside, per effect (METHOD §6, docs/method-changes.md). ``weight_added`` is the share of what comes in alone;
    ``_paper`` is the paper's form.
    ``value`` is v_k of METHOD §7; it is empty for cells in which the skyline does not beat no-edit at all.
    """

    method: str
    budget: int
    accuracy: Figure
    accuracy_names: Figure
    ld_gap: Figure
    kl: Figure
    weight: Figure
    weight_added: Figure
    weight_removed_paper: Figure
    weight_added_paper: Figure
    distance: Figure
    distance_relative: Figure
    value: Figure
    n_removed: float
    """Mean number of features removed per prompt and site."""
    n_added: float
    nan_dropped: int
    """How many (prompt, site) weights had no value, and were left out of the means."""
    metrics: dict[str, Figure] = {}
    """By name, what plugins' metrics say of it."""


class NullFigures(Record):
    """Matched random dictionaries under one method: per budget means over the seeds."""

    budgets: tuple[int, ...]
    accuracy: tuple[Number, ...]
    weight: tuple[Number, ...]
    seeds: int


class CellScore(Record):
    """One cell under one method: S, the null's S, and the score that compares them (METHOD §7)."""

    s: Figure
    s_null: Figure
    score: Figure
    null: NullFigures


class Faithfulness(Record):
    """How well the dictionaries of a cross-section stand for the activations there (METHOD §6)."""

    l0: Figure
    dead_share: Figure
    fvu: Figure
    ld_recovered: Figure
    ld_recovered_reliable: bool
    """False where clean and mean-ablated logit differences are too close to divide by."""
    sufficiency: Figure
    sufficiency_kl: Figure
    necessity: Figure
    necessity_kl: Figure


class ExplainedFigures(Record):
    """Features whose best F1 on train reaches a threshold, in a cross-section (METHOD §6)."""

    threshold: float
    share: Figure
    """Share of living features that are explained, mean over the sites."""
    kinds: dict[str, Figure]
    """The same by kind of explanation (`ioi_bench.metrics.interpretability.KINDS`); they add up to ``share``."""
    kept: Figure
    """Logit difference with nothing but the explained features, as a share of the clean one: cf. sufficiency."""
    removed: Figure
    """Loss of logit difference without the explained features, as a share of mean ablation's: cf. necessity."""


class GeometryFigures(Record):
    """Mean maximal cosines of the decoder's directions with one attribute's supervised codes, mean over the sites."""

    codes_to_features: Figure
    features_to_codes: Figure


class CrossSectionFigures(Record):
    """What the features of a cross-section mean and where they point, whatever is edited there."""

    name: str
    sites: tuple[str, ...]
    explained: tuple[ExplainedFigures, ...]
    """By threshold."""
    geometry: dict[str, GeometryFigures]
    """By attribute."""

    def at(self, threshold: float) -> ExplainedFigures:
        """The features explained at a threshold; `KeyError` if it is none of the card's."""
        for figures in self.explained:
            if figures.threshold == threshold:
                return figures
        raise KeyError(threshold)

    def rows(self) -> Iterator[tuple[str, Figure]]:
        """Every figure by name, such as ``explained@0.8.io``, ``kept@0.8`` and ``cosine.io.codes_to_features``."""
        for at in self.explained:
            yield f"explained@{at.threshold}", at.share
            yield from ((f"explained@{at.threshold}.{kind}", figure) for kind, figure in at.kinds.items())
            yield f"kept@{at.threshold}", at.kept
            yield f"removed@{at.threshold}", at.removed
        for attribute, found in self.geometry.items():
            yield f"cosine.{attribute}.codes_to_features", found.codes_to_features
            yield f"cosine.{attribute}.features_to_codes", found.features_to_codes
