"""The leaderboard's pages at 2,000 submissions: seconds to build them, and milliseconds to sort the table.

The submissions are variations of a real card: an ioi-mini suite's results per prompt, with part of the right edits made
wrong, and the card's score drawn anew from them, so that every one is read, checked and compared as a real one is.
There are `TABLES` different tables of prompts; the submissions share these files, each under a card and a hash of its
own. Sorting is timed in chromium, from the click to the frame after it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tomli_w
import torch

from ioi_bench.evaluation.bootstrap import interval
from ioi_bench.evaluation.card import Card, Figure, HeadlineScore
from ioi_bench.evaluation.evaluate import evaluate
from ioi_bench.leaderboard.records import Submission
from ioi_bench.leaderboard.results import CARD, PROMPTS, SUBMISSION, entry_folder
from ioi_bench.pages.shown import of_card
from ioi_bench.pages.site import Site
from ioi_bench.uncertainty.draws import draw_score

SUBMISSIONS, TABLES, PROMPTS_EACH = 2000, 40, 1000
SECONDS, MILLISECONDS = 60.0, 200.0
COLUMNS = ("c-score", "c-name", "c-l0", "c-arch", "c-badge", "c-cell", "c-rank")
SUITES = Path(__file__).parents[1] / "reference_saes" / "ioi-mini"
_SORT = """async (column) => {
  const order = document.querySelector(`table.ranking thead th.${column}`);
  const started = performance.now();
  order.click();
  await new Promise((drawn) => requestAnimationFrame(() => setTimeout(drawn)));
  return performance.now() - started;
}"""


def variations(folder: Path) -> list[Path]:
    """Folders with a card and its prompts, of falling score."""
    base = folder / "base"
    suite = sorted(SUITES.glob("topk*-s0"))[0]
    evaluate(str(suite), prompts=PROMPTS_EACH, budgets=(1, 2, 4), methods=("exchange", "aware", "universal"), out=base)
    frame, card = pd.read_parquet(base / PROMPTS), Card.read(base)
    edited, draw = (frame["method"] == "exchange").to_numpy(), np.random.default_rng(0).random(len(frame))
    made = []
    for i in range(TABLES):
        own = folder / f"{i}"
        own.mkdir()
        changed = frame.assign(accuracy=frame["accuracy"] & ~(edited & (draw < i / TABLES)))
        changed.to_parquet(own / PROMPTS, index=False)
        card.write(own / CARD)
        shown = of_card(own, i)
        draws = draw_score(shown.card, own)
        found = interval(torch.from_numpy(draws.scores))
        score = HeadlineScore(score=Figure(value=found.value, low=found.low, high=found.high), n_cells=5)
        card.model_copy(update={"headline": {**card.headline, "exchange": score}}).write(own / CARD)
        made.append(own)
    return made


def submit_all(results: Path, made: list[Path]) -> None:
    cards = [Card.read(folder) for folder in made]
    for i in range(SUBMISSIONS):
        card, digest = cards[i % TABLES], hashlib.sha256(str(i).encode()).hexdigest()
        new = {"suite_sha256": digest, "suite": f"suite-{i}", "architectures": (("topk", "gated", "relu")[i % 3],)}
        card = card.model_copy(update={"made": card.made.model_copy(update=new)})
        submission = Submission(
            name=f"lab-{i % 97}/suite-{i}",
            authors=("Ada Example", "Ben Muster"),
            training_data="The train prompts.",
            licence="Apache-2.0",
            suite=f"hf://lab/saes@{digest[:40]}/suite-{i}",
            suite_sha256=digest,
        )
        folder = entry_folder(results, card.track, submission)
        folder.mkdir(parents=True)
        (folder / CARD).write_text(card.model_dump_json(indent=1))
        os.link(made[i % TABLES] / PROMPTS, folder / PROMPTS)
        (folder / SUBMISSION).write_bytes(tomli_w.dumps(submission.model_dump(exclude_none=True)).encode())


def sort_milliseconds(index: Path) -> list[float]:
    """Per column, the slower of its two directions, median of three rounds."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium")
    assert path, "sorting is timed in chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.goto(index.as_uri(), timeout=120_000)
        page.wait_for_selector(".chart.drawn", timeout=120_000)
        assert page.evaluate("new Set(Array.from(document.querySelectorAll('th[aria-sort]'))).size") == 1
        times = []
        for column in COLUMNS:
            rounds = [max(page.evaluate(_SORT, column) for _ in range(2)) for _ in range(3)]
            times.append(statistics.median(rounds))
        browser.close()
    return times


def run() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        (folder / "made").mkdir()
        submit_all(folder / "results", variations(folder / "made"))
        started, cpu = time.perf_counter(), sum(os.times()[:4])
        site = Site(folder / "results", folder / "site")
        built = site.build()
        seconds, cpu = time.perf_counter() - started, sum(os.times()[:4]) - cpu
        assert built.suites == SUBMISSIONS
        assert not built.unreadable
        started = time.perf_counter()
        site.build()
        again = time.perf_counter() - started
        size = (folder / "site" / "index.html").stat().st_size
        slowest = max(sort_milliseconds(folder / "site" / "index.html"))
    build = {"seconds": seconds, "processor_seconds": cpu, "again_seconds": again, "index_mb": size / 1e6}
    return [
        {
            "name": f"leaderboard of {SUBMISSIONS:,} submissions: {SECONDS:.0f} s over the build's",
            "ratio": SECONDS / seconds,
            "goal": 1.0,
            **build,
        },
        {
            "name": f"leaderboard of {SUBMISSIONS:,} submissions: {MILLISECONDS:.0f} ms over the slowest sort's",
            "ratio": MILLISECONDS / slowest,
            "goal": 1.0,
            "milliseconds": slowest,
        },
    ]


if __name__ == "__main__":
    for found in run():
        print(f"{found['name']}: {found['ratio']:.2f}×")
