"""What may differ between two honest results, and what may not."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
from boards import changed

from ioi_bench.leaderboard.compare import TOLERANCES, Tolerances, compare_cards, compare_prompts, differences

N, EDITS = 1000, 20


@pytest.fixture
def table():
    """Twenty edits of a thousand prompts."""
    rng = np.random.default_rng(0)
    rows = N * EDITS
    return pd.DataFrame(
        {
            "cell": pd.array(["io@nm-out"] * rows),
            "site": pd.array([None] * rows, dtype="str"),
            "method": pd.array(["exchange"] * rows),
            "budget": np.repeat(np.arange(EDITS), N),
            "prompt": np.tile(np.arange(N), EDITS),
            "accuracy": pd.array(rng.random(rows) < 0.5, dtype="boolean"),
            "kl": rng.random(rows).astype(np.float32),
            "io": pd.array(["Mary"] * rows),
        }
    )


def edited(table, rows, column, value):
    changed = table.copy()
    changed.loc[changed.index[rows], column] = value(changed.loc[changed.index[rows], column])
    return changed


def test_the_same_results_in_another_order_agree(table):
    check = compare_prompts(table.sample(frac=1, random_state=0), table)
    assert check.passed
    assert check.worst == 0


def test_the_last_bits_may_differ_everywhere(table):
    assert compare_prompts(table.assign(kl=table["kl"] * np.float32(1 + 1e-5)), table).passed
    check = compare_prompts(table.assign(kl=table["kl"] + np.float32(0.01)), table)
    assert not check.passed
    assert "kl differs most" in check.detail


@pytest.mark.parametrize("column", ["accuracy", "kl"])
@pytest.mark.parametrize(("share", "passes"), [(0.9, True), (1.5, False)])
def test_a_share_of_one_edits_prompts_may_flip(table, column, share, passes):
    n = round(share * TOLERANCES.of_edit * N)
    other = {"accuracy": lambda old: ~old, "kl": lambda old: old + 1}[column]
    check = compare_prompts(edited(table, slice(0, n), column, other), table)
    assert check.passed == passes
    assert check.worst == n / N
    assert f"{column} differs most, at io@nm-out exchange 0" in check.detail


def test_the_share_of_one_edit_may_not_be_used_in_all(table):
    """What passes in one edit fails where every edit has it: nobody gets a little everywhere."""
    each = round(0.5 * TOLERANCES.of_edit * N)
    rows = np.concatenate([np.arange(i * N, i * N + each) for i in range(EDITS)])
    assert not compare_prompts(edited(table, rows, "accuracy", lambda old: ~old), table).passed


def test_one_prompt_of_few_may_flip(table):
    few = table[table["prompt"] < 20]
    assert compare_prompts(edited(few, slice(3, 4), "accuracy", lambda old: ~old), few).passed
    assert not compare_prompts(edited(few, slice(3, 6), "accuracy", lambda old: ~old), few).passed


def test_no_value_and_a_value_differ(table):
    gone = edited(table, slice(0, 100), "kl", lambda old: math.nan)
    assert compare_prompts(gone, gone).passed
    assert not compare_prompts(gone, table).passed
    assert not compare_prompts(table, gone).passed


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda table: table.drop(index=5), "rows are not the same"),
        (lambda table: pd.concat([table, table[:1]]), "rows are not the same"),
        (lambda table: table.assign(prompt=table["prompt"].replace(7, 8)), "rows are not the same"),
        (lambda table: table.assign(method="aware"), "rows are not the same"),
        (lambda table: table.assign(io="John"), "io differs"),
        (lambda table: table.drop(columns="kl"), "columns differ: kl"),
    ],
)
def test_rows_and_prompts_must_be_the_same(table, spoil, says):
    check = compare_prompts(spoil(table), table)
    assert not check.passed
    assert says in check.detail


def test_a_card_agrees_with_itself(small_card):
    check = compare_cards(small_card.card, small_card.card)
    assert check.passed
    assert check.worst == 0


@pytest.mark.parametrize(("value", "width", "bound"), [(0.5, 0.02, 0.002), (0.5, 0.2, 0.01), (10.0, 0.1, 0.02)])
def test_the_bound_of_a_figure_is_what_the_page_on_verifying_says(value, width, bound):
    """0.002, or 0.002 of the value, or a twentieth of the interval, the largest: docs/verifying.md."""
    assert TOLERANCES.of(value, width) == pytest.approx(bound)


def test_a_figure_is_bound_by_the_interval_that_was_found(small_card):
    """The interval on the card cannot widen the bound: it is the forger's."""
    (i, figure) = next(
        (i, cell.edits[0].ld_gap)
        for i, cell in enumerate(small_card.card.cells)
        if cell.edits[0].ld_gap.low is not None
    )
    bound = TOLERANCES.of(figure.value, figure.high - figure.low)
    steps = ("cells", i, "edits", 0, "ld_gap")
    near = changed(small_card.card, *steps, "value", to=figure.value + 0.9 * bound)
    far = changed(small_card.card, *steps, "value", to=figure.value + 1.1 * bound)
    assert compare_cards(near, small_card.card).passed
    wide = changed(far, *steps, "high", to=figure.high + 100)
    for card in (far, wide):
        check = compare_cards(card, small_card.card)
        assert not check.passed
        assert f"cells {small_card.card.cells[i].name} edits exchange 1 ld_gap" in check.detail


@pytest.mark.parametrize(
    ("steps", "value"),
    [
        (("cells", 0, "edits", 0, "accuracy", "value"), None),
        (("cells", 0, "edits", 0, "nan_dropped"), 50),
        (("cells", 0, "reason"), "because"),
        (("cells", 0, "missing_sites"), ["z.4.0@end"]),
        (("cells", 0, "ranked"), False),
        (("cells", 0, "edits", 0, "accuracy", "direction"), "none"),
        (("headline",), {}),
        (("warnings",), []),
    ],
)
def test_what_is_no_number_must_be_equal(small_card, steps, value):
    assert not compare_cards(changed(small_card.card, *steps, to=value), small_card.card).passed


def test_a_cell_that_is_left_out_is_seen(small_card):
    fewer = small_card.card.model_copy(update={"cells": small_card.card.cells[1:]})
    assert "cells" in compare_cards(fewer, small_card.card).detail


def test_every_number_of_a_card_is_compared(small_card):
    """Each of them, moved far, is found at its own place."""
    content = json.loads(small_card.card.model_dump_json(exclude={"made", "warnings"}))
    leaves = list(differences(content, content, Tolerances()))
    assert len(leaves) > 2000
    assert all(one.excess == 0 for one in leaves)
    assert len({one.where for one in leaves}) == len(leaves)
