"""The figure: one panel a headline cell, drawn to PNG and SVG."""

from __future__ import annotations

import pytest
from card_examples import some_card, some_cell

from ioi_bench.errors import InputError
from ioi_bench.evaluation.figure import card_chart, write_figures


def rows_of(card):
    spec = card_chart(card).to_dict()
    (data,) = spec["datasets"].values()
    return spec, data


def test_every_edit_of_every_headline_cell_is_a_point():
    _, data = rows_of(some_card())
    points = {(row["panel"].split("|")[0], row["series"], row["budget"]) for row in data}
    for cell in some_card().cells:
        assert {(cell.name, edit.method, edit.budget) for edit in cell.edits} <= points
        assert {(cell.name, "skyline", 1), (cell.name, "no edit", 0), (cell.name, "matched random", 4)} <= points


def test_an_unranked_cell_says_why():
    cell = some_cell(ranked=False)
    _, data = rows_of(some_card().model_copy(update={"cells": (cell,)}))
    assert "not ranked" in data[0]["panel"]


def test_the_title_bears_suite_and_score():
    spec, _ = rows_of(some_card())
    assert spec["title"]["text"] == "topk: IOI score 0.60 [0.50, 0.70]"


def test_figures_are_written_whole_and_only_as_png_or_svg(tmp_path):
    write_figures(some_card(), tmp_path / "card.png", tmp_path / "card.svg")
    assert (tmp_path / "card.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "card.svg").read_text()[:400]
    with pytest.raises(InputError, match=r"card\.gif"):
        write_figures(some_card(), tmp_path / "other.png", tmp_path / "card.gif")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["card.png", "card.svg"]
