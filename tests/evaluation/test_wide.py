"""Wide dictionaries are held sparse: the same figures as when they are held whole, and nothing dense."""

from __future__ import annotations

import pytest
import torch

from ioi_bench.dictionaries.architectures import Gated, Relu, Skyline, TopK
from ioi_bench.dictionaries.narrow import narrowed
from ioi_bench.dictionaries.nulls import standard_null
from ioi_bench.dictionaries.suite import Suite
from ioi_bench.editing import feature_statistics
from ioi_bench.evaluation import codes
from ioi_bench.evaluation.data import silent
from ioi_bench.evaluation.evaluate import evaluate, make_study
from ioi_bench.evaluation.sparse import active_features, kept_features, wide_statistics
from ioi_bench.evaluation.study import run_study
from ioi_bench.sites import Cell

METHODS = ("exchange", "split", "aware", "universal")


def drawn(*shape, seed=0, scale=1.0):
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def sae(d_in, d_sae, k=3, seed=0):
    rows = torch.nn.functional.normalize(drawn(d_sae, d_in, seed=seed), dim=1)
    bias = -torch.linspace(0, 3, d_sae)  # the later ones hardly ever fire, or never
    return TopK(W_enc=rows.T.contiguous(), b_enc=bias, W_dec=rows, b_dec=torch.zeros(d_in), k=k)


class Opaque:
    """A dictionary of somebody else's: it is not known how its features compete."""

    def __init__(self, inner):
        self.inner, self.d_in, self.d_sae = inner, inner.d_in, inner.d_sae

    def encode(self, x):
        return self.inner.encode(x)

    def decode(self, f):
        return self.inner.decode(f)


def cells_of(study, cells):
    return {cell: table for cell, table in run_study(study, 64, silent).cells.items() if cell in cells}


@pytest.mark.parametrize("wrap", [lambda it: it, Opaque])
def test_held_sparse_a_dictionary_gets_the_figures_that_it_gets_held_whole(tiny_inputs, monkeypatch, wrap):
    """Every column of every prompt, edit and null: the edits choose the same features at every budget."""
    sites = tiny_inputs.sites_of(tiny_inputs.cells)
    suite = Suite("s", "tiny", {site: wrap(sae(8, 300, seed=i)) for i, site in enumerate(sites)})
    scored = [Cell.parse("s@out")]

    def tables():
        study, _ = make_study(suite, tiny_inputs, scored, METHODS, (1, 2, 4, 16), seed=0, progress=silent)
        return study, run_study(study, 64, silent)

    whole_study, whole = tables()
    monkeypatch.setattr(codes, "_WIDE", 0)
    sparse_study, sparse = tables()
    site = sites[0]
    assert len(sparse_study.suite[site].decoder.directions) < 300
    for site in sites:
        every, few = whole_study.suite[site].explanations, sparse_study.suite[site].explanations
        assert every.alive.sum() == few.alive.sum()
        torch.testing.assert_close(few.f1[:, few.alive], every.f1[:, every.alive], atol=0, rtol=0)
    site = sites[0]
    assert sparse_study.suite[site].dead_share == pytest.approx(whole_study.suite[site].dead_share)
    for cell, table in whole.cells.items():
        torch.testing.assert_close(sparse.cells[cell].edits, table.edits, atol=2e-4, rtol=1e-3, equal_nan=True)
        torch.testing.assert_close(sparse.cells[cell].null, table.null, atol=2e-4, rtol=1e-3, equal_nan=True)
    for name, table in whole.faithful.items():
        torch.testing.assert_close(sparse.faithful[name].parts, table.parts, atol=1e-4, rtol=1e-4)


def test_statistics_of_active_features_are_those_of_all_features():
    x, own = drawn(200, 8), sae(8, 300)
    values, n = {"io": torch.arange(200) % 7}, {"io": 9}
    f = own.encode(x)
    active = active_features(own, x)
    kept = kept_features(own, active, [x[:0]], spare=5)
    found = wide_statistics(active, kept, values, n)
    dense, whole = found.train["io"].dense(), feature_statistics(f, values["io"], 9)
    torch.testing.assert_close(dense.f1, whole.f1[:, kept], atol=0, rtol=0)
    torch.testing.assert_close(dense.conditional_mean, whole.conditional_mean[:, kept], atol=1e-7, rtol=0)
    torch.testing.assert_close(dense.mean, whole.mean[kept], atol=1e-7, rtol=0)
    assert torch.equal(found.counts, (f != 0).sum(0)[kept])


def test_kept_are_the_active_ones_of_train_and_of_what_is_judged_and_the_first_others():
    own = sae(8, 300)
    train, judged = drawn(50, 8), drawn(50, 8, seed=9)
    alive = (own.encode(torch.cat([train, judged])) != 0).any(0)
    dead = (~alive).nonzero()[:3, 0]
    expected = sorted([*alive.nonzero()[:, 0].tolist(), *dead.tolist()])
    assert kept_features(own, active_features(own, train), [judged], spare=3).tolist() == expected


def test_a_few_columns_come_out_dense_whatever_lies_between():
    own, x = sae(8, 300), drawn(40, 8)
    f, active = own.encode(x), active_features(own, x)
    for some in (torch.tensor([0, 5, 299]), torch.tensor([298]), torch.arange(300)):
        assert torch.equal(active.of(some), f[:, some])


@pytest.mark.parametrize("kind", ["relu", "gated", "topk", "random"])
def test_narrowed_to_what_is_active_it_is_the_same_dictionary(kind):
    x = drawn(100, 8)
    w, zeros = drawn(8, 60, seed=1), torch.zeros(60)
    common = {"W_enc": w, "W_dec": w.T.contiguous(), "b_dec": drawn(8, seed=2, scale=0.1), "scale": 0.7}
    own = {
        "relu": lambda: Relu(b_enc=zeros - 3, **common),
        "gated": lambda: Gated(r_mag=zeros, b_gate=zeros - 3, b_mag=zeros, **common),
        "topk": lambda: TopK(b_enc=zeros - 2, k=4, **common),
        "random": lambda: standard_null(x, 0),
    }[kind]()
    f = own.encode(x)
    kept = (f != 0).any(0).nonzero()[:, 0]
    fewer = narrowed(own, kept)
    torch.testing.assert_close(fewer.encode(x), f[:, kept], atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(fewer.decode(f[:, kept]), own.decode(f), atol=1e-5, rtol=1e-5)


def test_features_that_compete_in_an_unknown_way_are_not_separated():
    class Grouped(TopK):
        pass

    own = sae(8, 30)
    assert narrowed(Grouped(**own.tensors, k=3), torch.arange(5)) is None
    assert narrowed(Opaque(own), torch.arange(5)) is None
    block = Skyline(W_enc=drawn(8, 4), b_enc=torch.zeros(4), W_dec=drawn(4, 8), b_dec=torch.zeros(8), block_sizes=(4,))
    assert narrowed(block, torch.arange(2)) is None


def test_a_wide_dictionary_is_never_encoded_at_once(tiny_model, tiny_circuit, monkeypatch):
    monkeypatch.setattr("ioi_bench.dictionary._BLOCK_ELEMENTS", 6000 * 10)
    most = []

    class Watched(Opaque):
        def encode(self, x):
            most.append(len(x))
            return super().encode(x)

    site = next(iter(tiny_circuit.sites))
    suite = Suite("wide", "tiny", {site: Watched(sae(8, 6000))})
    settings = {"prompts": 30, "train_prompts": 200, "budgets": (1, 2), "methods": ("exchange",), "preflight": False}
    card = evaluate(suite, model=tiny_model, circuit=tiny_circuit, **settings)
    assert max(most[1:]) <= 32  # 32: the suite's own hash asks for a fixed few inputs
    assert len(card.cells) == 4
