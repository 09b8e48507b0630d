"""Only some cells: their figures are those of an evaluation of all."""

from __future__ import annotations

from pathlib import Path

import pytest

from ioi_bench import evaluate
from ioi_bench.errors import InputError, UnknownNameError

SUITE = Path(__file__).parents[2] / "reference_saes" / "ioi-mini" / "topk-k3-s0"
FEW = {"prompts": 60, "train_prompts": 500, "budgets": (1, 2, 4), "methods": ("exchange",), "preflight": False}


def test_a_card_of_some_cells_has_the_figures_of_a_card_of_all():
    names = ["io@nm-out", "s@si-v"]
    some, every = evaluate(SUITE, cells=names, **FEW), evaluate(SUITE, **FEW)
    assert [cell.name for cell in some.cells] == names
    for cell in some.cells:
        assert cell == every.cell(cell.name)
    assert some.headline["exchange"].score.value is None  # of one cell alone it would mislead
    headline = evaluate(SUITE, cells=[cell.name for cell in every.cells if cell.headline], **FEW)
    assert headline.headline == every.headline


def test_cells_that_do_not_exist_are_named_before_the_work():
    with pytest.raises(UnknownNameError, match="did you mean 'io@nm-out'"):
        evaluate(SUITE, cells=["io@nm-oot"], **FEW)
    with pytest.raises(InputError, match="no cells: give some of io@nm-out"):
        evaluate(SUITE, cells=[], **FEW)
