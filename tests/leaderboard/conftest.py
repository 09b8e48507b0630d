"""One small card that all tests of the leaderboard share: a shipped suite on 100 prompts."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from ioi_bench.evaluation.card import Card
from ioi_bench.evaluation.evaluate import evaluate
from ioi_bench.leaderboard.checks import Needs

SUITE = Path(__file__).parents[2] / "reference_saes" / "ioi-mini" / "topk-k3-s0"


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """``folder`` with what `evaluate` wrote, ``card``, ``suite`` (a path) and ``needs`` that the card meets."""
    folder = tmp_path_factory.mktemp("small-card")
    evaluate(SUITE, prompts=100, train_prompts=500, budgets=(1, 2, 4), methods=("exchange",), out=folder)
    return SimpleNamespace(
        folder=folder,
        card=Card.read(folder),
        prompts=folder / "prompts.parquet",
        suite=SUITE,
        needs=Needs(prompts=100, full_train=False),
    )
