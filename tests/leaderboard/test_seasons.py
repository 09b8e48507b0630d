"""`ioi-bench season`: an honest season verifies, end to end, and whatever is tampered with is named."""

from __future__ import annotations

import hashlib
import hmac
import json
import shutil
import stat

import pandas as pd
import pytest
from boards import changed, consistent, hand_in
from season_boards import BEACON, FEW, NAME, PROMPTS, RULE, chain, change, hold_season, log, sha256, some_terms
from typer.testing import CliRunner

from ioi_bench.cli.app import app
from ioi_bench.dictionaries.suite import load_suite, save_suite
from ioi_bench.errors import HubUnavailableError, InputError
from ioi_bench.evaluation.card import Card
from ioi_bench.evaluation.data import split_of
from ioi_bench.leaderboard.changes import changes, listing
from ioi_bench.leaderboard.results import read_entry
from ioi_bench.leaderboard.seasons import revealed_split
from ioi_bench.leaderboard.seasons.opening import commitment_of
from ioi_bench.leaderboard.seasons.records import Terms
from ioi_bench.lm.circuit import load_circuit
from ioi_bench.task import IOI_V1, IOI_V1_MINI

CHECKS = ["chain", "dates", "results", "suites", "seed of its own", "beacon", "settings", "reveal"]
FIGURES = ["figures: lab/relu", "figures: lab/topk"]


# An honest season


def test_every_check_holds_before_and_after_the_reveal(states):
    assert states.sealed.verify().names == CHECKS
    found = states.revealed.verify("--against", states.sealed.folder)
    assert found.names == [*CHECKS[:-1], "since the copy", "reveal", "seed", "prompts", *FIGURES]
    assert not found.failed


def test_evaluating_again_gives_the_same(states):
    found = states.revealed.verify("--evaluate")
    assert found.names[-2:] == ["again: lab/relu", "again: lab/topk"]
    assert not found.failed


def test_the_commitment_is_the_hash_that_the_docs_say(states):
    record = json.loads(states.committed.at("commitment.json").read_text())
    seed = bytes.fromhex(json.loads(states.committed.seed.read_text())["seed"])
    assert len(seed) == 32
    parts = [b"ioi-bench season commitment 1"]
    for name, value in sorted(record["terms"].items()):
        parts += [name.encode(), json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()]
    data = b"".join(len(part).to_bytes(8, "big") + part for part in [*parts, seed])
    assert hashlib.sha256(data).hexdigest() == record["commitment"] == states.told[0].stdout.strip()
    terms = record["terms"]
    assert (terms["beacon_rule"], terms["spec_sha256"]) == (RULE, IOI_V1_MINI.sha256)
    assert [entry.split("/")[1] for entry in terms["known"]] == ["lab__relu", "lab__topk"]


def test_prompts_come_from_seed_name_spec_and_beacon_alone(states):
    """The key by hand; that words and prompts follow from it is tests/task/test_season.py's."""
    from ioi_bench.task.season import season_split

    seed = bytes.fromhex(json.loads(states.revealed.at("reveal.json").read_text())["seed"])
    parts = [b"ioi-bench season draw 1", NAME.encode(), IOI_V1_MINI.sha256.encode(), BEACON.encode()]
    data = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    split = season_split(IOI_V1_MINI, f"season:{NAME}", hmac.new(seed, data, "sha256").hexdigest(), PROMPTS)
    assert revealed_split(states.revealed.at()).prompts == split.prompts
    assert json.loads(states.sealed.at("draw.json").read_text())["prompts_sha256"] == split.sha256


def test_nothing_secret_is_published_or_said_before_the_reveal(states):
    seed = json.loads(states.sealed.seed.read_text())["seed"]
    split = revealed_split(states.revealed.at())
    secrets = {seed, *(split.spec.text(prompt) for prompt in split.prompts)}
    public = [path for path in states.sealed.folder.rglob("*") if path.is_file() and "seasons" in path.parts]
    assert sorted({path.name for path in public}) == ["card.json", "commitment.json", "draw.json", "log.jsonl"]
    texts = [path.read_text() for path in public]
    texts += [text for told in states.told[:2] for text in (told.stdout, told.stderr)]
    assert json.loads(states.told[2].stdout)["seed"] == seed
    assert not [secret for secret in secrets for text in texts if secret in text]
    rows = sorted(states.sealed.seed.parent.rglob("*.parquet"))
    assert {sha256(path) for path in rows} == {line["prompts_sha256"] for line in log(states.sealed.at())}


def test_the_seed_is_for_its_owner_alone(states):
    assert stat.S_IMODE(states.sealed.seed.stat().st_mode) == 0o600
    for folder in (states.committed.seed.parent, states.sealed.seed.parent / f"{NAME}.withheld"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_after_the_reveal_anybody_evaluates_any_suite_on_the_prompts(states, small_card, tmp_path, monkeypatch):
    (tmp_path / "leaderboard").symlink_to(states.revealed.folder)
    monkeypatch.chdir(tmp_path)
    words = ["evaluate", small_card.suite, "--split", f"season:{NAME}", "--train-prompts", 300, "--out", "mine"]
    words += ["--methods", "exchange", "--budgets", "1,2,4", "--cells", "io@nm-out"]
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    mine, season = Card.read("mine"), Card.read(states.revealed.entry("topk", "card.json"))
    assert (mine.made.split, mine.made.n_prompts) == (f"season:{NAME}", PROMPTS)
    assert mine.cell("io@nm-out") == season.cell("io@nm-out")


def test_prompts_of_a_sealed_season_cannot_be_had(states, tmp_path):
    words = ["evaluate", "nowhere", "--split", f"season:{states.sealed.at()}"]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert (done.exit_code, "not revealed yet" in done.stderr) == (2, True)


def test_a_split_without_a_season_or_of_another_task_is_refused():
    done = CliRunner().invoke(app, ["evaluate", "nowhere", "--split", "season:"], catch_exceptions=False)
    assert (done.exit_code, "names no season" in done.stderr) == (2, True)
    with pytest.raises(InputError, match="is of the task 'ioi-v1'; 'ioi-mini' has 'ioi-v1-mini'"):
        split_of(load_circuit("ioi-mini"), IOI_V1.split("test"))


def test_suites_are_judged_once(sealed, no_evaluation):
    before = listing(sealed.root)
    assert "nothing to judge" in sealed("evaluate").stderr
    assert listing(sealed.root) == before


def test_a_suite_that_comes_after_the_commitment_is_judged_and_told_apart(sealed, small_card, tmp_path):
    suite = load_suite(small_card.suite)
    fewer = {site: one for site, one in suite.dictionaries.items() if site != suite.sites[0]}
    save_suite(type(suite)("fewer", suite.model, fewer, suite.model_sha256), tmp_path / "fewer")
    digest = load_suite(tmp_path / "fewer").sha256
    card = changed(small_card.card, "made", "suite_sha256", to=digest)
    folder = hand_in(sealed.folder, card, small_card.prompts, tmp_path / "fewer", name="lab/later")
    (row,) = json.loads(sealed("evaluate", "lab/later", "--json").stdout)
    assert (row["reason"], row["error"]) == (None, None)
    assert not sealed.verify("--receipt", row["receipt"], "--against", sealed.folder).failed
    (result,) = read_entry(folder).seasons
    assert (result.season, result.known, result.card.made.suite_sha256) == (NAME, False, digest)
    assert read_entry(next(sealed.folder.glob("results/ioi-mini/lab__topk/*"))).seasons[0].known


# What a maintainer may not do


def test_a_name_is_used_once(committed):
    before = listing(committed.folder)
    committed.seed = committed.root / "another.json"
    assert "never used again" in committed("commit", *FEW, code=2).stderr
    assert (listing(committed.folder), committed.seed.exists()) == (before, False)


@pytest.mark.parametrize("name", ["Spring", "../spring", "a b", "spring-", "é"])
def test_a_name_has_one_spelling_and_is_no_path(committed, name):
    assert "is no name of a season" in committed("commit", *FEW, name=name, code=2).stderr


def test_a_seed_is_never_published_by_its_place_nor_overwritten(committed):
    kept = committed.seed.read_bytes()
    assert "may hold the seed" in committed("commit", *FEW, name="other", code=2).stderr
    assert committed.seed.read_bytes() == kept
    committed.seed = committed.folder / "seasons" / "seed.json"
    assert "published with it" in committed("commit", *FEW, name="other", code=2).stderr
    assert not (committed.folder / "seasons" / "other").exists()


def test_no_seed_is_left_without_a_commitment(committed, monkeypatch):
    committed.seed = committed.root / "another.json"
    shutil.rmtree(committed.folder / "seasons")
    (committed.folder / "seasons").write_text("a file where the folder belongs")
    committed("commit", *FEW, name="other", code=1)
    assert not committed.seed.exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--methods", "aware"], "is scored by exchange"),
        (["--methods", "exchange,strongest"], "unknown edit method 'strongest'"),
        (["--budgets", "1,2"], "is scored by exchange at 1, 2, 4"),
        (["--budgets", "4,2,1"], "in increasing order"),
        (["--prompts", "5001"], "a season has 1 to 5,000"),
        (["--reveal-by", "soon"], "a date is YYYY-MM-DD"),
        (["--reveal-by", "2999-02-30"], "a day that there is"),
        (["--reveal-by", "2020-01-01"], "give a date to come"),
        (["--track", "gpt3"], "gpt3"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(committed, words, says):
    committed.seed = committed.root / "another.json"
    assert says in committed("commit", *words, name="other", code=2).stderr
    assert not committed.seed.exists()


def test_a_beacon_is_given_where_it_was_announced_and_never_changed(committed, sealed, no_evaluation):
    assert RULE in committed("evaluate", code=2).stderr
    assert not committed.at("draw.json").exists()
    for text in ("a3f1", "0x" + BEACON, "round 7"):
        assert "hexadecimal digits" in committed("evaluate", "--beacon", text, code=2).stderr
    assert not committed.at("draw.json").exists()
    assert "for good" in sealed("evaluate", "--beacon", "7" * 64, code=2).stderr
    sealed("evaluate", "--beacon", f" {BEACON.upper()} ")


def test_a_beacon_that_was_not_announced_is_refused(committed, no_evaluation):
    committed.seed = committed.root / "another.json"
    committed("commit", *FEW, name="plain")
    assert "announces no beacon" in committed("evaluate", "--beacon", BEACON, name="plain", code=2).stderr


@pytest.mark.parametrize("command", ["evaluate", "reveal"])
def test_another_seed_is_refused(sealed, command, no_evaluation):
    change(sealed.seed, seed="11" * 32)
    before = listing(sealed.folder)
    told = sealed(command, code=2)
    assert "does not open the commitment" in told.stderr
    assert "11" * 32 not in told.stderr
    change(sealed.seed, season="another")
    assert "is the seed of the season 'another'" in sealed(command, code=2).stderr
    sealed.seed.write_text("{")
    assert "is no seed file" in sealed(command, code=2).stderr
    assert listing(sealed.folder) == before


def test_what_was_withheld_must_be_what_was_judged(sealed):
    rows = next(sealed.seed.parent.rglob("*.parquet"))
    kept = rows.read_bytes()
    before = listing(sealed.folder)
    rows.write_bytes(kept[:-1])
    assert "is not what was judged" in sealed("reveal", code=2).stderr
    rows.unlink()
    assert "is missing" in sealed("reveal", code=2).stderr
    assert listing(sealed.folder) == before
    rows.write_bytes(kept)
    sealed("reveal")
    assert not sealed.verify().failed
    assert "already" in sealed("reveal", code=2).stderr


def test_nothing_is_added_after_the_reveal(revealed, no_evaluation):
    assert "was revealed on" in revealed("evaluate", code=2).stderr


def test_a_season_of_which_nothing_was_drawn_cannot_be_revealed(committed):
    assert "comes first" in committed("reveal", code=2).stderr


@pytest.mark.parametrize("command", ["evaluate", "reveal"])
def test_another_generator_is_refused(sealed, command, monkeypatch, no_evaluation):
    monkeypatch.setattr("ioi_bench.task.season._half", lambda words, key, what: tuple(words))
    assert "the generator has changed" in sealed(command, code=2).stderr


def test_another_version_does_not_judge(committed, monkeypatch, no_evaluation):
    monkeypatch.setattr("ioi_bench.leaderboard.seasons.drawing.version", lambda: "9.0")
    assert "install ioi-bench==" in committed("evaluate", "--beacon", BEACON, code=2).stderr
    assert not committed.at("draw.json").exists()


def test_another_model_does_not_judge(committed, no_evaluation):
    """Terms that the seed opens, over other weights of the model."""
    record = json.loads(committed.at("commitment.json").read_text())
    terms = Terms.model_validate(record["terms"] | {"model_sha256": "1" * 64})
    seed = bytes.fromhex(json.loads(committed.seed.read_text())["seed"])
    change(committed.at("commitment.json"), terms__model_sha256="1" * 64, commitment=commitment_of(terms, seed))
    assert "committed to the model 'ioi-mini'" in committed("evaluate", "--beacon", BEACON, code=2).stderr


def test_a_suite_that_cannot_be_judged_is_in_the_log_with_the_reason(committed, small_card):
    topk, relu = (next(committed.folder.glob(f"results/ioi-mini/lab__{name}/*")) for name in ("topk", "relu"))
    for folder, suite in ((topk, committed.root / "gone"), (relu, small_card.suite)):
        said = (folder / "submission.toml").read_text().splitlines()
        said = [f'suite = "{suite}"' if line.startswith("suite =") else line for line in said]
        (folder / "submission.toml").write_text("\n".join(said))
    rows = {row["name"]: row for row in json.loads(committed("evaluate", "--beacon", BEACON, "--json").stdout)}
    assert "gone" in rows["lab/topk"]["reason"]
    assert "the weights have the hash" in rows["lab/relu"]["reason"]
    assert [line["card_sha256"] for line in log(committed.at())] == [None, None]
    assert not committed.verify().failed


def test_what_is_out_of_reach_now_is_not_in_the_log(committed, monkeypatch):
    def unreachable(*_):
        raise HubUnavailableError("no answer")

    monkeypatch.setattr("ioi_bench.leaderboard.seasons.judging.open_weights", unreachable)
    told = committed("evaluate", "lab/topk", "--beacon", BEACON, code=1)
    assert "no answer" in told.stderr
    assert not committed.at("log.jsonl").exists()
    assert not committed.verify().failed


def test_suites_are_asked_for_by_name_or_folder(committed, monkeypatch, no_evaluation):
    judged = []
    monkeypatch.setattr(
        "ioi_bench.leaderboard.seasons.judging.Judge._evaluated",
        lambda self, entry, bench, out: judged.append(entry.submission.name) or "for a test",
    )
    assert "'lab/none' is no submission" in committed("evaluate", "lab/none", "--beacon", BEACON, code=2).stderr
    committed("evaluate", "lab/topk", "--beacon", BEACON)
    folder = next(committed.folder.glob("results/ioi-mini/lab__relu/*"))
    assert "not judged: for a test" in committed("evaluate", folder).stdout
    assert judged == ["lab/topk", "lab/relu"]


# What tampering shows. Whoever tampers here can write everything that is published, and makes the chain anew.


def test_another_seed_does_not_open_it(revealed):
    change(revealed.at("reveal.json"), seed="11" * 32)
    assert list(revealed.verify().failed) == ["seed"]


def test_an_altered_commitment(sealed, revealed):
    change(sealed.at("commitment.json"), terms__reveal_by="2030-01-01")
    assert "commitment.json was altered" in sealed.verify().failed["chain"]
    change(revealed.at("commitment.json"), terms__prompts=39)
    chain(revealed.at(), log(revealed.at()))
    assert "the terms were altered" in revealed.verify().failed["seed"]


def test_another_commitment_over_the_same_terms(revealed):
    change(revealed.at("commitment.json"), commitment="1" * 64)
    assert list(revealed.verify().failed) == ["chain", "seed"]


@pytest.mark.parametrize("value", [{"prompts_sha256": "1" * 64}, {"beacon": "7" * 64}])
def test_altered_prompts_or_beacon(revealed, value):
    change(revealed.at("draw.json"), **value)
    assert list(revealed.verify().failed) == ["chain", "prompts"]
    chain(revealed.at(), log(revealed.at()))
    assert list(revealed.verify().failed) == ["prompts"]


def test_a_beacon_left_out(revealed):
    change(revealed.at("draw.json"), beacon=None)
    chain(revealed.at(), log(revealed.at()))
    assert set(revealed.verify().failed) == {"beacon", "prompts"}


def test_another_generator(revealed, monkeypatch):
    monkeypatch.setattr("ioi_bench.task.season._half", lambda words, key, what: tuple(words))
    assert "another generator" in revealed.verify().failed["prompts"]
    done = CliRunner().invoke(app, ["evaluate", "nowhere", "--split", f"season:{revealed.at()}"])
    assert (done.exit_code, "draws other prompts" in done.stderr) == (2, True)


def rehashed(board, suite):
    """The log with the hashes of a suite's files as they are now, and everything after it made anew."""
    lines = log(board.at())
    for line in lines:
        if f"lab__{suite}" in line["entry"]:
            line["card_sha256"] = sha256(board.entry(suite, "card.json"))
            if board.at("reveal.json").exists():
                line["prompts_sha256"] = sha256(board.entry(suite, "prompts.parquet"))
    chain(board.at(), lines)


def test_an_altered_card(revealed):
    path = revealed.entry("topk", "card.json")
    changed(Card.read(path), "headline", "exchange", "score", "value", to=0.9).write(path)
    found = revealed.verify().failed
    assert "card.json was altered" in found["results"]
    assert "headline.exchange.score.value is 0.9" in found[FIGURES[1]]
    rehashed(revealed, "topk")
    assert list(revealed.verify().failed) == [FIGURES[1]]


def test_altered_rows(revealed):
    path = revealed.entry("relu", "prompts.parquet")
    shutil.copyfile(revealed.entry("topk", "prompts.parquet"), path)
    found = revealed.verify().failed
    assert "prompts.parquet was altered" in found["results"]
    assert FIGURES[0] in found
    rehashed(revealed, "relu")
    assert list(revealed.verify().failed) == [FIGURES[0]]


def test_rows_and_card_that_bear_each_other_out(revealed):
    """Only evaluating again shows it."""
    card, rows = (revealed.entry("topk", name) for name in ("card.json", "prompts.parquet"))

    def edit(frame: pd.DataFrame) -> None:
        edits = (frame.dictionary == "suite") & (frame.method == "exchange")
        frame.loc[edits, "accuracy"] = True

    forged = consistent(Card.read(card), rows, rows, edit, revealed_split(revealed.at()))
    forged.write(card)
    rehashed(revealed, "topk")
    assert not revealed.verify().failed
    found = revealed.verify("--evaluate")
    assert list(found.failed) == ["again: lab/topk"]


@pytest.mark.parametrize(
    ("field", "value", "what"),
    [
        ("spec_sha256", "1" * 64, "task spec"),
        ("model_sha256", "1" * 64, "model"),
        ("circuit_sha256", "1" * 64, "circuit"),
        ("versions", {"ioi-bench": "9.0"}, "version of ioi-bench"),
        ("scoring", "ioi-v1", "scoring"),
        ("split", "test", "split"),
        ("n_prompts", 30, "number of prompts"),
        ("n_train_prompts", 200, "train prompts"),
        ("methods", ["exchange", "aware"], "methods"),
        ("suite_sha256", "1" * 64, "suite"),
    ],
)
def test_a_card_that_was_made_under_other_terms(sealed, field, value, what):
    path = sealed.entry("relu", "card.json")
    changed(Card.read(path), "made", field, to=value).write(path)
    rehashed(sealed, "relu")
    found = sealed.verify().failed
    assert list(found) == ["settings"]
    assert f"lab/relu was judged under another {what}" in found["settings"]


def added(board):
    """One more result, as good as the others; its line of the log."""
    line = dict(log(board.at())[0])
    line["entry"] = line["entry"].replace("lab__topk", "lab__more").replace("lab__relu", "lab__more")
    place = board.at("entries", line["entry"])
    shutil.copytree(board.at("entries", log(board.at())[0]["entry"]), place)
    return line


def test_a_result_that_was_added_after_the_reveal(revealed):
    line = added(revealed)
    assert "was added" in revealed.verify().failed["results"]
    kept = revealed.at("reveal.json").read_bytes()
    chain(revealed.at(), [*log(revealed.at()), line])
    revealed.at("reveal.json").write_bytes(kept)
    assert revealed.verify().failed == {"reveal": "1 results were added after it"}


def test_a_result_that_was_removed(revealed):
    shutil.rmtree(revealed.entry("topk", "card.json").parent)
    assert "lab__topk" in revealed.verify().failed["results"]
    assert "was removed" in revealed.verify().failed["results"]
    raw = revealed.at("log.jsonl").read_text().splitlines(keepends=True)
    first = "lab__topk" in raw[0]
    revealed.at("log.jsonl").write_text(raw[1] if first else raw[0])
    found = revealed.verify().failed
    assert "1 results were removed" in found["reveal"]
    assert ("chain" in found) == first
    assert "lab/topk was there at the commitment" in found["suites"]


def test_a_result_that_came_later_and_was_removed_with_every_trace(revealed, tmp_path):
    """The folder alone shows nothing of it; a copy from before does, and the receipt that its authors hold."""
    chain(revealed.at(), [*log(revealed.at()), added(revealed)])
    assert list(revealed.verify().failed) == []
    before, receipt = revealed.copy(tmp_path / "before"), json.loads(revealed.at("reveal.json").read_text())["head"]
    shutil.rmtree(revealed.at("entries", "ioi-mini", "lab__more"))
    chain(revealed.at(), log(revealed.at())[:-1])
    assert not revealed.verify().failed
    found = revealed.verify("--against", before.folder, "--receipt", receipt).failed
    assert set(found) == {"since the copy", "receipts"}
    assert "log.jsonl was altered" in found["since the copy"]


def test_an_altered_line_of_the_log(sealed, revealed):
    for board in (sealed, revealed):
        raw = board.at("log.jsonl").read_text()
        board.at("log.jsonl").write_text(raw.replace('"suite":"', '"suite":"else', 1))
        assert "line 2 of log.jsonl does not follow" in board.verify().failed["chain"]


def test_a_revealed_seed_is_no_secret_any_more(revealed):
    """Anybody can try the seeds of the past on a new commitment, before it is opened."""
    old = json.loads(revealed.at("reveal.json").read_text())["seed"]
    record = json.loads(revealed.at("commitment.json").read_text())
    terms = Terms.model_validate(record["terms"] | {"season": "next", "beacon_rule": None})
    folder = hold_season(revealed.folder, {}, **terms.model_dump())
    hash_of_both = commitment_of(terms, bytes.fromhex(old))
    change(folder / "commitment.json", commitment=hash_of_both)
    chain(folder, [])
    assert f"that of the season {NAME!r}" in revealed.verify(name="next").failed["seed of its own"]
    change(revealed.seed, season="next", seed=old, commitment=hash_of_both)
    assert "it was no secret" in revealed("reveal", name="next", code=2).stderr


def test_a_name_that_is_used_again(sealed, tmp_path):
    before = sealed.copy(tmp_path / "before")
    shutil.rmtree(sealed.at())
    sealed.seed = sealed.root / "another.json"
    sealed("commit", *FEW)
    assert not sealed.verify().failed
    found = sealed.verify("--against", before.folder).failed
    assert "commitment.json was altered" in found["since the copy"]
    assert "draw.json was removed" in found["since the copy"]


def test_a_reveal_that_does_not_come(sealed):
    change(sealed.at("commitment.json"), terms__date="2025-12-01", terms__reveal_by="2026-01-01")
    chain(sealed.at(), log(sealed.at()))
    assert sealed.verify().failed == {"reveal": "it was promised for 2026-01-01, and has not come"}


def test_a_season_is_made_of_plain_files_in_its_place(sealed, tmp_path):
    elsewhere = sealed.folder / "seasons" / "moved"
    shutil.copytree(sealed.at(), elsewhere)
    assert "not where it belongs" in sealed("verify", name="moved", code=2).stderr
    assert "there are: 2027-spring" in sealed("verify", name="no-such", code=2).stderr
    assert "is not revealed yet" in sealed("verify", "--evaluate", code=2).stderr
    lines = log(sealed.at())
    chain(sealed.at(), [lines[0] | {"entry": "../../../x/y/z"}])
    assert "log.jsonl line 1" in sealed("verify", code=2).stderr
    card = sealed.entry("topk", "card.json")
    card.rename(tmp_path / "card.json")
    card.symlink_to(tmp_path / "card.json")
    assert "is a link" in sealed("verify", code=2).stderr


# On the leaderboard


def test_pull_requests_leave_seasons_alone(sealed):
    base = listing(sealed.folder)
    new = {f"results/ioi-mini/a__b/11/{name}": "1" for name in ("card.json", "prompts.parquet", "submission.toml")}
    assert changes(base, base | new).faults == ()
    line = next(name for name in base if name.endswith("log.jsonl"))
    assert changes(base, base | {line: "2"}).faults == (f"it changes {line!r}",)
    assert "no part of a submission" in changes(base, base | {"seasons/next/commitment.json": "1"}).faults[0]
    found = CliRunner().invoke(app, ["leaderboard", "verify", str(sealed.folder), "--new", "--json"])
    assert len(json.loads(found.stdout)["submissions"]) == 2  # no result of a season is taken for a submission


def test_the_badge_needs_a_reproduced_card_and_an_unbroken_log(sealed):
    from ioi_bench.leaderboard.records import Check, Verdict

    folder = next(sealed.folder.glob("results/ioi-mini/lab__topk/*"))
    assert read_entry(folder).badge == "self-reported"
    for badge, shown in (("refuted", "refuted"), ("reproduced", "private-season")):
        verdict = Verdict(
            badge=badge,
            suite="somewhere",
            checks=(Check(name="all", passed=True, detail=""),),
            date="2026-01-01",
            versions={},
            card_sha256=sha256(folder / "card.json"),
            prompts_sha256=sha256(folder / "prompts.parquet"),
            submission_sha256=sha256(folder / "submission.toml"),
        )
        (folder / "verdict.json").write_text(verdict.model_dump_json())
        assert read_entry(folder).badge == shown
    card = sealed.entry("topk", "card.json")
    kept = card.read_bytes()
    card.write_bytes(kept + b"\n")
    assert read_entry(folder).badge == "reproduced"
    card.write_bytes(kept)
    assert read_entry(folder).badge == "private-season"
    change(sealed.at("draw.json"), date="2026-01-09")
    assert read_entry(folder).badge == "reproduced"


def test_terms_bind_every_field():
    """Each term changes the hash; so does the seed."""
    terms = some_terms()
    other = {
        "train_prompts": 300,
        "methods": ("exchange", "aware"),
        "budgets": (1, 2, 4, 8),
        "beacon_rule": "a rule",
        "known": (f"ioi-mini/a__b/{'1' * 64}",),
        "prompts": 11,
        "date": "2026-01-02",
        "reveal_by": "2026-01-02",
        "season": "another",
    }
    hashes = {commitment_of(terms, bytes(32)), commitment_of(terms, bytes(31) + b"\1")}
    for name in Terms.model_fields:
        value = other.get(name, "1" * 64)
        hashes.add(commitment_of(terms.model_copy(update={name: value}), bytes(32)))
    assert len(hashes) == 2 + len(Terms.model_fields)
