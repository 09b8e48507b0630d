"""Models that several tests share: GPT-2's real tokenizer, and random GPT-2s on disk."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

# Small tensors gain nothing from a second thread, and lose a hundredfold where other processes hold the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))  # benchmarks/ is a folder of the repository, not of the package

from benchmarks import _offline_gpt2

if TYPE_CHECKING:
    from ioi_bench.lm import LanguageModel


@pytest.fixture(scope="session")
def gpt2_tokenizer() -> Any:
    """The real GPT-2 BPE."""
    return _offline_gpt2.gpt2_tokenizer()


@pytest.fixture(scope="session")
def gpt2_dir(tmp_path_factory: pytest.TempPathFactory, gpt2_tokenizer: Any) -> Path:
    """A randomly initialised GPT-2 of the true size, with the real tokenizer (500 MB: for slow tests)."""
    return _offline_gpt2.save_random_gpt2(tmp_path_factory.mktemp("gpt2-random"), gpt2_tokenizer, scale=2.0)


@pytest.fixture(scope="session")
def tiny_gpt2_dir(tmp_path_factory: pytest.TempPathFactory, gpt2_tokenizer: Any) -> Path:
    """A random GPT-2 with 3 layers of 4 heads of width 8, with the real tokenizer."""
    directory = tmp_path_factory.mktemp("gpt2-tiny")
    sizes = {"n_layer": 3, "n_embd": 32, "n_head": 4, "n_positions": 64}
    return _offline_gpt2.save_random_gpt2(directory, gpt2_tokenizer, scale=10.0, **sizes)


@pytest.fixture(scope="session")
def tiny_gpt2(tiny_gpt2_dir: Path) -> LanguageModel:
    """The model of ``tiny_gpt2_dir``, loaded."""
    from ioi_bench.lm import load_model

    return load_model(tiny_gpt2_dir)


@pytest.fixture(scope="session")
def small_card(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A shipped suite on 100 prompts, for tests of the leaderboard.

    ``folder`` holds what `evaluate` wrote, ``card`` is its card, ``prompts`` its file of prompts, ``suite`` the suite's
    folder, and ``needs`` what a leaderboard may ask for so that the card passes.
    """
    from ioi_bench.evaluation.card import Card
    from ioi_bench.evaluation.evaluate import evaluate
    from ioi_bench.leaderboard.checks import Needs

    suite = Path(__file__).parents[1] / "reference_saes" / "ioi-mini" / "topk-k3-s0"
    folder = tmp_path_factory.mktemp("small-card")
    evaluate(suite, prompts=100, train_prompts=500, budgets=(1, 2, 4), methods=("exchange",), out=folder)
    return SimpleNamespace(
        folder=folder,
        card=Card.read(folder),
        prompts=folder / "prompts.parquet",
        suite=suite,
        needs=Needs(prompts=100, full_train=False),
    )


@pytest.fixture(scope="session")
def cards(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of real cards on the same prompts: ``topk``, ``gated``."""
    from ioi_bench.evaluation.evaluate import evaluate

    folders = {}
    for kind in ("topk", "gated"):
        suite = sorted((Path(__file__).parents[1] / "reference_saes" / "ioi-mini").glob(f"{kind}*-s0"))[0]
        folders[kind] = tmp_path_factory.mktemp(kind)
        # `nm-qk` is not ranked on this track: a cell to grey.
        evaluate(
            str(suite),
            prompts=120,
            train_prompts=500,
            budgets=(1, 2, 4, 8),
            methods=("exchange", "aware", "universal"),
            preflight=False,
            out=folders[kind],
        )
    return folders
