"""The order of a season's steps: dates, whose a seed is, runs at once, and a reveal before all is judged."""

from __future__ import annotations

import json
from datetime import date, timedelta
from threading import Barrier, Thread

import pytest
from season_boards import BEACON, FEW, chain, change, hold_season, log

from ioi_bench.errors import InputError
from ioi_bench.leaderboard.seasons.chain import chain_faults, reused_seed
from ioi_bench.leaderboard.seasons.dates import date_faults
from ioi_bench.leaderboard.seasons.folder import read_season
from ioi_bench.leaderboard.seasons.judging import Judge
from ioi_bench.leaderboard.seasons.opening import commitment_of
from ioi_bench.leaderboard.seasons.publish import reveal_season
from ioi_bench.leaderboard.seasons.records import Reveal, Terms

SEED = bytes(range(32))


def days(n):
    return (date.fromisoformat(today()) + timedelta(days=n)).isoformat()


def today():
    from ioi_bench.leaderboard.seasons import dates

    return dates.today()


@pytest.fixture
def clock(monkeypatch):
    """Set the clock of the machine, for a season that goes on."""
    return lambda to: monkeypatch.setattr("ioi_bench.leaderboard.seasons.dates.today", lambda: to)


@pytest.fixture
def quick(monkeypatch):
    """No suite is evaluated: each gets a line with a reason."""
    monkeypatch.setattr(Judge, "_evaluated", lambda self, entry, bench, out: "for a test")


# Suites that were not judged


def test_a_reveal_waits_for_all_suites_that_were_there(committed, quick):
    committed("evaluate", "lab/topk", "--beacon", BEACON)
    assert committed.verify().details["suites"] == "1 of 2 are still to be judged"
    told = committed("reveal", code=2).stderr
    for words in ("1 of the 2 suites", "lab__relu", "season evaluate 2027-spring", "--unjudged"):
        assert words in told
    assert not committed.at("reveal.json").exists()
    committed("evaluate")
    committed("reveal")
    assert not committed.verify().failed


def test_what_is_left_out_is_told_for_ever_and_the_season_verifies(committed, quick):
    committed("evaluate", "lab/topk", "--beacon", BEACON)
    told = committed("reveal", "--unjudged").stderr
    assert "1 line in the log" in told
    assert "never judged: ioi-mini/lab__relu/" in told
    found = committed.verify()
    assert not found.failed
    assert found.details["suites"] == "1 of 2 were never judged, as reveal.json says: lab/relu"
    (left_out,) = json.loads(committed.at("reveal.json").read_text())["unjudged"]
    change(committed.at("reveal.json"), unjudged=[])
    assert "lab/relu was there at the commitment" in committed.verify().failed["suites"]
    change(committed.at("reveal.json"), unjudged=[left_out, log(committed.at())[0]["entry"]])
    assert "says that lab/topk was not judged, and that is not so" in committed.verify().failed["suites"]


def test_a_suite_that_is_judged_twice(sealed):
    """A chain that holds, and a second result beside the first: nobody may choose between two."""
    lines = log(sealed.at())
    chain(sealed.at(), [*lines, lines[0]])
    (fault,) = chain_faults(read_season(sealed.at()))
    assert fault == f"line 3 of log.jsonl judges {lines[0]['entry']} again"


def test_what_could_not_be_judged_may_be_judged_later(sealed):
    lines = log(sealed.at())
    gone = {name: value for name, value in lines[0].items() if "sha256" not in name or name == "submission_sha256"}
    chain(sealed.at(), [gone | {"reason": "the network was down"}, *lines])
    assert list(chain_faults(read_season(sealed.at()))) == []


# Dates


def dated(board, commitment="2026-01-01", draw="2026-01-02", lines=(), reveal=None, **said):
    """A season by hand on these dates."""
    folder = hold_season(board, {}, date=commitment, **said)
    change(folder / "draw.json", date=draw)
    line = {"entry": f"ioi-mini/a__b/{'1' * 64}", "submission_sha256": "1" * 64, "suite": "s", "reason": "none"}
    chain(folder, [line | {"date": one} for one in lines])
    if reveal:
        record = Reveal(season=folder.name, seed=SEED.hex(), lines=0, head="1" * 64, date=reveal)
        (folder / "reveal.json").write_text(record.model_dump_json())
    return folder


def test_steps_on_one_day_or_later_each(tmp_path):
    same = dated(tmp_path, *["2026-01-01"] * 2, ["2026-01-01"] * 2, "2026-01-01", season="same", reveal_by="2026-01-01")
    later = dated(tmp_path, "2026-01-01", "2026-02-01", ["2026-02-01", "2026-03-01"], "2026-04-01", season="later")
    for folder in (same, later):
        assert list(date_faults(read_season(folder))) == []


@pytest.mark.parametrize(
    ("said", "faults"),
    [
        ({"draw": "2025-12-31"}, ["draw.json is dated 2025-12-31, before commitment.json (2026-01-01)"]),
        ({"lines": ["2026-01-01"]}, ["line 1 of log.jsonl is dated 2026-01-01, before draw.json (2026-01-02)"]),
        (
            {"lines": ["2026-02-02", "2026-02-01"]},
            ["line 2 of log.jsonl is dated 2026-02-01, before line 1 of log.jsonl (2026-02-02)"],
        ),
        (
            {"lines": ["2026-02-02"], "reveal": "2026-02-01"},
            ["reveal.json is dated 2026-02-01, before line 1 of log.jsonl (2026-02-02)"],
        ),
        ({"reveal": "2000-01-01"}, ["reveal.json is dated 2000-01-01, before draw.json (2026-01-02)"]),
        ({"reveal": "2026-06-02"}, ["reveal.json is dated 2026-06-02, and today is 2026-06-01"]),
        ({"reveal_by": "2025-01-01"}, ["commitment.json is dated 2026-01-01, and promises the reveal for 2025-01-01"]),
    ],
)
def test_dates_that_go_back_or_are_to_come(tmp_path, clock, said, faults):
    clock("2026-06-01")
    assert list(date_faults(read_season(dated(tmp_path, **said)))) == faults


def test_a_day_that_the_calendar_has_not_is_no_date(tmp_path):
    folder = dated(tmp_path, reveal="2026-02-01")
    change(folder / "reveal.json", date="2026-02-30")
    with pytest.raises(InputError, match="date"):
        read_season(folder)


def test_a_reveal_of_another_date_fails_its_verification(revealed):
    for when in ("1999-12-31", days(1)):
        change(revealed.at("reveal.json"), date=when)
        assert list(revealed.verify().failed) == ["dates"]


def test_a_clock_that_is_slow_writes_nothing(committed, sealed, clock, quick):
    clock(days(-1))
    for board, words in ((committed, ["evaluate", "--beacon", BEACON]), (sealed, ["reveal", "--unjudged"])):
        assert "set the clock" in board(*words, code=2).stderr
    assert not committed.at("draw.json").exists()
    assert not sealed.at("reveal.json").exists()


def test_a_late_reveal_is_told(committed, clock, quick):
    committed.seed = committed.root / "late.json"
    due, late = days(1), days(5)
    committed("commit", *FEW, "--reveal-by", due, name="late")
    committed("evaluate", name="late")
    clock(late)
    committed("reveal", name="late")
    found = committed.verify(name="late")
    assert not found.failed
    assert found.details["reveal"] == f"on {late}, which was late: it was promised for {due}, with 2 lines of the log"


# Whose a seed is


def with_seed(board, season, commitment, reveal):
    """A season with the one seed, committed to and revealed (or not) on these days."""
    folder = dated(board, commitment, commitment, reveal=reveal, season=season)
    terms = Terms.model_validate(json.loads((folder / "commitment.json").read_text())["terms"])
    change(folder / "commitment.json", commitment=commitment_of(terms, SEED))
    return folder


@pytest.mark.parametrize(
    ("a", "b", "at_fault"),
    [
        pytest.param(("2026-01-01", "2026-02-01"), ("2026-03-01", "2026-04-01"), "b", id="one after the other"),
        pytest.param(("2026-01-01", "2026-03-01"), ("2026-02-01", "2026-04-01"), "b", id="side by side"),
        pytest.param(("2026-01-01", "2026-02-01"), ("2026-03-01", "2000-01-01"), "b", id="a reveal dated back"),
        pytest.param(("2026-01-01", "2026-02-01"), ("2026-03-01", None), "b", id="not revealed yet"),
        pytest.param(("2026-01-01", "2026-02-01"), ("2026-01-01", "2026-04-01"), "ab", id="committed to on one day"),
        pytest.param(("2026-01-01", "2026-05-01"), ("2026-02-01", "2026-04-01"), "ab", id="the later revealed first"),
        pytest.param(("2026-01-01", "2026-04-01"), ("2026-02-01", "2026-04-01"), "ab", id="revealed on one day"),
        pytest.param(("2026-01-01", None), ("2026-02-01", "2026-04-01"), "ab", id="the earlier is not revealed"),
        pytest.param(("2026-01-01", "2026-02-01"), ("1999-01-01", "1999-02-01"), "a", id="all of b dated back"),
        pytest.param(("2026-01-01", None), ("2026-03-01", None), "", id="nobody can know"),
    ],
)
def test_of_two_seasons_with_one_seed_the_later_fails_or_both(tmp_path, a, b, at_fault):
    folders = {"a": with_seed(tmp_path, "a", *a), "b": with_seed(tmp_path, "b", *b)}
    found = ""
    for name, folder in folders.items():
        season = read_season(folder)
        other = reused_seed(season, SEED if season.reveal else None)
        assert other in (None, *({"a", "b"} - {name}))
        found += name if other else ""
    assert found == at_fault


def test_another_seed_is_nobodys(tmp_path):
    with_seed(tmp_path, "a", "2026-01-01", "2026-02-01")
    folder = dated(tmp_path, "2026-03-01", "2026-03-01", season="b")
    assert reused_seed(read_season(folder)) is None
    assert reused_seed(read_season(folder), bytes(32)) is None


# Runs at once


def judge(board):
    return Judge(board.at(), board.seed, beacon=BEACON)


def submission(board, name):
    return next(board.folder.glob(f"results/ioi-mini/lab__{name}/*"))


@pytest.mark.parametrize("asked", [("topk", "relu"), ("topk", "topk")])
def test_two_runs_at_once_lose_no_line_and_judge_nothing_twice(committed, monkeypatch, asked):
    """Both have looked at the log before either writes to it."""
    monkeypatch.setattr("ioi_bench.leaderboard.seasons.judging.season_model", lambda terms: None)  # not two at once
    both, outcomes = Barrier(2, timeout=60), []
    monkeypatch.setattr(Judge, "_evaluated", lambda self, entry, bench, out: str(both.wait()))
    if len(set(asked)) == 1:  # a result: of reasons there may be several
        card = read_card(committed)

        def evaluated(self, entry, bench, out):
            (out / "card.json").write_text("{}")
            (out / "prompts.parquet").write_bytes(b"rows")
            both.wait()
            return card

        monkeypatch.setattr(Judge, "_evaluated", evaluated)

    def run(name):
        outcomes.extend(judge(committed).judge_each([submission(committed, name)]))

    threads = [Thread(target=run, args=(name,)) for name in asked]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    season = read_season(committed.at())
    assert [outcome.error for outcome in outcomes] == [None] * len(set(asked))
    assert sorted(line.entry.split("/")[1] for line in season.log) == sorted({f"lab__{name}" for name in asked})
    assert list(chain_faults(season)) == []


def read_card(board):
    from ioi_bench.evaluation.card import Card

    return Card.read(submission(board, "topk"))


def test_a_reveal_while_a_suite_is_judged_ends_the_season(sealed, committed, monkeypatch):
    def meanwhile(self, entry, bench, out):
        reveal_season(self.folder, self.seed_file, unjudged=True)
        return "too late"

    monkeypatch.setattr(Judge, "_evaluated", meanwhile)
    (outcome,) = judge(committed).judge_each([submission(committed, "topk")])
    assert "was revealed on" in str(outcome.error)
    assert not committed.at("log.jsonl").exists()
    assert not committed.verify().failed


@pytest.mark.parametrize("columns", ["30", "80"])
def test_a_receipt_is_one_line_whatever_the_width(committed, monkeypatch, quick, columns):
    monkeypatch.setenv("COLUMNS", columns)
    lines = committed("evaluate", "--beacon", BEACON).stdout.splitlines()
    receipts = [line.partition(" ") for line in lines if len(line.partition(" ")[0]) == 64]
    assert [name for _, _, name in receipts] == ["lab/relu", "lab/topk"]
    assert not committed.verify("--receipt", receipts[0][0], "--receipt", receipts[1][0]).failed
