"""Seasons in a folder: made by hand, and forged."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from ioi_bench.leaderboard.results import CARD, SUBMISSION, entry_key
from ioi_bench.leaderboard.seasons.records import Commitment, Draw, Terms

HASH = "0123456789abcdef" * 4


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
