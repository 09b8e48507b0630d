"""Known answers: what must score 1, what must score 0, and what must change nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch

from ioi_bench.dictionaries.architectures import TopK
from ioi_bench.dictionaries.nulls import standard_null
from ioi_bench.dictionaries.suite import Suite
from ioi_bench.evaluation.bootstrap import Bootstrap, name_pairs
from ioi_bench.evaluation.data import silent
from ioi_bench.evaluation.evaluate import make_study
from ioi_bench.evaluation.runs import COLUMNS
from ioi_bench.evaluation.study import run_study
from ioi_bench.evaluation.summary import cell_draws, score_draws
from ioi_bench.sites import Cell

CELL = Cell.parse("s@out")
METHODS = ("exchange", "aware", "universal")


@dataclass(frozen=True)
class Found:
    s: float
    s_null: float
    score: float


def found(inputs, study, batch_size=256, cell=CELL):
    study = replace(study, cells=(cell,))
    boot = Bootstrap.of(name_pairs(inputs.data.split.prompts), draws=2)
    draws = cell_draws(run_study(study, batch_size, silent).cells[cell], boot)
    scores = {method: score_draws(draws, method) for method in METHODS}
    return {m: Found(s.s[0].item(), s.s_null[0].item(), s.score[0].item()) for m, s in scores.items()}


def study_of(inputs, dictionaries, seed=0):
    suite = Suite("test", "tiny", dictionaries)
    return make_study(suite, inputs, [CELL], METHODS, (1, 2, 4), seed=seed, progress=silent)[0]


@pytest.fixture(scope="module")
def saes(tiny_inputs):
    """A top-k dictionary a site, with directions taken from the data, so that its edits do something."""
    made = {}
    for i, site in enumerate(tiny_inputs.sites_of(tiny_inputs.cells)):
        g = torch.Generator().manual_seed(i)
        train = tiny_inputs.train.activations[site]
        mean = train.mean(0)
        rows = torch.nn.functional.normalize(train[torch.randperm(len(train), generator=g)[:40]] - mean, dim=1)
        made[site] = TopK(W_enc=rows.T.contiguous() * 0.6, b_enc=torch.zeros(40), W_dec=rows, b_dec=mean, k=4)
    return made


@pytest.fixture(scope="module")
def reference(tiny_inputs, saes):
    return found(tiny_inputs, study_of(tiny_inputs, saes))


def test_the_dictionaries_of_these_tests_are_worth_something(reference):
    assert reference["exchange"].s > 0.2


def test_oracle_codes_through_the_same_edit_and_metric_code_score_one(tiny_inputs, saes):
    study = replace(study_of(tiny_inputs, saes), suite=tiny_inputs.skylines["skyline"])
    oracle = found(tiny_inputs, study)
    assert oracle["aware"].s == pytest.approx(1, abs=0.02)
    assert oracle["universal"].s == pytest.approx(1, abs=0.02)
    assert 0 < oracle["exchange"].s <= 1.02


def test_oracle_codes_exchanged_one_by_one_end_where_the_skyline_does_or_before(tiny_inputs, saes):
    """Rounds stop where no code brings the activation nearer, so that they carry no more than the skyline's edit."""
    study = replace(study_of(tiny_inputs, saes), suite=tiny_inputs.skylines["skyline"], cells=(CELL,))
    table = run_study(study, 256, silent).cells[CELL]
    of = {key: table.edits[:, i] for i, key in enumerate(table.keys)}

    def accuracy(edit):
        return edit[:, COLUMNS.index("accuracy")].mean().item()

    def carried(edit):
        weight, had, far = (edit[:, COLUMNS.index(name)] for name in ("weight", "effect", "moved"))
        return (weight * had * far).nansum().item() / len(edit)

    once, twice, skyline = (of[key] for key in (("exchange", 1), ("exchange", 2), ("skyline", 1)))
    assert accuracy(twice) == pytest.approx(accuracy(skyline), abs=0.01)
    assert accuracy(of["no-edit", 0]) < accuracy(once) < accuracy(twice)
    assert carried(once) < carried(twice) <= carried(skyline)


def test_random_dictionaries_score_nothing(tiny_inputs):
    scores = []
    for seed in range(4):
        nulls = {
            site: standard_null(values, 1000 * seed + i)
            for i, (site, values) in enumerate(tiny_inputs.train.activations.items())
        }
        scores.append(found(tiny_inputs, study_of(tiny_inputs, nulls))["universal"].score)
    assert sum(scores) / len(scores) == pytest.approx(0, abs=0.1)


def silenced(sae):
    """No feature is ever active."""
    return replace(sae, b_enc=sae.b_enc - 1e6)


def weights_and_moves(inputs, dictionaries):
    table = run_study(replace(study_of(inputs, dictionaries), cells=(CELL,)), 256, silent).cells[CELL]
    edits = [i for i, (method, _) in enumerate(table.keys) if method in METHODS]
    found = table.edits[:, edits]
    weight, had, moved = (found[..., COLUMNS.index(name)] for name in ("weight", "effect", "moved"))
    return weight * had, moved  # weights as they are before they are divided by the prompt's effect


def test_a_site_counts_by_how_far_it_is_moved_so_that_silent_sites_do_not_pay(tiny_inputs, saes):
    sites = tiny_inputs.sites_of((CELL,))
    assert len(sites) > 1
    weight, moved = weights_and_moves(tiny_inputs, saes)
    carried, moves = torch.zeros_like(weight), torch.zeros_like(moved)
    for speaks in sites:
        alone = {site: sae if site == speaks else silenced(sae) for site, sae in saes.items()}
        own_weight, own_moved = weights_and_moves(tiny_inputs, alone)
        carried += own_weight * own_moved
        moves += own_moved
    assert moved == pytest.approx(moves, rel=1e-4, abs=1e-6)
    assert weight * moved == pytest.approx(carried, rel=1e-3, abs=1e-5)


def changed(saes, change):
    return {site: change(sae) for site, sae in saes.items()}


def permuted(sae):
    order = torch.randperm(sae.d_sae, generator=torch.Generator().manual_seed(1))
    parts = {"W_enc": sae.W_enc[:, order], "b_enc": sae.b_enc[order], "W_dec": sae.W_dec[order]}
    return replace(sae, **parts)


def with_dead_copies(sae):
    """Every feature again, with a bias that never lets it fire."""
    return replace(
        sae,
        W_enc=torch.cat([sae.W_enc, sae.W_enc], 1),
        b_enc=torch.cat([sae.b_enc, sae.b_enc - 1e6]),
        W_dec=torch.cat([sae.W_dec, sae.W_dec]),
    )


class Rescaled:
    """Features c_j times as large, directions 1/c_j times as long."""

    def __init__(self, sae):
        self.sae, self.d_in, self.d_sae = sae, sae.d_in, sae.d_sae
        self.factors = 2.0 ** torch.linspace(-3, 3, sae.d_sae).round()
        self.directions, self.offset = sae.directions / self.factors[:, None], sae.offset

    def encode(self, x):
        return self.sae.encode(x) * self.factors

    def decode(self, f):
        return f @ self.directions + self.offset


class WithConstant:
    """One more feature, always on, that the offset takes back: the reconstruction is the same."""

    def __init__(self, sae, size=30.0):
        self.sae, self.d_in, self.d_sae, self.size = sae, sae.d_in, sae.d_sae + 1, size
        aside = torch.randn(1, sae.d_in, generator=torch.Generator().manual_seed(3))
        self.directions = torch.cat([sae.directions, aside])
        self.offset = sae.offset - size * aside[0]

    def encode(self, x):
        return torch.cat([self.sae.encode(x), torch.full((len(x), 1), self.size)], 1)

    def decode(self, f):
        return f @ self.directions + self.offset


@pytest.mark.parametrize(
    ("change", "methods"),
    # F1 counts prompts, so that features of few prompts tie, and the order of the latents decides between them.
    [(permuted, ("exchange",)), (with_dead_copies, METHODS), (Rescaled, METHODS)],
)
def test_what_is_the_same_dictionary_scores_the_same(tiny_inputs, saes, reference, change, methods):
    again = found(tiny_inputs, study_of(tiny_inputs, changed(saes, change)))
    for method in methods:
        assert again[method].score == pytest.approx(reference[method].score, abs=1e-5)


def test_a_constant_feature_earns_and_costs_nothing(tiny_inputs, saes, reference):
    again = found(tiny_inputs, study_of(tiny_inputs, changed(saes, WithConstant)))
    for method in METHODS:
        assert again[method].score == pytest.approx(reference[method].score, abs=0.01)


def test_the_batch_size_changes_nothing(tiny_inputs, saes, reference):
    again = found(tiny_inputs, study_of(tiny_inputs, saes), batch_size=7)
    for method in METHODS:
        assert again[method].score == pytest.approx(reference[method].score, abs=1e-5)


def test_a_site_without_a_dictionary_counts_as_random_and_not_as_the_identity(tiny_inputs, saes):
    sites = tiny_inputs.sites["out"]
    full = study_of(tiny_inputs, saes)
    oracle = replace(full, suite=tiny_inputs.skylines["skyline"])
    lacking, missing = make_study(
        Suite("test", "tiny", {sites[0]: saes[sites[0]]}),
        tiny_inputs,
        [CELL],
        METHODS,
        (1, 2, 4),
        seed=0,
        progress=silent,
    )
    assert missing == set(tiny_inputs.sites_of(tiny_inputs.cells)) - {sites[0]}
    partly = replace(oracle, suite={**oracle.suite, **{site: lacking.suite[site] for site in sites[1:]}})
    assert found(tiny_inputs, partly)["aware"].s < 0.9 * found(tiny_inputs, oracle)["aware"].s


def test_the_number_of_threads_changes_nothing(tiny_inputs, saes, reference):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        again = found(tiny_inputs, study_of(tiny_inputs, saes), batch_size=30)
    finally:
        torch.set_num_threads(before)
    for method in METHODS:
        assert again[method].score == pytest.approx(reference[method].score, abs=1e-5)
