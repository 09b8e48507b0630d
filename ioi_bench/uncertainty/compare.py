"""Suites beside each other: differences with intervals, the least difference that could be found, and tie groups.

Suites that were judged on the same prompts are compared draw by draw (METHOD §7). The **minimum detectable
difference** is the true difference that a two-sided test at 5 % finds with probability 80 %,
``MDD = (z.975 + z.80) · SE = 2.80 · SE`` with SE the bootstrap's standard deviation of the difference (Bloom 1995,
"Minimum detectable effects", Evaluation Review 19(5)).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from ioi_bench.errors import InputError
from ioi_bench.evaluation.card import Card, Figure
from ioi_bench.evaluation.score import HEADLINE_METHOD, SCORED_BUDGETS
from ioi_bench.uncertainty.draws import PROMPTS, CellScores, Cluster, ScoreDraws, draw_cells, read_draws, scored_cells
from ioi_bench.uncertainty.ties import Difference, Place, difference, ranked

__all__ = [
    "IOI_SCORE",
    "POWER_FACTOR",
    "Compared",
    "Comparison",
    "Contrast",
    "compare",
    "detectable",
    "names_factor",
]

IOI_SCORE = "IOI score"
POWER_FACTOR = 1.959964 + 0.841621
"""Of the minimum detectable difference, in standard errors: z at 97.5 % and at 80 %."""

_CLUSTERS: tuple[Cluster, ...] = ("pair", "io", "s")


@dataclass(frozen=True, eq=False)
class Compared:
    """One suite.

    Attributes:
        name: its own, with a number where several have it.
        drawn: scores of its cells, by what was drawn.
    """

    name: str
    card: Card
    folder: Path
    drawn: dict[Cluster, CellScores]

    @property
    def slug(self) -> str:
        """Its folder tells it from another."""
        return str(self.folder)

    @property
    def score(self) -> Figure:
        """The IOI score."""
        return self.card.headline[HEADLINE_METHOD].score

    @property
    def draws(self) -> ScoreDraws:
        """Its draws."""
        return self.drawn["pair"].mean

    def figure(self, what: str) -> Figure:
        """The IOI score, or a cell's."""
        return self.score if what == IOI_SCORE else self.card.cell(what).scores[HEADLINE_METHOD].score

    def draws_of(self, what: str, by: Cluster) -> ScoreDraws:
        """Draws of the same."""
        found = self.drawn[by]
        if what == IOI_SCORE:
            return found.mean
        return ScoreDraws(found.paired_with, found.scores[:, found.cells.index(what)])


@dataclass(frozen=True)
class Contrast:
    """One suite less another, in one figure.

    Attributes:
        what: ``IOI score``, or a cell.
        difference: with its interval over prompts with the track's own names.
        se: standard deviation of the difference's draws.
        detectable: the minimum detectable difference.
        other_low, other_high: the interval where the names are drawn too, as if from a population of names.
    """

    a: str
    b: str
    what: str
    difference: Difference
    se: float
    detectable: float
    other_low: float
    other_high: float

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        found = {name: value for name, value in asdict(self).items() if name != "difference"}
        return {**found, **asdict(self.difference), "tied": self.difference.tied}


@dataclass(frozen=True)
class Comparison:
    """All suites with all.

    Attributes:
        suites: as they were given.
        places: by falling score, with tie groups.
        contrasts: every pair, the earlier given less the later, in the score and in every cell.
        notes: why pairs could not be compared draw by draw.
    """

    suites: tuple[Compared, ...]
    places: tuple[Place[Compared], ...]
    contrasts: tuple[Contrast, ...]
    notes: tuple[str, ...]

    @property
    def whats(self) -> tuple[str, ...]:
        """The IOI score and the cells."""
        return tuple(dict.fromkeys(one.what for one in self.contrasts))

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        made = self.suites[0].card.made
        places = [
            {
                "suite": place.row.name,
                "rank": place.rank,
                "group": place.group + 1,
                "tied_with": place.tied_with,
                "n_prompts": place.row.card.made.n_prompts,
                "split": place.row.card.made.split,
                **{name: getattr(place.row.score, name) for name in ("value", "low", "high")},
            }
            for place in self.places
        ]
        about = {"track": self.suites[0].card.track, "method": HEADLINE_METHOD, "spec_sha256": made.spec_sha256}
        contrasts = [one.to_json() for one in self.contrasts]
        return {**about, "suites": places, "differences": contrasts, "notes": list(self.notes)}


def detectable(se: float) -> float:
    """The minimum detectable difference of a standard error.

    >>> round(detectable(0.01), 4)
    0.028
    """
    return POWER_FACTOR * se


def compare(paths: Sequence[Path]) -> Comparison:
    """Compare cards, each with its ``prompts.parquet`` beside it.

    Raises:
        InputError: fewer than two; a card that cannot be read, has no IOI score, or no results per prompt; cards of
            different tracks, ranked cells or scored budgets.
    """
    if len(paths) < 2:
        raise InputError(f"{len(paths)} card was given, and a comparison needs two: give card.json files or folders")
    suites = _named([_read(path) for path in paths])
    for other in suites[1:]:
        _check_comparable(suites[0], other)
    pairs = list(combinations(suites, 2))
    whats = (IOI_SCORE, *(cell.name for cell in scored_cells(suites[0].card)))
    contrasts = tuple(_contrast(a, b, what) for a, b in pairs for what in whats)
    return Comparison(suites, ranked(suites), contrasts, tuple(_notes(pairs)))


def _read(path: Path) -> Compared:
    card, folder = Card.read(path), path if path.is_dir() else path.parent
    headline = card.headline.get(HEADLINE_METHOD)
    if headline is None or headline.score.value is None:
        raise InputError(
            f"the card at {str(path)!r} has no IOI score: evaluate the suite with --methods {HEADLINE_METHOD} in all "
            "cells, on a circuit that has ranked ones"
        )
    if not (folder / PROMPTS).is_file():
        raise InputError(
            f"there is no {PROMPTS} beside the card at {str(path)!r}, and suites are compared prompt by prompt: "
            "evaluate with --out, and give the folder"
        )
    read_draws(card, folder)  # refuses what does not give the card's score
    return Compared(card.made.suite, card, folder, draw_cells(card, folder, _CLUSTERS))


def _named(suites: Sequence[Compared]) -> tuple[Compared, ...]:
    names = [suite.name for suite in suites]
    numbered = [f"{name} ({names[: i + 1].count(name)})" for i, name in enumerate(names)]
    shown = [own if names.count(own) == 1 else other for own, other in zip(names, numbered, strict=True)]
    return tuple(Compared(name, one.card, one.folder, one.drawn) for name, one in zip(shown, suites, strict=True))


def _check_comparable(a: Compared, b: Compared) -> None:
    one, other = a.card, b.card
    where = f"{str(a.folder)!r} and {str(b.folder)!r}"
    if one.track != other.track:
        raise InputError(f"cards of one track are compared: {where} are of {one.track!r} and {other.track!r}")
    for what in ("spec", "model", "circuit"):
        if getattr(one.made, f"{what}_sha256") != getattr(other.made, f"{what}_sha256"):
            raise InputError(f"{where} are of {one.track!r}, but with another {what} (by its hash): evaluate one again")
    if one.made.scoring != other.made.scoring:
        raise InputError(
            f"{where} were scored by versions {one.made.scoring} and {other.made.scoring} of the method, which weigh "
            "edits differently: evaluate the older one again"
        )
    if a.drawn["pair"].cells != b.drawn["pair"].cells:
        raise InputError(f"{where} do not rank the same cells: evaluate both with the same circuit and cells")
    budgets = [tuple(k for k in card.made.budgets if k in SCORED_BUDGETS) for card in (one, other)]
    if budgets[0] != budgets[1]:
        raise InputError(
            f"{where} were scored at budgets {_listed(budgets[0])} and {_listed(budgets[1])}: their scores mean "
            f"different things; evaluate both at {_listed(SCORED_BUDGETS)}"
        )


def _listed(budgets: Sequence[int]) -> str:
    return ",".join(map(str, budgets)) or "none"


def _contrast(a: Compared, b: Compared, what: str) -> Contrast:
    found = difference(a.figure(what), b.figure(what), a.draws_of(what, "pair"), b.draws_of(what, "pair"))
    variance = {by: _variance(a.draws_of(what, by), b.draws_of(what, by)) for by in _CLUSTERS}
    se = math.sqrt(variance["pair"])
    wider = names_factor(variance["pair"], variance["io"], variance["s"])
    low, high = (found.value + wider * (end - found.value) for end in (found.low, found.high))
    return Contrast(a.name, b.name, what, found, se, detectable(se), low, high)


def _variance(a: ScoreDraws, b: ScoreDraws) -> float:
    if a.paired_with == b.paired_with:
        return float(np.nanvar((a.scores - b.scores)[1:], ddof=1))
    return float(np.nanvar(a.scores[1:], ddof=1) + np.nanvar(b.scores[1:], ddof=1))


def names_factor(pair: float, io: float, s: float) -> float:
    """How much wider an interval is where the names are drawn too, from variances by cluster; never less than 1.

    Prompts share names in two roles, so that neither alone makes clusters; the variance is that by IO names plus that
    by S names less that by their intersection, the pairs (Cameron, Gelbach & Miller 2011, "Robust inference with
    multiway clustering", eq. 2.11).

    >>> names_factor(1.0, 2.0, 3.0)
    2.0
    """
    return math.sqrt(max(1.0, (io + s - pair) / pair)) if pair > 0 else 1.0


def _notes(pairs: Sequence[tuple[Compared, Compared]]) -> Iterator[str]:
    for a, b in pairs:
        if a.draws.paired_with == b.draws.paired_with:
            continue
        one, other = (f"{x.card.made.n_prompts:,} of {x.card.made.split}" for x in (a, b))
        why = f"other prompts ({one}; {other})" if one != other else "other prompts, or another seed or number of draws"
        yield (
            f"{a.name} and {b.name} are compared unpaired: {why}. Evaluated on the same prompts, a smaller "
            "difference could be found"
        )
