"""An honest season on a leaderboard of two suites, in each of its states."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from boards import changed, hand_in
from season_boards import BEACON, FEW, RULE, Board

from ioi_bench.dictionaries.suite import load_suite


@pytest.fixture(scope="session")
def states(tmp_path_factory, small_card):
    """An honest season with two suites: as it was ``committed``, ``sealed`` (judged), and ``revealed``."""
    root = tmp_path_factory.mktemp("season")
    board = Board(root / "now")
    for name in ("topk-k3", "relu"):
        suite = small_card.suite.parent / f"{name}-s0"
        card = changed(small_card.card, "made", "suite_sha256", to=load_suite(suite).sha256)
        hand_in(board.folder, card, small_card.prompts, suite, name=f"lab/{name.partition('-')[0]}")
    told = [board("commit", *FEW, "--beacon-rule", RULE)]
    committed = board.copy(root / "committed")
    told.append(board("evaluate", "--beacon", BEACON))
    sealed = board.copy(root / "sealed")
    told.append(board("reveal", "--json"))
    return SimpleNamespace(committed=committed, sealed=sealed, revealed=board, told=told)


@pytest.fixture
def committed(states, tmp_path):
    return states.committed.copy(tmp_path / "committed")


@pytest.fixture
def sealed(states, tmp_path):
    return states.sealed.copy(tmp_path / "sealed")


@pytest.fixture
def revealed(states, tmp_path):
    return states.revealed.copy(tmp_path / "revealed")


@pytest.fixture
def no_evaluation(monkeypatch):
    """It is refused before the work."""

    def work(*_, **__):
        raise AssertionError("it was evaluated")

    monkeypatch.setattr("ioi_bench.evaluation.evaluate.evaluate", work)
