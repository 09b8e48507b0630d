"""Seasons in a folder: run by the command line, made by hand, and forged."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

from typer.testing import CliRunner

from ioi_bench.cli.app import app
from ioi_bench.leaderboard.results import CARD, SUBMISSION, entry_key
from ioi_bench.leaderboard.seasons.records import Commitment, Draw, Terms

HASH = "0123456789abcdef" * 4
NAME, PROMPTS = "2027-spring", 40
RULE, BEACON = "the first drand round after 2027-05-01T00:00Z", "a3f1" * 16
FEW = ("--prompts", PROMPTS, "--train-prompts", 300, "--methods", "exchange")


class Board:
    """A leaderboard, the maintainer's private folder beside it, and the command line."""

    def __init__(self, root):
        self.root, self.folder, self.seed = root, root / "board", root / "private" / "seed.json"

    def __call__(self, command, *words, name=NAME, code=0):
        """Run ``ioi-bench season COMMAND NAME``; its stdout, or stderr where it must fail."""
        words = ["season", command, name, *words, "--leaderboard", self.folder]
        if command != "verify":
            words += ["--seed-file", self.seed]
        done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
        assert done.exit_code == code, (done.stdout, done.stderr)
        return SimpleNamespace(stdout=done.stdout, stderr=" ".join(done.stderr.split()))

    def verify(self, *words, name=NAME):
        """What ``season verify`` says: the details of all checks, and of those that fail."""
        words = ["season", "verify", name, *words, "--leaderboard", self.folder, "--json"]
        done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
        checks = json.loads(done.stdout)
        details = {check["name"]: check["detail"] for check in checks}
        failed = {check["name"]: check["detail"] for check in checks if not check["passed"]}
        assert done.exit_code == (1 if failed else 0)
        return SimpleNamespace(names=list(details), details=details, failed=failed)

    def at(self, *names):
        """A file of the season."""
        return self.folder.joinpath("seasons", NAME, *names)

    def entry(self, suite, file):
        """A file of one of its results."""
        return next(self.at("entries", "ioi-mini", f"lab__{suite}").glob(f"*/{file}"))

    def copy(self, to):
        shutil.copytree(self.root, to)
        return Board(to)


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def some_terms(**said):
    """Terms that no seed belongs to."""
    terms = {
        "season": "some-season",
        "track": "ioi-mini",
        "spec": "ioi-v1-mini",
        "spec_sha256": HASH,
        "model": "ioi-mini",
        "model_sha256": HASH,
        "circuit_sha256": HASH,
        "prompts": 10,
        "train_prompts": None,
        "methods": ("exchange",),
        "budgets": (1, 2, 4),
        "scoring": "ioi-v1",
        "generator": "g",
        "prompts_sha256": HASH,
        "beacon_rule": None,
        "known": (),
        "ioi_bench": "0.1.0",
        "date": "2026-01-01",
        "reveal_by": None,
    }
    return Terms.model_validate(terms | said)


def hold_season(board: Path, cards, **said) -> Path:
    """A sealed season, made by hand, in which submissions (their folders) have these cards; its folder."""
    terms = some_terms(**said)
    folder = board / "seasons" / terms.season
    folder.mkdir(parents=True)
    (folder / "commitment.json").write_text(Commitment(terms=terms, commitment=HASH).model_dump_json())
    draw = Draw(
        season=terms.season,
        commitment_file=sha256(folder / "commitment.json"),
        beacon=None,
        prompts_sha256=HASH,
        date="2026-01-02",
    )
    (folder / "draw.json").write_text(draw.model_dump_json())
    lines = []
    for submission, card in cards.items():
        key = entry_key(submission)
        place = folder / "entries" / key
        place.mkdir(parents=True)
        card.write(place / CARD)
        line = {
            "entry": key,
            "submission_sha256": sha256(submission / SUBMISSION),
            "suite": "somewhere",
            "suite_sha256_found": card.made.suite_sha256,
            "card_sha256": sha256(place / CARD),
            "prompts_sha256": HASH,
            "date": "2026-01-03",
        }
        lines.append(line)
    chain(folder, lines)
    return folder


def log(folder):
    """What the log of a season says."""
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def chain(folder, lines):
    """Write a log whose lines follow on each other, and a ``reveal.json`` that names its end, if there is one."""
    draw = folder / "draw.json"
    said = json.loads(draw.read_text()) | {"commitment_file": sha256(folder / "commitment.json")}
    draw.write_text(json.dumps(said))
    before, written = sha256(draw), []
    for number, line in enumerate(lines, start=1):
        data = json.dumps(line | {"number": number, "previous": before})
        before = hashlib.sha256(data.encode()).hexdigest()
        written.append(data + "\n")
    (folder / "log.jsonl").write_text("".join(written))
    if (folder / "reveal.json").exists():
        change(folder / "reveal.json", lines=len(lines), head=before)


def change(path, **values):
    """Other values in a JSON file; ``a__b`` is b of a."""
    data = json.loads(path.read_text())
    for name, value in values.items():
        *above, last = name.split("__")
        at = data
        for key in above:
            at = at[key]
        at[last] = value
    path.write_text(json.dumps(data))
