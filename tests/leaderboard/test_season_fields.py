"""Every field of every file of a revealed season, altered one after another: it shows, or a list says why not."""

from __future__ import annotations

import json
import re
import shutil
from datetime import date, timedelta

import pandas as pd
import pytest
from season_boards import chain, log

from ioi_bench.errors import InputError
from ioi_bench.leaderboard.seasons.chain import entry_faults
from ioi_bench.leaderboard.seasons.folder import read_season
from ioi_bench.leaderboard.seasons.verify import SeasonVerifier

SAME = "the default, written or not: it says the same"
HARMLESS = {
    ("reveal.json", "schema_version", "left out"): SAME,
    ("reveal.json", "unjudged", "left out"): SAME,
    ("reveal.json", "date", "a day later"): "the maintainer's word, between the last line of the log and today",
}
"""What nothing shows where one field alone is altered: (file, field, how), with the reason."""

REMADE = HARMLESS | {
    ("commitment.json", "schema_version", "left out"): SAME,
    ("draw.json", "schema_version", "left out"): SAME,
    ("log.jsonl", "reason", "left out"): SAME,
    ("log.jsonl", "suite", "another text"): "where the weights are: `verify --evaluate` reads them there",
    ("log.jsonl", "submission_sha256", "another hash"): "pages drop a result of another submission.toml",
}
"""What nothing in the folder shows where the chain is made anew after it."""

CHAINED = {"commitment_file", "number", "previous", "lines", "head"}
"""What making the chain anew sets."""


def variants(value):
    """Other values of the kind, and how each came about."""
    if isinstance(value, bool):
        return [("the contrary", not value)]
    if isinstance(value, int | float):
        return [("one more", value + 1)]
    if value is None:
        return [("a text", "a text"), ("a number", 3), ("a hash", "1" * 64)]
    if isinstance(value, list):
        return [("one fewer", value[:-1])] if value else [("one more", [f"ioi-mini/a__b/{'1' * 64}"])]
    if isinstance(value, dict):
        return [("one more", value | {"more": 1})]
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
        day = date.fromisoformat(value)
        ways = {"a day earlier": -1, "a day later": 1}
        return [(how, (day + timedelta(days=by)).isoformat()) for how, by in ways.items()]
    if re.fullmatch("[0-9a-f]{32,}", value):
        return [("another hash", ("0" if value[0] != "0" else "1") + value[1:])]
    return [("another text", value + "x"), ("no text", "")]


def altered(data, at=()):
    """``(field, how, the whole with it altered)``, for every field; of a list, the first item stands for all."""
    if isinstance(data, dict):
        for name, value in data.items():
            field = (*at, name)
            yield field, "left out", {key: one for key, one in data.items() if key != name}
            for how, other in variants(value):
                yield field, how, data | {name: other}
            for inner, how, other in altered(value, field):
                yield inner, how, data | {name: other}
    elif isinstance(data, list) and data and isinstance(data[0], dict | list):
        for inner, how, other in altered(data[0], (*at, "0")):
            yield inner, how, [other, *data[1:]]


def fault(folder):
    """The first check that fails, or what the file is said to be; None where all hold."""
    try:
        return next((check.name for check in SeasonVerifier(folder).checks() if not check.passed), None)
    except InputError as error:
        return str(error)


@pytest.fixture
def in_a_week(monkeypatch):
    """Verified later than the season ended: a date may be a later one."""
    later = (date.today() + timedelta(days=7)).isoformat()
    monkeypatch.setattr("ioi_bench.leaderboard.seasons.dates.today", lambda: later)


def unfound(path, season, name):
    """What of a JSON file can be altered without a trace; the file is as it was afterwards."""
    kept, silent, tried = path.read_bytes(), set(), 0
    for field, how, data in altered(json.loads(kept)):
        path.write_text(json.dumps(data))
        tried += 1
        if fault(season) is None:
            silent.add((name, ".".join(field), how))
    path.write_bytes(kept)
    assert tried > 5
    assert fault(season) is None
    return silent


@pytest.mark.parametrize("name", ["commitment.json", "draw.json", "reveal.json"])
def test_each_field_of_a_record_alone(revealed, in_a_week, name):
    found = unfound(revealed.at(name), revealed.at(), name)
    assert found == {one for one in HARMLESS if one[0] == name}


@pytest.mark.parametrize("number", [0, 1])
def test_each_field_of_a_line_of_the_log_alone(revealed, in_a_week, number):
    """The last one, too: the reveal holds its hash."""
    path = revealed.at("log.jsonl")
    lines = log(revealed.at())
    for field, how, data in altered(lines[number]):
        path.write_text("".join(json.dumps(one) + "\n" for one in [*lines[:number], data, *lines[number + 1 :]]))
        assert fault(revealed.at()) is not None, (field, how)


def test_each_field_of_a_card_alone(revealed):
    path, season = revealed.entry("topk", "card.json"), read_season(revealed.at())
    assert list(entry_faults(season)) == []
    tried = set()
    for field, how, data in altered(json.loads(path.read_text())):
        path.write_text(json.dumps(data))
        tried.add(field[:2])
        assert list(entry_faults(season)), (field, how)  # what the check `results` fails by
    assert {("made", "scoring"), ("headline", "exchange"), ("cells", "0")} <= tried
    assert fault(revealed.at()) == "results"


def test_each_column_of_the_rows_alone(revealed):
    path = revealed.entry("topk", "prompts.parquet")
    rows = pd.read_parquet(path)
    for column in rows:
        values = rows[column].astype(object)
        there = values[values.notna()]
        other = there[there != there.iloc[0]]
        at = there.index[0]
        values[at] = other.iloc[0] if len(other) else None
        rows.assign(**{column: values.astype(rows[column].dtype)}).to_parquet(path, index=False)
        assert fault(revealed.at()) == "results", column


def test_every_file_removed(revealed, tmp_path):
    files = sorted(path.relative_to(revealed.at()) for path in revealed.at().rglob("*") if path.is_file())
    assert len(files) == 8
    for name in files:
        copy = shutil.copytree(revealed.at(), tmp_path / "seasons" / revealed.at().name)
        (copy / name).unlink()
        if name.name == "reveal.json":  # sealed again: rows that were published show it
            assert fault(copy) is None
        else:
            assert fault(copy) is not None, name
        shutil.rmtree(copy)


@pytest.mark.parametrize("name", ["commitment.json", "draw.json", "log.jsonl", "reveal.json"])
def test_each_field_by_one_who_makes_the_chain_anew(revealed, in_a_week, name):
    """What whoever can write the folder gains by it: the list is what --against, receipts and --evaluate are for."""
    path, silent = revealed.at(name), set()
    kept = {one: revealed.at(one).read_bytes() for one in ("commitment.json", "draw.json", "log.jsonl", "reveal.json")}
    lines = log(revealed.at())
    whole = lines[0] if name == "log.jsonl" else json.loads(path.read_text())
    for field, how, data in altered(whole):
        if field[-1] in CHAINED:
            continue
        if name == "log.jsonl":
            chain(revealed.at(), [data, *lines[1:]])
        else:
            path.write_text(json.dumps(data))
            chain(revealed.at(), lines)
        if fault(revealed.at()) is None:
            silent.add((name, ".".join(field), how))
        for one, data_before in kept.items():
            revealed.at(one).write_bytes(data_before)
    assert silent == {one for one in REMADE if one[0] == name}
