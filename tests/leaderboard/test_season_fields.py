"""Every field of every file of a revealed season, altered one after another: it shows, or a list says why not."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from datetime import date, timedelta

import pandas as pd
import pytest
from season_boards import BEACON, chain, log, sha256

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
    return [("another text", value + "x"), *([("no text", "")] if value else [])]


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


def as_written(data):
    """As the records are written, so that nothing but the field differs."""
    return (json.dumps(data, indent=1, ensure_ascii=False) + "\n").encode()


def as_line(data):
    """A line of the log."""
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


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


@pytest.mark.parametrize("name", ["commitment.json", "draw.json", "reveal.json"])
def test_each_field_of_a_record_alone(revealed, in_a_week, name):
    path, silent = revealed.at(name), set()
    record = json.loads(path.read_text())
    assert as_written(record) == path.read_bytes()
    assert fault(revealed.at()) is None
    for field, how, data in altered(record):
        path.write_bytes(as_written(data))
        if fault(revealed.at()) is None:
            silent.add((name, ".".join(field), how))
    assert silent == {one for one in HARMLESS if one[0] == name}


@pytest.mark.parametrize("number", [0, 1])
def test_each_field_of_a_line_of_the_log_alone(revealed, in_a_week, number):
    """The last one, too: the reveal holds its hash."""
    path = revealed.at("log.jsonl")
    lines = log(revealed.at())
    assert b"".join(map(as_line, lines)) == path.read_bytes()
    assert len(lines) == 2
    for field, how, data in altered(lines[number]):
        path.write_bytes(b"".join(map(as_line, [*lines[:number], data, *lines[number + 1 :]])))
        assert fault(revealed.at()) is not None, (field, how)


def test_of_a_sealed_season_the_last_line_is_held_by_a_copy_or_its_receipt(sealed, tmp_path):
    """Nothing comes after it: where its weights were is anybody's to alter, and the line to remove with its card."""
    before, lines = sealed.copy(tmp_path / "before"), log(sealed.at())
    receipt = hashlib.sha256(as_line(lines[1]).rstrip()).hexdigest()
    held = ("--against", before.folder, "--receipt", receipt)
    assert not sealed.verify(*held).failed
    sealed.at("log.jsonl").write_bytes(as_line(lines[0]) + as_line(lines[1] | {"suite": "elsewhere"}))
    assert not sealed.verify().failed
    assert set(sealed.verify(*held).failed) == {"since the copy", "receipts"}
    sealed.at("log.jsonl").write_bytes(as_line(lines[0] | {"suite": "elsewhere"}) + as_line(lines[1]))
    assert list(sealed.verify().failed) == ["chain"]
    sealed.at("log.jsonl").write_bytes(as_line(lines[0]))
    shutil.rmtree(sealed.at("entries", lines[1]["entry"]))
    assert not sealed.verify().failed
    assert set(sealed.verify(*held).failed) == {"since the copy", "receipts"}


def test_terms_altered_before_the_draw_are_refused_by_whoever_has_the_seed(committed):
    """Nobody else can tell: the hash that binds them opens with the seed alone."""
    path = committed.at("commitment.json")
    for name in ("known", "prompts", "reveal_by"):
        record = json.loads(path.read_text())
        other = {"known": [], "prompts": 41, "reveal_by": "2999-01-01"}[name]
        kept = path.read_bytes()
        path.write_bytes(as_written(record | {"terms": record["terms"] | {name: other}}))
        assert not committed.verify().failed
        assert "does not open the commitment" in committed("evaluate", "--beacon", BEACON, code=2).stderr
        path.write_bytes(kept)


def test_each_field_of_a_card_alone(revealed):
    path, tried = revealed.entry("topk", "card.json"), set()
    card = json.loads(path.read_text())
    path.write_bytes(as_written(card))  # floats may be spelt otherwise: the log takes it as it is now
    lines = [
        line | ({"card_sha256": sha256(path)} if "lab__topk" in line["entry"] else {}) for line in log(revealed.at())
    ]
    chain(revealed.at(), lines)
    season = read_season(revealed.at())
    assert list(entry_faults(season)) == []
    for field, how, data in altered(card):
        path.write_bytes(as_written(data))
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
