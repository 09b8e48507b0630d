"""Cards as an evaluation writes them, a leaderboard of them, and the browser."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from page_examples import HOSTILE, changed, submit

from ioi_bench.evaluation.card import Card
from ioi_bench.pages.site import Site


@pytest.fixture(scope="session")
def page_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the figure's script is kept for all tests."""
    return tmp_path_factory.mktemp("page-cache")


@pytest.fixture(scope="session")
def results(cards: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every badge, an unscored suite, a hostile one, files that disagree, a second track, and a broken folder."""
    results = tmp_path_factory.mktemp("leaderboard") / "results"
    topk, gated = Card.read(cards["topk"]), Card.read(cards["gated"])
    prompts = {kind: folder / "prompts.parquet" for kind, folder in cards.items()}
    submit(results, topk, prompts["topk"], "some-lab/topk-a", "reproduced", url="https://example.org/paper")
    submit(results, changed(topk, name="b"), prompts["topk"], "other-lab/topk-b", "private-season")
    submit(results, gated, prompts["gated"], "some-lab/gated-a")
    submit(results, changed(gated, name="low", shift=-0.2), None, "other-lab/gated-low", "reproduced")
    submit(results, changed(gated, name="false", shift=0.3), None, "bad-lab/too-good", "refuted")
    submit(results, changed(gated, name="more", shift=0.3), prompts["gated"], "bad-lab/more-than-it-has")
    submit(results, changed(gated, name="none"), None, "bad-lab/no-prompts")
    empty = topk.headline["exchange"].model_copy(
        update={"score": topk.headline["exchange"].score.model_copy(update={"value": None, "low": None, "high": None})}
    )
    unscored = changed(topk.model_copy(update={"headline": {"exchange": empty}}), name="unscored")
    submit(results, unscored, prompts["topk"], "some-lab/unscored")
    hostile = changed(
        topk,
        name=HOSTILE,
        architectures=(HOSTILE,),
        source=HOSTILE,
        loader=HOSTILE,
        options={HOSTILE: HOSTILE},
        plugins={HOSTILE: HOSTILE},
        versions={HOSTILE: HOSTILE},
    )
    cells = tuple(
        cell if cell.ranked else cell.model_copy(update={"reason": HOSTILE, "missing_sites": (HOSTILE,)})
        for cell in hostile.cells
    )
    hostile = hostile.model_copy(update={"cells": cells})
    submit(
        results,
        hostile,
        prompts["topk"],
        "evil-lab/hostile",
        authors=(HOSTILE, "javascript:alert(1)"),
        training_data=HOSTILE,
        suite="javascript:document.title='owned'//" + HOSTILE,
    )
    submit(results, changed(gated, name="elsewhere", track="other-track"), prompts["gated"], "some-lab/elsewhere")
    broken = submit(results, changed(topk, name="broken"), prompts["topk"], "some-lab/broken")
    (broken / "card.json").write_text("{")
    return results


@pytest.fixture(scope="session")
def site(results: Path, page_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    out = tmp_path_factory.mktemp("site") / "out"
    Site(results, out, cache_dir=page_cache).build()
    return out


@pytest.fixture(scope="session")
def browser():
    """Debian's chromium. In CI it must be there; elsewhere its tests are left out without it."""
    path = shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        sync_playwright = None
    if path is None or sync_playwright is None:
        assert not os.environ.get("CI"), "CI must have chromium (.ci/run installs it) and playwright (the dev extra)"
        pytest.skip("no chromium here, or no playwright")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])  # as root it has none
        yield browser
        browser.close()
