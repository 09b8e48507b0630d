"""Submissions to build pages from."""

from __future__ import annotations

import hashlib
import shutil
from html.parser import HTMLParser
from pathlib import Path

import tomli_w
from season_boards import hold_season

from ioi_bench.evaluation.card import Card
from ioi_bench.leaderboard.records import Check, Submission, Verdict
from ioi_bench.leaderboard.results import CARD, PROMPTS, SUBMISSION, VERDICT, entry_folder

SUITE = "hf://some-lab/saes@" + "0123456789abcdef" * 2 + "01234567/topk"
SEASON_SHIFT = -0.1
HOSTILE = "<script>document.title='owned'</script>\"'><img src=x onerror=\"document.title='owned'\">"


def changed(card: Card, *, track: str | None = None, shift: float = 0.0, name: str = "suite", **made: object) -> Card:
    """The card under another hash; ``shift`` moves its headline scores, which its prompts then contradict."""
    digest = hashlib.sha256(f"{name} {track} {shift} {made}".encode()).hexdigest()
    scores = {}
    for method, one in card.headline.items():
        moved = {key: None if (x := getattr(one.score, key)) is None else x + shift for key in ("value", "low", "high")}
        scores[method] = one.model_copy(update={"score": one.score.model_copy(update=moved)})
    new_made = card.made.model_copy(update={"suite": name, "suite_sha256": digest, **made})
    return card.model_copy(update={"made": new_made, "headline": scores, "track": track or card.track})


def submit(
    results: Path, card: Card, prompts: Path | None, name: str, badge: str | None = None, **said: object
) -> Path:
    """Write a submission's files; without ``prompts`` its table of prompts is no parquet file."""
    fields = {
        "name": name,
        "authors": ("Ada Example",),
        "training_data": "The train prompts of ioi-v1-mini.",
        "licence": "Apache-2.0",
        "suite": SUITE,
        "suite_sha256": card.made.suite_sha256,
    }
    submission = Submission.model_validate(fields | said)
    folder = entry_folder(results, card.track, submission)
    folder.mkdir(parents=True)
    card.write(folder / CARD)
    if prompts is None:
        (folder / PROMPTS).write_bytes(b"not parquet")
    else:
        shutil.copy(prompts, folder / PROMPTS)
    (folder / SUBMISSION).write_bytes(tomli_w.dumps(submission.model_dump(exclude_none=True)).encode())
    if badge is not None:
        verify(folder, "reproduced" if badge == "private-season" else badge)
    if badge == "private-season":
        hold_season(results.parent, {folder: changed(card, shift=SEASON_SHIFT)}, season="some-season")
    return folder


def verify(folder: Path, badge: str) -> None:
    """Write a verdict that covers the folder's files."""
    files = (CARD, PROMPTS, SUBMISSION)
    card, prompts, said = (hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files)
    held = badge != "refuted"
    check = Check(name="per-prompt results", passed=held, detail="100 rows", worst=0.0 if held else 0.3, tolerance=1e-4)
    verdict = Verdict(
        badge=badge,
        suite=SUITE,
        checks=(check,),
        date="2026-01-02",
        versions={"ioi-bench": "0.1.0"},
        card_sha256=card,
        prompts_sha256=prompts,
        submission_sha256=said,
    )
    (folder / VERDICT).write_text(verdict.model_dump_json())


class Page(HTMLParser):
    """All elements of a page, with their attributes, and its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements, self.text = [], ""
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]
