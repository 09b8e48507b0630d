"""Cards whose anchors or constants are not their track's are refused, whatever was changed."""

from __future__ import annotations

import pytest

from ioi_bench.evaluation.anchor_files import shipped_anchors
from ioi_bench.leaderboard.anchored import anchors_fault, constants_fault
from ioi_bench.leaderboard.checks import check_card
from ioi_bench.leaderboard.needs import Needs, faults


@pytest.fixture(scope="module")
def honest(small_card):
    return small_card.card


@pytest.fixture(scope="module")
def full(honest):
    """The card as if it had been fitted to all train prompts, with the rows that the track has."""
    known = {cell.name: cell for cell in shipped_anchors("ioi-mini").cells}
    cells = []
    for cell in honest.cells:
        if cell.name in known:
            own, sky = known[cell.name], cell.skyline["mean"]
            mean = sky.model_copy(update={"accuracy": own.skyline, "weight": own.skyline_weight})
            cell = cell.model_copy(update={"no_edit": own.no_edit, "skyline": {**cell.skyline, "mean": mean}})
        cells.append(cell)
    made = honest.made.model_copy(update={"n_train_prompts": 20_000, "n_prompts": 1000, "full_train": True})
    return honest.model_copy(update={"cells": tuple(cells), "made": made})


def with_suite(card, change):
    """The card with the permuted decoder's row changed."""
    matched, permuted = card.anchors.suite
    anchors = card.anchors.model_copy(update={"suite": (matched, change(permuted))})
    return card.model_copy(update={"anchors": anchors})


def moved(figure, by):
    return figure.model_copy(update={"value": figure.value + by})


def test_an_honest_card_has_no_fault(honest, full):
    assert anchors_fault(honest) == anchors_fault(full) == ""
    assert constants_fault(honest) == constants_fault(full) == ""


def test_the_check_is_one_of_the_leaderboards(small_card):
    checks = check_card(small_card.card, small_card.prompts, needs=small_card.needs)
    assert (checks[-1].name, checks[-1].passed) == ("anchors", True), checks[-1].detail


def test_anchors_of_another_track_or_none_are_refused(honest):
    track = honest.anchors.track
    forged = track.model_copy(update={"rows": track.rows[1:]})
    for other in (None, forged):
        card = honest.model_copy(update={"anchors": honest.anchors.model_copy(update={"track": other})})
        assert "are not those that ship" in anchors_fault(card)
    elsewhere = honest.model_copy(update={"made": honest.made.model_copy(update={"model_sha256": "0" * 64})})
    assert "none ship with it" in anchors_fault(elsewhere)


def test_a_row_of_the_suite_that_does_not_follow_is_refused(honest):
    without = honest.model_copy(update={"anchors": honest.anchors.model_copy(update={"suite": ()})})
    assert "own anchors are none" in anchors_fault(without)

    def better_score(row):
        cell = row.cells[0]
        edits = cell.edits["exchange"]
        edits = edits.model_copy(update={"score": moved(edits.score, -0.3)})
        return row.model_copy(
            update={"cells": (cell.model_copy(update={"edits": {"exchange": edits}}), *row.cells[1:])}
        )

    assert "does not follow from its S" in anchors_fault(with_suite(honest, better_score))
    lower = with_suite(
        honest, lambda row: row.model_copy(update={"headline": {"exchange": moved(row.headline["exchange"], -0.3)}})
    )
    assert "is not the mean of its cells" in anchors_fault(lower)
    fewer = with_suite(honest, lambda row: row.model_copy(update={"cells": row.cells[1:]}))
    assert "other cells than those that are ranked" in anchors_fault(fewer)


def test_a_null_that_is_not_the_scores_is_refused(honest):
    matched, permuted = honest.anchors.suite
    cell = matched.cells[1]
    edits = cell.edits["exchange"]
    edits = edits.model_copy(update={"s": moved(edits.s, 0.2)})
    other = (matched.cells[0], cell.model_copy(update={"edits": {"exchange": edits}}), *matched.cells[2:])
    suite = (matched.model_copy(update={"cells": other}), permuted)
    card = honest.model_copy(update={"anchors": honest.anchors.model_copy(update={"suite": suite})})
    assert "is not the null of the card's score" in anchors_fault(card)


@pytest.mark.parametrize(
    ("forge", "says"),
    [
        (lambda cell: {"no_edit": moved(cell.no_edit, 0.2)}, "the accuracy without an edit of pos@si-v is"),
        (lambda cell: {"skyline": skyline(cell, accuracy=-0.2)}, "the skyline's accuracy of pos@si-v is"),
        (lambda cell: {"skyline": skyline(cell, weight=0.2)}, "the skyline's weight of pos@si-v is"),
    ],
)
def test_forged_constants_are_found(full, forge, says):
    """A lower skyline, a heavier one, or a better no edit each make a score larger."""
    cells = tuple(cell.model_copy(update=forge(cell)) if cell.name == "pos@si-v" else cell for cell in full.cells)
    assert says in constants_fault(full.model_copy(update={"cells": cells}))


def skyline(cell, **by):
    mean = cell.skyline["mean"]
    changed = {name: moved(getattr(mean, name), far) for name, far in by.items()}
    return {**cell.skyline, "mean": mean.model_copy(update=changed)}


def test_other_prompts_may_differ_within_their_interval(full):
    """Three standard errors of 1,000 prompts: one card in several hundred, and no forger is served by it."""
    own = full.cell("pos@si-v").no_edit
    by = 3 * (own.high - own.low) / 2 / 1.96
    cells = tuple(
        cell.model_copy(update={"no_edit": moved(cell.no_edit, by)}) if cell.name == "pos@si-v" else cell
        for cell in full.cells
    )
    assert constants_fault(full.model_copy(update={"cells": cells})) == ""


def test_a_card_with_anchors_from_a_file_is_not_taken(honest):
    made = honest.made.model_copy(update={"options": {"anchors": "given"}})
    found = list(faults(honest.model_copy(update={"made": made}), Needs(prompts=100, full_train=False)))
    assert len(found) == 1
    assert "--anchors" in found[0]
