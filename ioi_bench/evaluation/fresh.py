"""Were the prompts known? A suite judged on prompts that nobody could know before its weights were fixed.

The public splits can be memorised by any dictionary, also by one of a built-in architecture: a top-1 code over some
thousand prompts. Nothing in its score tells. So it is judged once more on prompts that are drawn from the hash of its
own weights. Honest suites score the same on both but for chance; what is better on the prompts that it could have seen
than on these has seen them. (Cf. arXiv 2605.18229, whose oracle is a look-up table of four activation values.)
"""

from __future__ import annotations

from collections.abc import Callable
from math import hypot
from typing import Any

from ioi_bench.evaluation.card import Card, CardWarning
from ioi_bench.evaluation.card_records import Figure
from ioi_bench.evaluation.score import SCORED_BUDGETS, SCORED_METHODS
from ioi_bench.task.spec import DRAWN

__all__ = ["LEAST", "SURE", "asked_afresh", "fresh_split", "memorised", "with_fresh"]

LEAST = 0.05
"""A smaller difference of IOI scores is no matter."""
SURE = 3.5
"""Standard errors: of 1,000 honest suites under three methods, less than one is flagged."""
_INTERVAL = 2 * 1.96


def fresh_split(suite_sha256: str) -> str:
    """The split that is drawn from a suite's own hash."""
    return f"{DRAWN}{suite_sha256}"


def asked_afresh(card: Card) -> dict[str, Any]:
    """What `evaluate` is to be asked for, to compare with a card: its ranked cells, methods and budgets that score."""
    return {
        "split": fresh_split(card.made.suite_sha256),
        "cells": [cell.name for cell in card.cells if cell.headline and cell.ranked],
        "methods": tuple(method for method in card.made.methods if method in SCORED_METHODS),
        "budgets": tuple(budget for budget in card.made.budgets if budget in SCORED_BUDGETS),
    }


def memorised(public: Card, fresh: Card) -> str:
    """What is better on public prompts than on fresh ones by more than chance, in words; empty if nothing is.

    The two sets of prompts share nothing, so that the variances of the two scores add.

    Args:
        public: the card on a split that everybody knows.
        fresh: of the same suite, on its `fresh_split`.
    """
    told = []
    for method, found in public.headline.items():
        other = fresh.headline.get(method)
        if other is None or found.score.value is None or other.score.value is None:
            continue
        apart, error = found.score.value - other.score.value, hypot(_error(found.score), _error(other.score))
        if apart > max(LEAST, SURE * error):
            told.append(
                f"{method} {found.score.value:.3f} on {public.made.split}, {other.score.value:.3f} on fresh prompts"
            )
    return "; ".join(told)


def with_fresh(card: Card, evaluate: Callable[..., Card]) -> Card:
    """The card, with a warning where its suite is better on the prompts that it could know.

    Args:
        card: on a public split.
        evaluate: `ioi_bench.evaluation.evaluate.evaluate`, with all that `asked_afresh` does not say.
    """
    asked = asked_afresh(card)
    if not (asked["cells"] and asked["methods"] and asked["budgets"]):
        return card  # nothing of it scores
    if not (told := memorised(card, evaluate(**asked))):
        return card
    warning = CardWarning(
        code="memorised",
        message=f"better on prompts that it could know than on fresh ones: {told}; the score is of memory",
    )
    return card.model_copy(update={"warnings": (*card.warnings, warning)})


def _error(score: Figure) -> float:
    """The standard error that an interval of 95 % shows."""
    return 0.0 if score.low is None or score.high is None else (score.high - score.low) / _INTERVAL
