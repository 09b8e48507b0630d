"""Known answers on the model that is shipped: the skyline 1, random 0, memory little, constants nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ioi_bench.dictionaries.nulls import codebook, matched_null
from ioi_bench.dictionaries.suite import Suite
from ioi_bench.evaluation.bootstrap import Bootstrap, name_pairs
from ioi_bench.evaluation.data import Capture, silent
from ioi_bench.evaluation.evaluate import make_study
from ioi_bench.evaluation.inputs import gather
from ioi_bench.evaluation.study import run_study
from ioi_bench.evaluation.summary import cell_draws, headline_score, score_draws
from ioi_bench.lm.circuit import load_circuit
from ioi_bench.lm.model import load_model
from ioi_bench.sites import Cell
from ioi_bench.task import task_spec

METHODS = ("exchange", "aware", "universal")
PROMPTS, TRAIN_PROMPTS = 400, 3000


@pytest.fixture(scope="module")
def inputs():
    circuit = load_circuit("ioi-mini")
    ranked = tuple(cell for cell, found in circuit.ranked.items() if found.ranked)
    spec = task_spec(circuit.task)
    capture = Capture(load_model("ioi-mini"), 256, None, silent)
    circuit = replace(circuit, headline=ranked, further=())
    return gather(
        capture, circuit, spec.split("test").head(PROMPTS), spec.split("train").head(TRAIN_PROMPTS), mse=False
    )


def study_of(inputs, dictionaries):
    suite = Suite("test", "ioi-mini", dictionaries)
    return make_study(suite, inputs, inputs.cells, METHODS, (1, 2, 4), seed=0, progress=silent)[0]


def scores(inputs, study):
    """By method: S of every cell, and the IOI score."""
    boot = Bootstrap.of(name_pairs(inputs.data.split.prompts), draws=2)
    draws = {cell: cell_draws(table, boot) for cell, table in run_study(study, 256, silent).cells.items()}
    found = {method: {cell: score_draws(own, method) for cell, own in draws.items()} for method in METHODS}
    s = {method: {str(cell): own.s[0].item() for cell, own in cells.items()} for method, cells in found.items()}
    ioi = {method: headline_score(list(cells.values())).score.value for method, cells in found.items()}
    return s, ioi


@pytest.fixture(scope="module")
def codebooks(inputs):
    return {site: codebook(train, 512, i) for i, (site, train) in enumerate(inputs.train.activations.items())}


@pytest.fixture(scope="module")
def codebook_study(inputs, codebooks):
    return study_of(inputs, codebooks)


def test_the_skylines_oracle_scores_one_in_every_ranked_cell(inputs, codebook_study):
    s, _ = scores(inputs, replace(codebook_study, suite=inputs.skylines["skyline"]))
    assert max(s["exchange"].values()) <= 1.02  # codes are exchanged one by one: two rounds for what aware does in one
    for method in ("aware", "universal"):
        assert list(s[method].values()) == pytest.approx([1.0] * len(s[method]), abs=0.02)


def test_memorised_activations_earn_little_by_any_edit(inputs, codebook_study):
    _, ioi = scores(inputs, codebook_study)
    assert max(ioi.values()) <= 0.10


def test_random_dictionaries_score_nothing(inputs, codebook_study):
    found = []
    for seed in range(4):
        random = {
            site: matched_null(replace(codes.use, l0=3.0), inputs.train.activations[site], (seed + 1) * 10**6 + i)
            for i, (site, codes) in enumerate(codebook_study.suite.items())
        }
        s, ioi = scores(inputs, study_of(inputs, random))
        assert max(s["exchange"].values()) <= 0.1
        assert ioi["exchange"] <= 0.05
        found.append(ioi["exchange"])
    # Below the null a difference counts up to tenfold, so that a single draw may be some hundredths off.
    assert sum(found) / len(found) == pytest.approx(0, abs=0.05)


def test_the_cells_are_the_tracks(inputs):
    assert Cell.parse("io@nm-out") in inputs.cells
    assert len(inputs.cells) >= 5
