"""F1 of features against attributes, checked prompt by prompt and set by set; and what explained features do."""

from __future__ import annotations

from itertools import chain, combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ioi_bench.errors import InputError
from ioi_bench.metrics import (
    activity_counts,
    explanations,
    interpretability,
    keep_explained,
    remove_explained,
    without_reconstruction,
)
from ioi_bench.metrics.interpretability import KINDS, THRESHOLDS, Explanations


def drawn(n_prompts, n_io, n_s, d_sae, seed):
    """Prompts with names of unequal frequency, and features that lean on a name, a pair or a place."""
    g = torch.Generator().manual_seed(seed)
    io = (torch.rand(n_prompts, generator=g).square() * n_io).long()
    s = (torch.rand(n_prompts, generator=g).square() * n_s).long()
    pos = torch.randint(2, (n_prompts,), generator=g)
    lean = torch.rand(n_io, d_sae, generator=g)[io] * torch.rand(n_s, d_sae, generator=g)[s]
    on = lean * (0.5 + torch.rand(2, d_sae, generator=g))[pos] > torch.rand(n_prompts, d_sae, generator=g) * 0.9
    return on * torch.randn(n_prompts, d_sae, generator=g), io, s, pos


def f1_of_sets(active, named):
    hits = len(active & named)
    if not hits:
        return 0.0
    precision, recall = hits / len(active), hits / len(named)
    return 2 * precision * recall / (precision + recall)


def brute_force(f, io, s, pos, most):
    """The best F1 of each kind, by trying every set of prompts that an explanation can name."""
    io, s, pos = io.tolist(), s.tolist(), pos.tolist()
    prompts = range(len(io))

    def where(hold):
        return frozenset(p for p in prompts if hold(p))

    def unions(values, names):
        sets = chain.from_iterable(combinations(sorted(names), size) for size in range(1, most + 1))
        return [where(lambda p, some=some: values[p] in some) for some in sets]

    named = {
        "io": [where(lambda p, n=n: io[p] == n) for n in set(io)],
        "s": [where(lambda p, n=n: s[p] == n) for n in set(s)],
        "pos": [where(lambda p, o=o: pos[p] == o) for o in (0, 1)],
        "io+pos": [where(lambda p, n=n, o=o: (io[p], pos[p]) == (n, o)) for n in set(io) for o in (0, 1)],
        "s+pos": [where(lambda p, n=n, o=o: (s[p], pos[p]) == (n, o)) for n in set(s) for o in (0, 1)],
        "io-names": unions(io, set(io)),
        "s-names": unions(s, set(s)),
    }
    found = torch.zeros(len(KINDS), f.shape[1], dtype=torch.float64)
    for j in range(f.shape[1]):
        active = where(lambda p, j=j: f[p, j] != 0)
        if len(active) < len(io):
            for i, kind in enumerate(KINDS):
                found[i, j] = max(f1_of_sets(active, some) for some in named[kind])
    return found


def explained(f, io, s, pos, n_io, n_s):
    return explanations(activity_counts(f, io, s, pos, n_io=n_io, n_s=n_s))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(5, 40))
def test_every_kind_is_the_best_of_all_that_it_could_name(seed, most, n_prompts):
    """Unions also: no set of so many names, of all there are, has a better F1 than the one that is found."""
    case = drawn(n_prompts, 6, 5, 8, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interpretability, "MOST_NAMES", most)
        found = explained(*case, 6, 5)
    torch.testing.assert_close(found.f1, brute_force(*case, most), atol=1e-12, rtol=0)


def test_a_union_has_at_most_ten_names():
    """Active at 12 of 20 names: ten of them are all precise, and two are missed."""
    s = torch.arange(20).repeat_interleave(4)
    f = (s < 12).float()[:, None]
    io, pos = torch.zeros_like(s), torch.arange(len(s)) % 2
    found = explained(f, io, s, pos, 1, 20)
    assert found.f1[KINDS.index("s-names"), 0].item() == pytest.approx(2 * 40 / (40 + 48))
    assert KINDS[found.kind[0]] == "s-names"


def test_the_order_of_precision_is_not_the_best_order():
    """With one name to choose, the rare name is named precisely, and the frequent one explains more."""
    s = torch.tensor([0] * 2 + [1] * 30)
    f = torch.tensor([1.0] * 2 + [1.0] * 27 + [0.0] * 3)[:, None]
    found = explained(f, torch.zeros_like(s), s, torch.arange(32) % 2, 1, 2)
    assert found.f1[KINDS.index("s"), 0].item() == pytest.approx(2 * 27 / (30 + 29))
    assert found.f1[KINDS.index("s-names"), 0].item() == 0.9508196721311475  # both: 2·29 / (32 + 29)


def test_planted_features_are_explained_by_what_they_were_planted_for():
    _, io, s, pos = drawn(3000, 30, 30, 1, 1)
    some = torch.isin(s, torch.tensor([0, 2, 5]))
    f = torch.stack([io == 3, s == 4, pos == 1, (io == 0) & (pos == 0), (s == 1) & (pos == 1), io < 6, some], 1)
    found = explained(f.float(), io, s, pos, 30, 30)
    assert [KINDS[kind] for kind in found.kind] == list(KINDS)
    assert torch.equal(found.best, torch.ones(7, dtype=torch.float64))
    assert all(found.shares(threshold) == dict.fromkeys(KINDS, pytest.approx(1 / 7)) for threshold in THRESHOLDS)


def test_constant_and_dead_features_explain_nothing():
    _, io, s, pos = drawn(200, 5, 5, 1, 2)
    f = torch.stack([torch.ones(200), torch.zeros(200), (io == 0).float()], 1)
    found = explained(f, io, s, pos, 5, 5)
    assert found.alive.tolist() == [True, False, True]
    assert found.f1[:, :2].abs().sum() == 0
    assert found.explained(0.5).tolist() == [False, False, True]
    assert sum(found.shares(0.5).values()) == 0.5, "of the two that live"


def test_a_threshold_is_reached_and_not_passed():
    io, pos = torch.tensor([0] * 5 + [1] * 5), torch.arange(10) % 2
    f = torch.tensor([1.0] * 4 + [0.0] * 5 + [1.0])[:, None]  # 2·4 / (5 + 5)
    found = explained(f, io, torch.zeros(10, dtype=torch.int64), pos, 2, 1)
    assert found.best.tolist() == [0.8]
    assert found.explained(0.8).tolist() == [True]


def test_without_a_living_feature_there_are_no_shares():
    found = Explanations(torch.zeros(len(KINDS), 3), torch.zeros(3, dtype=torch.bool))
    assert all(share != share for share in found.shares(0.5).values())


@given(st.integers(0, 10**6))
@settings(deadline=None, max_examples=20)
def test_shares_fall_with_the_threshold_and_add_up(seed):
    found = explained(*drawn(100, 6, 6, 20, seed), 6, 6)
    totals = [sum(found.shares(threshold).values()) for threshold in THRESHOLDS]
    assert totals == sorted(totals, reverse=True)
    for threshold, total in zip(THRESHOLDS, totals, strict=True):
        assert total == pytest.approx(found.explained(threshold).sum().item() / found.alive.sum().item())


def test_counts_of_parts_are_counts_of_the_whole(monkeypatch):
    f, *values = drawn(500, 7, 6, 30, 3)
    whole = activity_counts(f, *values, n_io=7, n_s=6)
    monkeypatch.setattr(interpretability, "_BLOCK_ELEMENTS", 90)  # three prompts at a time
    cut = [slice(0, 1), slice(1, 301), slice(301, 301), slice(301, 500)]
    first, *rest = (activity_counts(f[rows], *(v[rows] for v in values), n_io=7, n_s=6) for rows in cut)
    total = sum(rest, first)
    for name in ("io_prompts", "io_active", "s_prompts", "s_active"):
        assert torch.equal(getattr(total, name), getattr(whole, name))


def test_features_one_after_the_other_are_features_together():
    f, *values = drawn(300, 7, 6, 30, 4)
    whole = explained(f, *values, 7, 6)
    joined = Explanations.joined([explained(some, *values, 7, 6) for some in f.split(11, 1)])
    assert torch.equal(joined.f1, whole.f1)
    assert torch.equal(joined.alive, whole.alive)


@pytest.mark.parametrize(
    ("change", "says"),
    [({"s": torch.tensor([0, 1])}, "2 values of s"), ({"io": torch.tensor([0, 1, 9])}, "io go from 0 to 9"),
     ({"pos": torch.tensor([0, 2, 1])}, "pos go from 0 to 2"), ({"s": torch.tensor([-1, 0, 0])}, "expected 0 to 1")],
)  # fmt: skip
def test_values_that_do_not_fit_are_refused(change, says):
    values = dict.fromkeys(("io", "s", "pos"), torch.tensor([0, 1, 1])) | change
    with pytest.raises(InputError, match=says):
        activity_counts(torch.ones(3, 2), **values, n_io=2, n_s=2)


@pytest.fixture
def linear():
    """Activations with a dictionary that is right on average, though not exact."""
    g = torch.Generator().manual_seed(0)
    f, directions = torch.randn(40, 6, generator=g).relu(), torch.randn(6, 4, generator=g)
    error = torch.randn(40, 4, generator=g)
    offset, error = torch.randn(4, generator=g), error - error.mean(0)
    reconstruction = f @ directions + offset
    return f, directions, reconstruction, reconstruction + error


def test_keep_and_remove_end_at_sufficiency_and_necessity(linear):
    f, directions, reconstruction, a = linear
    every, none = torch.ones(6, dtype=torch.bool), torch.zeros(6, dtype=torch.bool)
    mean, train_mean = f.mean(0), a.mean(0)
    close = {"atol": 1e-5, "rtol": 1e-5}
    torch.testing.assert_close(keep_explained(f, mean, directions, every, train_mean), reconstruction, **close)
    without = without_reconstruction(a, reconstruction, train_mean)
    torch.testing.assert_close(remove_explained(a, f, mean, directions, every), without, **close)
    assert torch.equal(keep_explained(f, mean, directions, none, train_mean), train_mean.expand_as(a))
    assert torch.equal(remove_explained(a, f, mean, directions, none), a)


def test_what_is_kept_is_what_is_removed(linear):
    f, directions, _, a = linear
    some = torch.tensor([True, False, True, True, False, False])
    kept = keep_explained(f, f.mean(0), directions, some, a.mean(0)) - a.mean(0)
    torch.testing.assert_close(remove_explained(a, f, f.mean(0), directions, some), a - kept)


def test_constant_features_are_neither_kept_nor_removed(linear):
    f, directions, _, a = linear
    f = torch.cat([f, torch.full((40, 1), 30.0)], 1)
    directions = torch.cat([directions, torch.ones(1, 4)])
    only = torch.arange(7) == 6
    assert torch.equal(keep_explained(f, f.mean(0), directions, only, a.mean(0)), a.mean(0).expand_as(a))
    assert torch.equal(remove_explained(a, f, f.mean(0), directions, only), a)
