"""The card: what is written is read back, and nothing but a card is read."""

from __future__ import annotations

import json
import math

import jsonschema
import pytest
from pydantic import ValidationError

from ioi_bench.errors import InputError, StorageError
from ioi_bench.evaluation.card import (
    Card,
    CardCell,
    CardWarning,
    CellScore,
    EditFigures,
    Faithfulness,
    Figure,
    HeadlineScore,
    Made,
    NullFigures,
    card_schema,
)


def some_figure(value: float = 0.5, direction: str = "higher") -> Figure:
    return Figure(value=value, low=value - 0.1, high=value + 0.1, direction=direction)


def some_edit(method: str, budget: int, accuracy: float = 0.5, weight: float = 0.4) -> EditFigures:
    names = set(EditFigures.model_fields) - {"method", "budget", "n_removed", "n_added", "nan_dropped"}
    figures = {name: some_figure() for name in names}
    figures |= {"accuracy": some_figure(accuracy), "weight_removed": some_figure(weight, "lower")}
    return EditFigures(method=method, budget=budget, n_removed=1.0, n_added=1.0, nan_dropped=0, **figures)


def some_cell(name: str = "io@nm-out", *, ranked: bool = True) -> CardCell:
    attribute, cross_section = name.split("@")
    faithfulness = {field: some_figure() for field in Faithfulness.model_fields if field != "ld_recovered_reliable"}
    null = NullFigures(budgets=(1, 2, 4), accuracy=(0.0, 0.1, 0.2), weight_removed=(0.1, 0.2, 0.3), seeds=3)
    score = CellScore(s=some_figure(), s_null=some_figure(0.0, "none"), score=some_figure(0.6), null=null)
    edits = [
        ("exchange", 1, 0.1, 0.2),
        ("exchange", 2, 0.6, 0.5),
        ("universal", 1, 0.05, 0.3),
        ("universal", 2, 0.3, 0.6),
    ]
    return CardCell(
        name=name,
        attribute=attribute,
        cross_section=cross_section,
        sites=("z.3.0@end", "z.3.1@end"),
        headline=True,
        ranked=ranked,
        reason="" if ranked else "no-edit is as good as the skyline",
        no_edit=some_figure(0.02),
        skyline={"mean": some_edit("skyline", 1, 0.9, 0.45)},
        edits=tuple(some_edit(*edit) for edit in edits),
        scores={"exchange": score},
        faithfulness=Faithfulness(ld_recovered_reliable=True, **faithfulness),
    )


def some_card(*names: str) -> Card:
    made = Made(
        spec="ioi-v1-mini",
        spec_sha256="a",
        model="ioi-mini",
        model_sha256="b",
        circuit="ioi-mini",
        circuit_sha256="c",
        suite="topk",
        suite_sha256="d",
        split="test",
        n_prompts=10,
        n_train_prompts=20_000,
        full_train=True,
        budgets=(1, 2),
        methods=("exchange", "universal"),
        seed=0,
        n_draws=1000,
        device="cpu",
        versions={"torch": "2.13.0"},
        hardware={"machine": "x86_64"},
        wall_seconds=1.5,
        timing={"capture": 1.0},
    )
    return Card(
        track="ioi-mini",
        made=made,
        headline={"exchange": HeadlineScore(score=some_figure(0.6), n_cells=1)},
        cells=tuple(some_cell(name) for name in names or ("io@nm-out", "pos@si-out")),
        warnings=(CardWarning(code="dead-features", message="3 of 8 features never fire"),),
    )


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
    keys = ["cell", "method", "budget", "metric"]
    assert not frame.duplicated(keys).any()
    per_cell = 1 + 5 * 11 + 3 + 8
    assert len(frame) == 1 + 2 * per_cell


def test_cells_and_edits_are_found_by_name():
    card = some_card()
    assert card.cell("pos@si-out").edit("exchange", 2).accuracy.value == 0.6
    with pytest.raises(KeyError):
        card.cell("pos@nowhere")
    with pytest.raises(KeyError):
        card.cell("pos@si-out").edit("exchange", 3)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("not json", "cannot be read"),
        ("[]", "schema_version None"),
        ('{"schema_version": 99}', "schema_version 99"),
        ('{"schema_version": 1, "track": 3}', "not a valid card"),
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
