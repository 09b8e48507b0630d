"""What the commands print on a terminal of 80 columns: every figure is whole."""

from __future__ import annotations

import io
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich import box
from rich.table import Table

from ioi_bench.cli import anchors_table, audit, card_table, compare, leaderboard
from ioi_bench.cli.fitting import FittingConsole
from ioi_bench.evaluation.card import Card
from ioi_bench.leaderboard.records import Verdict
from ioi_bench.studies.audit.study import read_audit

ROOT = Path(__file__).parents[2]
CARDS = sorted((ROOT / "leaderboard" / "results").glob("*/*/*/card.json"))
FIGURE = re.compile(r"[\[(+-]?[-+]?[\d,]*\.?\d+(?:/-?[\d.]+)?[%?\])]*")


def shown(what, width=80):
    """What a console of this width prints: of a renderable, or of a function that is given the console."""
    screen = io.StringIO()
    console = FittingConsole(file=screen, width=width, markup=False, highlight=False, emoji=False)
    what(console) if callable(what) else console.print(what)
    return screen.getvalue()


def figures(text):
    return Counter(word for word in text.split() if FIGURE.fullmatch(word))


def assert_whole(narrow, wide):
    """On 80 columns stands every figure that stands on many; none is cut, and no line is cut by the terminal."""
    assert narrow.count("…") <= wide.count("…")  # texts have some of their own
    assert max(len(line) for line in narrow.splitlines()) <= 80
    assert figures(wide), "the oracle found no figures"
    assert not figures(wide) - figures(narrow)


NUMBERS = st.sampled_from([".5", "-.12 [-.15 -.11]", "1.00/1.02", "20,000", "–"])


@given(
    rows=st.integers(1, 4).flatmap(
        lambda n: st.lists(st.lists(NUMBERS, min_size=n, max_size=n), min_size=1, max_size=9)
    ),
    name=st.text("ab/-. ", min_size=1, max_size=90).filter(str.strip),
    width=st.integers(40, 120),
    frame=st.sampled_from([box.SIMPLE_HEAD, None]),
    padding=st.sampled_from([(0, 1, 0, 0), (0, 1), (0, 2, 0, 0)]),
    edges=st.booleans(),
    wraps=st.booleans(),
)
def test_no_figure_is_cut_and_none_is_lost(rows, name, width, frame, padding, edges, wraps):
    table = Table(box=frame, padding=padding, show_edge=edges, pad_edge=edges)
    table.add_column("name", no_wrap=True)
    table.add_column("also", no_wrap=True, style="dim")
    columns = rows  # drawn column by column
    for index, _ in enumerate(columns):
        table.add_column(f"figure {index}", no_wrap=not wraps, justify="right")
    for cells in zip(*columns, strict=True):
        table.add_row(name, name[::-1], *cells)
    text = shown(table, width)
    assert "…" not in text
    assert max(len(line) for line in text.splitlines()) <= width
    for cell, times in Counter(cell for column in columns for cell in column).items():
        assert text.count(cell) >= times


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.parents[1].name)
def test_a_card(path):
    card = Card.read(path)

    def printed(console):
        card_table.print_card(card, console)

    assert_whole(shown(printed), shown(printed, 300))


def test_a_card_with_a_plugins_edit_methods():
    """More methods than fit beside each other stand in a second table."""
    card = Card.read(CARDS[0])
    more = ("of-one-plugin", "of-another-plugin", "of-a-third-plugin")
    cells = tuple(
        cell.model_copy(
            update={
                "scores": {**cell.scores, **{name: cell.scores["exchange"] for name in more if cell.scores}},
                "edits": (
                    *cell.edits,
                    *(
                        edit.model_copy(update={"method": name})
                        for name in more
                        for edit in cell.edits
                        if edit.method == "exchange"
                    ),
                ),
            }
        )
        for cell in card.cells
    )
    made = card.made.model_copy(update={"methods": (*card.made.methods, *more)})
    wider = card.model_copy(update={"cells": cells, "made": made})

    def printed(console):
        card_table.print_card(wider, console)

    text = shown(printed)
    assert_whole(text, shown(printed, 300))
    assert "of-a-third-plugin" in text


LEGENDS = (*card_table._LEGEND, card_table._EXPLAINED, anchors_table._UNSCORED, *compare._LEGEND)


@pytest.mark.parametrize("line", LEGENDS)
def test_no_line_of_a_legend_folds(line):
    assert len(line) <= 80


def test_methods_that_rank_nothing_are_said_in_a_plain_line():
    for method in ("universal", "aware"):
        line = card_table._shown_only(method, "planted truth: ρ = 0.107 for splitting (0.95 needed)")
        assert "docs/audit.md" in line
        assert "ρ" not in line
        assert len(line) <= 80
    assert card_table._shown_only("mine", "it was not audited").endswith("it was not audited")


COMMANDS = [
    ["compare", *(path.parent for path in CARDS[:3])],
    ["inspect", ROOT / "reference_saes" / "ioi-mini" / "topk-k3-s0"],
    ["model", "describe"],
    ["model", "describe", "gpt2"],
    ["plugins", "list"],
    ["reference", "list"],
    ["releases"],
]


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(map(str, words[:2]))[:30])
def test_what_a_command_prints(words, cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    wide = cli(*words)
    assert wide.exit_code == 0, wide.stderr
    monkeypatch.setenv("COLUMNS", "80")
    assert_whole(cli(*words).stdout, wide.stdout)


def test_the_list_of_reference_suites_is_one_table_at_80_columns(cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert cli("reference", "list").stdout.count("gated-s0") == 1


@pytest.mark.parametrize("path", CARDS[:3], ids=lambda path: path.parents[1].name)
def test_a_verdict(path):
    verdict = Verdict.model_validate_json(path.with_name("verdict.json").read_text())
    assert_whole(shown(leaderboard.checks_table(verdict.checks)), shown(leaderboard.checks_table(verdict.checks), 300))


def test_the_audit():
    found = read_audit(ROOT / "docs" / "audit.json")
    assert_whole(shown(audit._table(found)), shown(audit._table(found), 300))
