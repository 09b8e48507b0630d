"""Whether a card's anchors are its track's and follow from the rest of the card, and its constants are the track's.

The rows of no edit and of the skyline are the same for every suite: where a track's anchors ship, a card whose rows lie
elsewhere was not made by this evaluation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from ioi_bench.evaluation.anchor_files import shipped_anchors
from ioi_bench.evaluation.anchor_records import Anchor, TrackAnchors, TrackCell
from ioi_bench.evaluation.anchors import MATCHED, OF_SUITE
from ioi_bench.evaluation.card import Card, CardCell
from ioi_bench.evaluation.card_records import Figure
from ioi_bench.evaluation.score import SCORED_METHODS, null_normalised

__all__ = ["anchors_fault", "constants_fault"]

_TOLERANCE = 1e-6
_HALF_WIDTHS = 2.0  # of a 95 % interval: some four standard deviations
_LEAST_EVENTS = 3.0  # of n prompts, none is found of what has a share of 3/n, one time in twenty
_MACHINES = 0.002  # what two machines may differ by (`ioi_bench.leaderboard.compare`)


def anchors_fault(card: Card) -> str:
    """What is wrong with the anchors of a card; empty if nothing is."""
    shipped = _shipped(card)
    if card.anchors.track != shipped:
        told = "are not those that ship with it" if shipped else "are there, and none ship with it"
        return f"the anchors of the track {card.track!r} {told}: leave --anchors out"
    return next(_suite_faults(card), "")


def constants_fault(card: Card) -> str:
    """Where the rows of no edit and of the skyline are not the track's; empty where they are, or none are known."""
    shipped = _shipped(card)
    if shipped is None or shipped.made.n_train_prompts != card.made.n_train_prompts:  # the skyline is fitted to train
        return ""
    known = {cell.name: cell for cell in shipped.cells}
    for cell in card.cells:
        if cell.name not in known:
            continue
        for what, given, own in _constants(cell, known[cell.name]):
            allowed = _allowed(own, shipped.made.n_prompts, card.made.n_prompts)
            if given.value is None or own.value is None or not abs(given.value - own.value) <= allowed:
                return (
                    f"{what} of {cell.name} is {given.value}, and {own.value} on this track (± {allowed:.3f} on "
                    f"{card.made.n_prompts:,} prompts): it is the same for every suite"
                )
    return ""


def _shipped(card: Card) -> TrackAnchors | None:
    found = shipped_anchors(card.track)
    if found is None:
        return None
    made, own = found.made, card.made
    same = (made.model_sha256, made.circuit_sha256, made.spec_sha256) == (
        own.model_sha256,
        own.circuit_sha256,
        own.spec_sha256,
    )
    return found if same else None


def _constants(cell: CardCell, known: TrackCell) -> Iterator[tuple[str, Figure, Figure]]:
    skyline = cell.skyline["mean"]
    yield "the accuracy without an edit", cell.no_edit, known.no_edit
    yield "the skyline's accuracy", skyline.accuracy, known.skyline
    yield "the skyline's weight", skyline.weight, known.skyline_weight


def _allowed(own: Figure, n_known: int, n_card: int) -> float:
    """How far a figure on some prompts may lie from the same on others."""
    n = min(n_known, n_card)
    if own.low is None or own.high is None:
        return math.inf
    half = (own.high - own.low) / 2 * math.sqrt(n_known / n)
    return _HALF_WIDTHS * half + _LEAST_EVENTS / n + _MACHINES


def _suite_faults(card: Card) -> Iterator[str]:
    scored = [cell for cell in card.cells if cell.scores]
    rows = {row.name: row for row in card.anchors.suite}
    if list(rows) != (list(OF_SUITE) if scored else []) or len(rows) != len(card.anchors.suite):
        yield f"the suite's own anchors are {', '.join(rows)[:200] or 'none'}, expected {', '.join(OF_SUITE)}"
        return
    methods = [method for method in card.made.methods if method in SCORED_METHODS]
    for row in rows.values():
        if [cell.name for cell in row.cells] != [cell.name for cell in scored]:
            yield f"the anchor {row.name} has other cells than those that are ranked"
            return
        if any(list(cell.edits) != methods for cell in row.cells):
            yield f"the anchor {row.name} has other edit methods than those that are scored"
            return
        yield from _row_faults(row, scored, methods)


def _row_faults(row: Anchor, scored: list[CardCell], methods: list[str]) -> Iterator[str]:
    """S of the nulls, and scores and their mean, follow from the card's own cells."""
    sums = dict.fromkeys(methods, 0.0)
    for anchor, cell in zip(row.cells, scored, strict=True):
        for method, edits in anchor.edits.items():
            own, where = cell.scores[method], f"{row.name} in {cell.name} under {method}"
            if row.name == MATCHED:
                same = edits.s is not None and edits.score is None and _near(edits.s.value, own.s_null.value)
                if not same or (edits.accuracy, edits.weight) != (own.null.accuracy, own.null.weight):
                    yield f"{where} is not the null of the card's score"
                continue
            score = edits.score
            if edits.s is None or score is None or not _follows(edits.s.value, own.s_null.value, score.value):
                yield f"the score of {where} does not follow from its S and that of the null"
                continue
            sums[method] += score.value or 0.0
    if row.name != MATCHED and scored:
        for method in methods:
            found = row.headline.get(method)
            if found is None or not _near(found.value, sums[method] / len(scored)):
                yield f"the score of {row.name} under {method} is not the mean of its cells"


def _near(a: float | None, b: float | None) -> bool:
    return a is not None and b is not None and abs(a - b) <= _TOLERANCE


def _follows(s: float | None, s_null: float | None, score: float | None) -> bool:
    if s is None or s_null is None:
        return False
    return _near(float(null_normalised(torch.tensor(s), torch.tensor(s_null))), score)
