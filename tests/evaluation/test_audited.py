"""A verdict of the audit holds for the scoring that was audited, and says on which model."""

from __future__ import annotations

import io
import json
from importlib import resources

import pytest
from card_examples import some_card
from rich.console import Console

from ioi_bench.cli.card_table import print_card
from ioi_bench.evaluation.audited import audit_note, may_rank, why_not
from ioi_bench.evaluation.score import SCORING
from ioi_bench.pages.rows import Row
from ioi_bench.pages.tables import tables_of
from ioi_bench.uncertainty.ties import ranked

AUDIT = json.loads(resources.files("ioi_bench.evaluation").joinpath("audited.json").read_text("utf-8"))
MODEL = AUDIT["made"]["model_sha256"]
OLD = f"audited under {SCORING}, not under this one (ioi-v1)"
ELSEWHERE = "audited on ioi-mini only"


def test_the_shipped_verdicts_are_of_the_scoring_as_it_is():
    """Otherwise nothing would rank."""
    assert AUDIT["made"]["scoring"] == SCORING
    assert may_rank("score.exchange", SCORING)


@pytest.mark.parametrize("figure", sorted(AUDIT["verdicts"]))
def test_under_another_scoring_nothing_ranks(figure):
    assert not may_rank(figure, "ioi-v1")
    assert why_not(figure, "ioi-v1") == OLD


@pytest.mark.parametrize("figure", sorted(AUDIT["verdicts"]))
def test_what_ranks_needs_no_reason_and_what_does_not_has_one(figure):
    ranks = AUDIT["verdicts"][figure]["ranks"]
    assert may_rank(figure, SCORING) is ranks
    assert (why_not(figure, SCORING) == "") is ranks


def test_the_note_is_for_other_models_alone():
    assert audit_note(MODEL) == ""
    assert audit_note("0" * 64) == ELSEWHERE


def printed(**made):
    card = some_card()
    card = card.model_copy(update={"made": card.made.model_copy(update=made)})
    console = Console(file=io.StringIO(), width=200, markup=False)
    print_card(card, console)
    return console.file.getvalue()


def test_a_card_says_under_which_scoring_and_on_which_model_the_audit_was(monkeypatch):
    old = printed(scoring="ioi-v1", model_sha256=MODEL)
    assert f"exchange ranks no suites: {OLD}" in old
    assert ELSEWHERE not in old
    elsewhere = printed(scoring=SCORING)
    assert f"\nexchange: {ELSEWHERE}" in elsewhere
    assert "exchange ranks no suites" not in elsewhere
    assert ELSEWHERE not in printed(scoring="ioi-v1")  # nothing ranks, of which it could be said
    usual = printed(scoring=SCORING, model_sha256=MODEL)
    assert "audited" not in usual


def row(name, value, scoring, model):
    card = some_card()
    score = card.headline["exchange"].score.model_copy(update={"value": value, "low": value, "high": value})
    return Row(
        slug=name,
        name=name,
        authors=(),
        badge=None,
        architecture="topk",
        l0=3.0,
        comparable=("t", "spec", model, "circuit", "test", scoring),
        model="m",
        n_prompts=1,
        scores={"exchange": score},
        cells=(),
        points=(),
        skyline=None,
        no_edit=None,
        nulls=(),
        draws=None,
    )


def table(scoring, model):
    rows = [row("a", 0.1, scoring, model), row("b", 0.2, scoring, model)]
    assert [place.row.name for place in ranked(rows)] == ["b", "a"]
    (found,) = tables_of(rows, "", compare=False, badges=False)
    return found


def test_a_table_under_another_scoring_is_not_ranked():
    found = table("ioi-v1", MODEL)
    assert [(line.row.name, line.place) for line in found.lines] == [("a", None), ("b", None)]
    assert found.not_ranking["exchange"] == OLD


def test_a_table_on_another_model_is_ranked_with_a_note():
    found = table(SCORING, "0" * 64)
    assert [(line.row.name, line.place.rank) for line in found.lines] == [("b", 1), ("a", 2)]
    assert (found.audit_note, found.not_ranking) == (ELSEWHERE, {})
    assert table(SCORING, MODEL).audit_note == ""
