"""The card: what is written is read back, and nothing but a card is read."""

from __future__ import annotations

import json
import math

import jsonschema
import pytest
from card_examples import some_card
from pydantic import ValidationError

from ioi_bench.errors import InputError, StorageError
from ioi_bench.evaluation.card import Card, Figure, card_schema


def test_a_card_survives_the_disk(tmp_path):
    card = some_card()
    assert Card.read(card.write(tmp_path / "deep" / "card.json")) == card
    assert Card.read(tmp_path / "deep") == card
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["card.json"]


def test_a_written_card_satisfies_the_exported_schema(tmp_path):
    data = json.loads(some_card().write(tmp_path / "card.json").read_text())
    jsonschema.validate(data, card_schema())
    del data["cells"][0]["no_edit"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, card_schema())


def test_a_figure_that_could_not_be_computed_is_null_never_nan():
    figure = Figure(value=math.nan, low=-math.inf, high=math.inf)
    assert (figure.value, figure.low, figure.high) == (None, None, None)
    assert json.loads(figure.model_dump_json())["value"] is None


def test_cards_are_frozen():
    with pytest.raises(ValidationError):
        some_card().track = "other"


def test_the_frame_has_one_row_for_each_figure():
    card = some_card()
    frame = card.to_frame()
    row = frame.query("cell == 'io@nm-out' and method == 'exchange' and budget == 2 and metric == 'accuracy'")
    assert row["value"].tolist() == [0.6]
    assert frame.query("metric == 'ioi_score'")["value"].tolist() == [0.6]
    assert frame.query("cross_section == 'nm-out' and metric == 'explained@0.8.io'")["value"].tolist() == [0.3]
    keys = ["cell", "cross_section", "method", "budget", "metric"]
    assert not frame.duplicated(keys).any()
    per_cell = 1 + 5 * 11 + 3 + 8
    per_cross_section = 2 * (1 + 2 + 2) + 3 * 2
    assert len(frame) == 1 + 2 * per_cell + 2 * per_cross_section


def test_cells_and_edits_are_found_by_name():
    card = some_card()
    assert card.cell("pos@si-out").edit("exchange", 2).accuracy.value == 0.6
    with pytest.raises(KeyError):
        card.cell("pos@nowhere")
    with pytest.raises(KeyError):
        card.cell("pos@si-out").edit("exchange", 3)


def test_cross_sections_and_thresholds_are_found_by_name():
    card = some_card()
    assert card.cross_section("si-out").at(0.8).kept.value == 0.7
    with pytest.raises(KeyError):
        card.cross_section("nowhere")
    with pytest.raises(KeyError):
        card.cross_section("si-out").at(0.7)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("not json", "cannot be read"),
        ("[]", "schema_version None"),
        ('{"schema_version": 99}', "schema_version 99"),
        ('{"schema_version": 4}', "schema_version 4, this version of ioi-bench reads 5: evaluate the suite again"),
        ('{"schema_version": 5, "track": 3}', "not a valid card"),
    ],
)
def test_what_is_not_a_card_is_refused(tmp_path, text, says):
    (tmp_path / "card.json").write_text(text)
    with pytest.raises(InputError, match=says):
        Card.read(tmp_path)


def test_a_missing_card_says_how_to_get_one(tmp_path):
    with pytest.raises(InputError, match="ioi-bench evaluate"):
        Card.read(tmp_path / "card.json")


def test_a_refused_write_leaves_nothing(tmp_path):
    (tmp_path / "blocked").write_text("a file, not a folder")
    with pytest.raises(StorageError):
        some_card().write(tmp_path / "blocked" / "card.json")
    assert [path.name for path in tmp_path.iterdir()] == ["blocked"]
