"""A suite's scores on secret prompts beside its public one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ioi_bench.evaluation.card import Card, Figure
from ioi_bench.evaluation.score import HEADLINE_METHOD
from ioi_bench.pages.shown import Shown
from ioi_bench.uncertainty.ties import difference

__all__ = ["SeasonLine", "season_lines"]


@dataclass(frozen=True)
class SeasonLine:
    """One season.

    Attributes:
        score: on its prompts.
        gap: the public score minus that one, with the interval of independent prompts: what knowing the public prompts
            may have been worth.
        revealed: when; None where nobody else can check it yet.
        known: the suite was there before the seed was committed to.
    """

    season: str
    date: str
    prompts: int
    score: Figure
    gap: Figure
    revealed: str | None
    known: bool


def season_lines(shown: Shown) -> Iterator[SeasonLine]:
    """The seasons in which a suite has a score, where it has a public one on the same track, too."""
    public = shown.score
    for result in shown.seasons:
        found = result.card.headline.get(HEADLINE_METHOD)
        if public is None or found is None or found.score.value is None or _track(result.card) != _track(shown.card):
            continue
        gap = difference(public, found.score)
        yield SeasonLine(
            season=result.season,
            date=result.date,
            prompts=result.card.made.n_prompts,
            score=found.score,
            gap=Figure(value=gap.value, low=gap.low, high=gap.high),
            revealed=result.revealed,
            known=result.known,
        )


def _track(card: Card) -> tuple[str, ...]:
    made = card.made
    return card.track, made.scoring, made.spec_sha256, made.model_sha256, made.circuit_sha256
