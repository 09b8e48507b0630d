"""A card that its own file of prompts does not bear out is refused, whatever was changed in either."""

from __future__ import annotations

import copy
import json
import math
import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from parquet_files import bounded_memory, repeat_string

from ioi_bench.errors import InputError
from ioi_bench.evaluation import prompts_reading
from ioi_bench.evaluation.card import Card
from ioi_bench.evaluation.prompts_file import FORMAT_KEY, schema
from ioi_bench.evaluation.prompts_reading import read_prompts
from ioi_bench.evaluation.recompute import differences, layout_of, recomputed, scope_of
from ioi_bench.leaderboard.checks import TOLERANCE, Needs, check_card, require_passed, track_circuit
from ioi_bench.task import task_spec

# Not functions of results per prompt: nothing in the file could show that they were changed.
OUTSIDE = ("dead_share", "share", "kinds", "codes_to_features", "features_to_codes")


@pytest.fixture(scope="module")
def small(small_card):
    return small_card


@pytest.fixture(scope="module")
def scope(small):
    made = small.card.made
    return scope_of(
        small.card, track_circuit(small.card.track), task_spec(made.spec).split("test").head(made.n_prompts)
    )


@pytest.fixture(scope="module")
def tables(small, scope):
    prompts = task_spec(small.card.made.spec).split("test").head(100).prompts
    return read_prompts(small.prompts, layout_of(small.card, scope), prompts)


def checked(card, small, prompts=None):
    return check_card(card, prompts or small.prompts, needs=small.needs)


def refusal(card, small, prompts=None):
    """What the last check says; it failed."""
    last = checked(card, small, prompts)[-1]
    assert not last.passed
    return last


def numbers(value, path=()):
    """Paths of every number below the card's cells, cross-sections and headline."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from numbers(part, (*path, name))
    elif isinstance(value, list):
        for i, part in enumerate(value):
            yield from numbers(part, (*path, i))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path


def results(card):
    whole = card.model_dump(mode="json")
    return {name: whole[name] for name in ("headline", "cells", "cross_sections")}


def changed(data, path, value):
    data = copy.deepcopy(data)
    at = data
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return data


def with_changes(card, changes):
    data = json.loads(card.model_dump_json())
    for path, value in changes.items():
        data = changed(data, path, value)
    return Card.model_validate(data)


def followed(path):
    return not any(step in OUTSIDE for step in path) and "threshold" not in path


def test_what_evaluate_writes_passes(small):
    found = checked(small.card, small)
    assert all(check.passed for check in found)
    assert [check.name for check in found][-3:] == ["figures", "other figures", "anchors"]
    assert found[-3].worst == 0.0
    assert found[-3].tolerance == TOLERANCE
    for name in ("dead_share", "geometry", "explained.share"):
        assert name in found[-2].detail
    require_passed(found)


def test_nothing_of_a_figure_is_taken_from_the_card(small, scope, tables):
    """All figures are overwritten, and come back: so a change of any one of them shows."""
    paths = [path for path in numbers(results(small.card)) if followed(path)]
    keys = ("budget", "budgets", "seeds", "n_cells")
    forged = [path for path in paths if not any(step in keys for step in path)]
    assert len(forged) > 1000
    data = small.card.model_dump(mode="json")
    for path in forged:
        at = data
        for step in path[:-1]:
            at = at[step]
        at[path[-1]] = 7 if path[-1] == "nan_dropped" else 0.123
    again = recomputed(Card.model_validate(data), scope, tables)
    assert not list(differences(results(again), results(small.card), TOLERANCE))


def test_a_change_of_any_one_number_is_a_difference(small):
    right = results(small.card)
    paths = list(numbers(right))
    kinds = {tuple(step for step in path if isinstance(step, str)) for path in paths}
    assert len(kinds) > 60
    for path in paths[:: max(1, len(paths) // 100)]:
        at = right
        for step in path:
            at = at[step]
        forged = changed(right, path, at + 1e-3)
        found = list(differences(forged, right, TOLERANCE))
        assert [where for where, *_ in found] == [".".join(map(str, path))]


FORGED = [
    (("headline", "exchange", "score", "value"), 0.99),
    (("headline", "exchange", "score", "low"), 0.98),
    (("headline", "exchange", "n_cells"), 6),
    (("cells", 0, "no_edit", "high"), 0.5),
    (("cells", 0, "skyline", "mean", "weight", "value"), 0.9),
    (("cells", 0, "edits", 1, "accuracy", "value"), 0.999),
    (("cells", 0, "edits", 1, "distance_relative", "high"), 3.0),
    (("cells", 0, "edits", 2, "n_removed"), 1.234),
    (("cells", 0, "edits", 0, "nan_dropped"), 5),
    (("cells", 0, "scores", "exchange", "s", "value"), 0.9),
    (("cells", 0, "scores", "exchange", "s_null", "value"), 0.41),
    (("cells", 0, "scores", "exchange", "null", "accuracy", 0), 0.77),
    (("cells", 0, "scores", "exchange", "score", "high"), 0.99),
    (("cells", 0, "faithfulness", "l0", "value"), 1.234),
    (("cells", 0, "faithfulness", "fvu", "low"), 5.0),
    (("cells", 0, "faithfulness", "ld_recovered_reliable"), False),
    (("cells", 0, "faithfulness", "ld_recovered", "value"), None),
    (("cells", 0, "edits", 0, "accuracy", "direction"), "lower"),
    (("cells", 0, "ranked"), False),
    (("cells", 1, "ranked"), True),
    (("cross_sections", 0, "explained", 2, "kept", "value"), 0.99),
    (("cross_sections", 0, "explained", 2, "removed", "high"), 0.99),
]


@pytest.mark.parametrize(("path", "value"), FORGED, ids=[".".join(map(str, path)) for path, _ in FORGED])
def test_a_forged_figure_is_named(small, path, value):
    check = refusal(with_changes(small.card, {path: value}), small)
    assert check.name == "figures"
    if check.worst is not None and "rows" not in check.detail:
        assert check.worst > check.tolerance
    assert str(path[-1]) in check.detail or "rows" in check.detail


def test_an_interval_of_another_seed_does_not_pass(small, scope, tables):
    other = recomputed(
        small.card, scope_of(with_changes(small.card, {("made", "seed"): 1}), scope.circuit, _split()), tables
    )
    assert other.cells[0].no_edit.value == small.card.cells[0].no_edit.value
    assert refusal(other, small).name == "figures"


def _split():
    return task_spec("ioi-v1-mini").split("test").head(100)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({("cells", 0, "faithfulness", "dead_share", "value"): 1.5}, "between 0 and 1"),
        ({("cross_sections", 0, "explained", 0, "share", "low"): 0.1}, "interval"),
        ({("cross_sections", 0, "explained", 0, "share", "value"): 0.987}, "add up"),
        ({("cross_sections", 0, "geometry", "io", "codes_to_features", "value"): -1.5}, "between -1 and 1"),
    ],
)
def test_figures_outside_the_file_must_be_possible(small, changes, said):
    check = refusal(with_changes(small.card, changes), small)
    assert check.name == "other figures"
    assert said in check.detail


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("spec_sha256", "0" * 64, "task spec 'ioi-v1-mini'"),
        ("circuit_sha256", "0" * 64, "circuit 'ioi-mini'"),
        ("circuit", "gpt2", "circuit 'gpt2'"),
        ("spec", "ioi-v2", "task spec 'ioi-v2'"),
    ],
)
def test_a_card_of_another_spec_or_circuit_is_refused_by_name(small, name, value, said):
    check = refusal(with_changes(small.card, {("made", name): value}), small)
    assert check.name == "track"
    assert said in check.detail


def test_a_model_and_a_track_that_are_known_are_compared(small):
    right = small.card.made.model_sha256
    assert check_card(small.card, small.prompts, needs=small.needs, model_sha256=right)[0].passed
    assert "model 'ioi-mini'" in check_card(small.card, small.prompts, model_sha256="0" * 64)[0].detail
    assert "not of 'gpt2'" in check_card(small.card, small.prompts, track="gpt2")[0].detail
    hook = with_changes(small.card, {("track",): "ioi-mini/blocks.2.hook_resid_pre"})
    assert "circuit 'ioi-mini'" in refusal(hook, small).detail
    for track in ("ioi-mini/cross-site", "my.toml", "ioi-maxi", "../ioi-mini"):
        assert refusal(with_changes(small.card, {("track",): track}), small).name == "track"
    for other in ("ioi-mini/resid_pre.2", "ioi-mini/blocks.02.hook_resid_pre"):  # one track, one table
        check = refusal(with_changes(small.card, {("track",): other}), small)
        assert "is written 'ioi-mini/blocks.2.hook_resid_pre'" in check.detail


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({("made", "scoring"): "ioi-v1"}, "scored by ioi-v1"),
        ({("made", "split"): "validation"}, "split"),
        ({("made", "n_prompts"): 6000}, "6,000 prompts"),
        ({("made", "full_train"): True}, "train prompts"),
        ({("made", "budgets"): [1, 2]}, "budgets 4 are missing"),
        ({("made", "budgets"): [4, 2, 1]}, "increasing"),
        ({("made", "budgets"): [1, 2, 4, 10**30]}, "1 to 64"),
        ({("made", "budgets"): list(range(1, 20))}, "at most 8"),
        ({("made", "methods"): ["universal"]}, "'exchange' is missing"),
        ({("made", "methods"): ["exchange", "strongest"]}, "strongest"),
        ({("made", "seed"): 3}, "seed 3"),
        ({("made", "n_draws"): 10}, "10 draws"),
        ({("made", "plugins"): {"edit method best": "p (p 1)"}}, "edit method best"),
        ({("made", "plugins"): {"metric m": "p (p 1)"}}, "metric m"),
        ({("made", "options"): {"cross-site": "yes"}}, "--cross-site"),
    ],
)
def test_what_the_leaderboard_needs(small, changes, said):
    check = refusal(with_changes(small.card, changes), small)
    assert check.name == "what the leaderboard needs"
    assert said in check.detail


def test_few_prompts_are_not_enough_for_the_public_leaderboard(small):
    check = check_card(small.card, small.prompts)[-1]
    assert "100 prompts, and 1,000" in check.detail
    assert "all 20,000" in check.detail
    with pytest.raises(InputError, match="what the leaderboard needs"):
        require_passed([check])


def test_fewer_prompts_than_the_file_has(small):
    check = refusal(with_changes(small.card, {("made", "n_prompts"): 99}), Needed(small, 99))
    assert check.name == "figures"
    assert "rows" in check.detail


class Needed:
    """The small card, with other needs."""

    def __init__(self, small, prompts):
        self.prompts, self.needs = small.prompts, Needs(prompts, full_train=False)


def test_cells_must_be_those_of_the_circuit(small):
    data = json.loads(small.card.model_dump_json())
    data["cells"] = data["cells"][1:]
    assert refusal(Card.model_validate(data), small).name == "parts of the card"
    for change in (
        {("cells", 0, "name"): "io@nowhere"},
        {("cells", 0, "skyline"): {}},
        {("cells", 0, "edits"): []},
        {("cross_sections",): []},
        {("cross_sections", 0, "explained", 0, "threshold"): 0.55},
        {("cross_sections", 0, "geometry"): {}},
        {("cells", 0, "missing_sites"): ["z.0.0@end"]},
    ):
        assert refusal(with_changes(small.card, change), small).name == "parts of the card"


# The file of prompts


def edited(small, path, edit):
    """The file with one change, written as an evaluation writes it."""
    table = pq.read_table(small.prompts)
    columns = {name: table[name].combine_chunks() for name in table.column_names}
    edit(columns)
    found = pa.table(columns, schema=table.schema)
    pq.write_table(found, path, compression="zstd")
    return path


def put(columns, name, row, value):
    column = columns[name]
    values = column.to_pylist()
    values[row] = value
    columns[name] = pa.array(values, type=column.type, from_pandas=False)


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("accuracy", None, "missing"),
        ("kl", math.nan, "NaN"),
        ("kl", math.inf, "infinite"),
        ("ld_clean", 1.0, "where none belongs"),
        ("prompt", 5, "prompt = 5"),
        ("method", "best", "method = 'best'"),
        ("dictionary", "random 0", "dictionary = 'random 0'"),
        ("io", "Nobody", "io = 'Nobody'"),
        ("template", 99, "template = 99"),
        ("pattern", "AAB", "pattern = 'AAB'"),
    ],
)
def test_rows_that_do_not_belong(small, tmp_path, column, value, said):
    path = edited(small, tmp_path / "prompts.parquet", lambda columns: put(columns, column, 230, value))
    check = refusal(small.card, small, path)
    assert check.name == "figures"
    assert said in check.detail


@pytest.mark.parametrize("column", ["accuracy", "kl", "weight", "distance", "ld_sae", "active", "residual"])
def test_one_prompt_edited_shows_in_its_figure(small, tmp_path, column):
    values = pq.read_table(small.prompts, columns=[column])[column].to_pylist()
    row = next(i for i, value in enumerate(values) if i > 300 and value not in (None, 0.0, False))
    other = not values[row] if column == "accuracy" else values[row] + 0.5
    path = edited(small, tmp_path / "prompts.parquet", lambda columns: put(columns, column, row, other))
    check = refusal(small.card, small, path)
    assert check.name == "figures"
    assert "do not follow" in check.detail


def test_random_dictionaries_are_in_the_file(small, tmp_path):
    frame = pd.read_parquet(small.prompts)
    row = int(np.flatnonzero(frame["dictionary"] == "random 1")[0])
    path = edited(small, tmp_path / "prompts.parquet", lambda columns: put(columns, "weight", row, 40.0))
    assert "null.weight" in refusal(small.card, small, path).detail


def test_truncated_empty_and_absent_files(small, tmp_path):
    data = small.prompts.read_bytes()
    for name, content in {"half": data[: len(data) // 2], "none": b"", "text": b"PAR1 nothing PAR1"}.items():
        path = tmp_path / name
        path.write_bytes(content)
        assert "cannot be read" in refusal(small.card, small, path).detail
    assert "cannot be read" in refusal(small.card, small, tmp_path / "absent").detail


def test_damage_inside_is_our_error_or_a_difference(small, tmp_path):
    data = bytearray(small.prompts.read_bytes())
    rng = np.random.default_rng(0)
    for i in range(25):
        damaged = bytearray(data)
        for at in rng.integers(4, len(data), 20):
            damaged[at] = int(rng.integers(256))
        path = tmp_path / f"damaged-{i}"
        path.write_bytes(damaged)
        found = checked(small.card, small, path)
        assert found[-1].name in ("figures", "other figures")


def test_an_absurd_size_is_seen_before_reading(small, tmp_path, monkeypatch):
    path = tmp_path / "prompts.parquet"
    path.write_bytes(b"PAR1")
    with path.open("r+b") as file:
        file.truncate(10**9)  # sparse: it takes no space
    assert "1,000,000,000 bytes" in refusal(small.card, small, path).detail
    monkeypatch.setattr(prompts_reading, "_OVERHEAD", 0)
    monkeypatch.setattr(prompts_reading, "_WIDTH", 30)
    assert "unpacks to" in refusal(small.card, small).detail


@pytest.mark.parametrize("column", ["dictionary", "io", "cell"])
def test_a_long_string_in_every_row_takes_no_more_memory_than_in_the_file(small, tmp_path, column):
    path = shutil.copy(small.prompts, tmp_path / "prompts.parquet")
    repeat_string(path, column, "x" * 100_000)  # 2 GB, written out row by row
    assert path.stat().st_size < 2 * small.prompts.stat().st_size
    with bounded_memory(20_000_000):
        check = refusal(small.card, small, path)
    assert "at most 4,096 of 100 bytes" in check.detail


def test_many_different_strings_are_refused_before_they_are_compared(small, tmp_path):
    n = pq.read_metadata(small.prompts).num_rows
    names = pa.array([f"name {i}" for i in range(n)])
    path = edited(small, tmp_path / "prompts.parquet", lambda columns: columns.update(io=names))
    assert f"{n:,} different strings" in refusal(small.card, small, path).detail


def test_columns_and_types_are_those_of_an_evaluation(small, tmp_path):
    table = pq.read_table(small.prompts)
    path = tmp_path / "prompts.parquet"
    for name in ("kl", "cross_section", "io"):
        pq.write_table(table.drop_columns([name]), path)
        assert name in refusal(small.card, small, path).detail
    nested = pa.array([{"x": "Mary"}] * len(table))
    pq.write_table(table.set_column(table.column_names.index("io"), "io", nested), path)
    assert "'io'" in refusal(small.card, small, path).detail
    pq.write_table(table.append_column("payload", pa.nulls(len(table))), path)
    assert "payload" in refusal(small.card, small, path).detail
    pickled = pa.array([b"\x80\x04."] * len(table), pa.binary())
    pq.write_table(table.set_column(table.column_names.index("kl"), "kl", pickled), path)
    assert "type binary" in refusal(small.card, small, path).detail
    pq.write_table(table.slice(0, 100), path)
    assert "rows" in refusal(small.card, small, path).detail
    metadata = {key: value for key, value in table.schema.metadata.items() if key != FORMAT_KEY.encode()}
    pq.write_table(table.replace_schema_metadata(metadata), path)
    assert "format '1'" in refusal(small.card, small, path).detail


def test_the_file_is_plain_for_pandas(small):
    frame = pd.read_parquet(small.prompts)
    assert {str(frame[name].dtype) for name in ("accuracy", "accuracy_names")} == {"boolean"}
    assert frame["kl"].dtype == np.float32
    assert list(frame.columns) == schema().names
    own = frame[(frame["cell"] == "io@nm-out") & (frame["dictionary"] == "suite")]
    mean = own.groupby(["method", "budget"])["accuracy"].mean()
    assert mean["exchange", 4] == pytest.approx(small.card.cell("io@nm-out").edit("exchange", 4).accuracy.value)


# The card's file


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"schema_version": 5, "track": NaN}', "NaN is no number"),
        ('{"schema_version": 5, "track": Infinity}', "Infinity is no number"),
        ("[" * 100_000, "cannot be read as a card"),
        ('{"schema_version": 3}', "schema_version 3"),
        ("", "cannot be read as a card"),
        ("\x00\xff", "cannot be read as a card"),
    ],
)
def test_a_damaged_card_is_our_error(tmp_path, text, said):
    path = tmp_path / "card.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=said):
        Card.read(path)


def test_a_huge_card_is_not_read(tmp_path):
    path = tmp_path / "card.json"
    path.write_bytes(b"{")
    with path.open("r+b") as file:
        file.truncate(10**9)
    with pytest.raises(InputError, match="1,000,000,000 bytes"):
        Card.read(path)
