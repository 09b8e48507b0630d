"""What must hold of the edits whatever the numbers are."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from beartype import beartype
from jaxtyping import Float, TypeCheckError, jaxtyped
from torch import Tensor

from ioi_bench.dictionary import AffineDecoder
from ioi_bench.editing import EDITS, EditInputs, FeatureStatistics, feature_statistics
from ioi_bench.editing.exchange import exchange
from ioi_bench.editing.split import split
from ioi_bench.metrics import contributions

BUDGETS = (1, 2, 4, 8)
METHODS = pytest.mark.parametrize("method", EDITS)


def permuted(inputs: EditInputs, order: Tensor) -> EditInputs:
    train = inputs.train
    return replace(
        inputs,
        decoder=AffineDecoder(inputs.directions[order], inputs.decoder.offset),
        f_s=inputs.f_s[:, order],
        f_t=inputs.f_t[:, order],
        train=FeatureStatistics(train.f1[:, order], train.conditional_mean[:, order], train.mean[order]),
    )


@METHODS
def test_permuting_the_features_permutes_the_picks(method, inputs_of):
    inputs = inputs_of(1, prompts=40, d_sae=30, d_in=8, duplicates=False)
    ranks = torch.rand(inputs.train.f1.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    inputs = replace(inputs, train=replace(inputs.train, f1=ranks))  # no ties
    order = torch.randperm(30, generator=torch.Generator().manual_seed(1))
    before, after = EDITS[method](inputs, BUDGETS), EDITS[method](permuted(inputs, order), BUDGETS)
    torch.testing.assert_close(before.edited, after.edited)
    for was, now in ((before.removed, after.removed), (before.added, after.added)):
        assert (was >= 0).any()
        assert torch.equal(was, torch.where(now >= 0, order[now], -1))


def contributions_of(edit, inputs, mean):
    taken = inputs.f_s.gather(1, edit.removed.clamp_min(0))
    put = inputs.f_t.gather(1, edit.added.clamp_min(0)) if edit.added_value is None else edit.added_value
    return contributions((edit.removed, taken), (edit.added, put), inputs.directions, mean, BUDGETS)


@METHODS
def test_what_comes_in_less_what_goes_out_is_the_step(method, inputs_of):
    """So that no cancelling part can hide an edit: it weighs a quarter of the step's own share, or more."""
    for seed in range(6):
        inputs = inputs_of(seed, prompts=30, d_sae=20, d_in=6)
        edit = EDITS[method](inputs, BUDGETS)
        mean = torch.randn(20, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        found = contributions_of(edit, inputs, mean)
        torch.testing.assert_close(found.after - found.before, edit.edited - inputs.a_s)
        share = found.share(inputs.a_s, inputs.a_t, torch.zeros(6, dtype=torch.float64))
        whole = (inputs.a_s.square().sum(1) + inputs.a_t.square().sum(1)) / 2
        assert (share >= (edit.edited - inputs.a_s).square().sum(2) / (4 * whole) - 1e-9).all()


def test_where_features_have_their_zero_point_does_not_matter_to_what_is_exchanged():
    """To take an entry out weighs what it weighs to switch on its complement, ``1 − f`` along ``−d``."""
    g, prompts = torch.Generator().manual_seed(0), 30
    directions = torch.eye(9, dtype=torch.float64)
    old, new = torch.randint(0, 4, (prompts, 1), generator=g), torch.randint(4, 9, (prompts, 1), generator=g)
    none = torch.full((prompts, 1), -1)
    zero, one = (torch.full((prompts, 1), value, dtype=torch.float64) for value in (0.0, 1.0))
    mean = torch.full((9,), 1 / 9, dtype=torch.float64)
    entries = contributions((old, one), (new, one), directions, mean, (1,))
    # In the first round the old entry's complement comes in, in the second the new one's goes out.
    out = torch.cat([none, new], 1), torch.cat([zero, one], 1)
    into = torch.cat([old, none], 1), torch.cat([one, zero], 1)
    complements = contributions(out, into, -directions, 1 - mean, (2,))
    a_s, a_t, centre = directions[old[:, 0]], directions[new[:, 0]], torch.zeros(9, dtype=torch.float64)
    exchanged = 1 / 2 + 2 * (7 / 18) ** 2  # half of (new − old), and half of 7/9 of (new + old) across it
    for found in (entries, complements):
        torch.testing.assert_close(found.share(a_s, a_t, centre), torch.full((1, prompts), exchanged).double())


@METHODS
def test_dead_duplicates_change_nothing(method, inputs_of):
    inputs = inputs_of(2, prompts=20, d_sae=12)
    f_s, f_t = (torch.cat([f, torch.zeros_like(f)], 1) for f in (inputs.f_s, inputs.f_t))
    doubled = replace(
        inputs,
        decoder=AffineDecoder(inputs.directions.repeat(2, 1), inputs.decoder.offset),
        f_s=f_s,
        f_t=f_t,
        train=FeatureStatistics(
            torch.cat([inputs.train.f1, -torch.ones_like(inputs.train.f1)], 1),  # below every live feature
            torch.cat([inputs.train.conditional_mean, torch.zeros_like(inputs.train.f1)], 1),
            torch.cat([inputs.train.mean, torch.zeros(12, dtype=torch.float64)]),
        ),
    )
    alone, beside = EDITS[method](inputs, BUDGETS), EDITS[method](doubled, BUDGETS)
    torch.testing.assert_close(alone.edited, beside.edited)
    assert torch.equal(alone.removed, beside.removed)
    assert torch.equal(alone.added, beside.added)


@METHODS
def test_more_budgets_do_not_change_a_budget(method, inputs_of):
    inputs = inputs_of(3, prompts=20)
    all_budgets = EDITS[method](inputs, BUDGETS)
    for b, k in enumerate(BUDGETS):
        alone = EDITS[method](inputs, (k,))
        assert torch.equal(alone.edited[0], all_budgets.edited[b])
        assert torch.equal(alone.removed, all_budgets.removed[:, :k])
        assert torch.equal(alone.added, all_budgets.added[:, :k])


@pytest.mark.parametrize("method", [exchange, split])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("chunk", [1, 7])
def test_chunks_change_nothing(method, dtype, chunk, inputs_of):
    inputs = inputs_of(4, prompts=30, d_sae=100, d_in=6, density=0.1, dtype=dtype)
    whole, parts = method(inputs, BUDGETS), method(inputs, BUDGETS, chunk=chunk)
    torch.testing.assert_close(whole.edited, parts.edited)
    assert torch.equal(whole.removed, parts.removed)
    assert torch.equal(whole.added, parts.added)


@METHODS
def test_prompts_do_not_see_each_other(method, inputs_of):
    inputs = inputs_of(5, prompts=10, d_sae=50, density=0.1)
    together = EDITS[method](inputs, BUDGETS)
    names = ("a_s", "a_t", "f_s", "f_t", "base", "target")
    for p in range(10):
        alone = EDITS[method](replace(inputs, **{n: getattr(inputs, n)[p : p + 1] for n in names}), BUDGETS)
        torch.testing.assert_close(alone.edited[:, 0], together.edited[:, p])
        assert torch.equal(alone.removed[0], together.removed[p])


def test_exchange_comes_no_further_away_while_it_may_do_nothing(inputs_of):
    for seed in range(20):
        inputs = inputs_of(seed, prompts=20, d_sae=30, density=0.3)
        may_idle = (inputs.f_s == inputs.f_t).sum(1) >= 8
        assert may_idle.any()
        path = torch.cat([inputs.a_s[None], exchange(inputs, tuple(range(1, 9))).edited])
        distances = (path - inputs.a_t).square().sum(2)
        assert (distances[1:] <= distances[:-1] + 1e-9 * distances[0])[:, may_idle].all()


def test_exchange_must_choose_where_every_feature_changes():
    one = torch.ones(1, 1)
    values = torch.zeros(1, dtype=torch.int64)
    inputs = EditInputs(
        AffineDecoder(one, torch.zeros(1)), one, one, one, 3 * one, values, values, FeatureStatistics(one, one, one[0])
    )
    edit = exchange(inputs, (1, 2))
    assert edit.edited.flatten().tolist() == [3, 3]  # already at the target, and moved away from it
    assert edit.removed.tolist() == edit.added.tolist() == [[0, -1]]


def test_split_never_comes_further_away(inputs_of):
    for seed in range(20):
        inputs = inputs_of(seed, prompts=20, density=1.0)
        path = torch.cat([inputs.a_s[None], split(inputs, BUDGETS).edited])
        distances = (path - inputs.a_t).norm(dim=2)
        assert (distances[1:] <= distances[:-1]).all()


@METHODS
def test_the_error_term_stays(method, inputs_of):
    """What the dictionary does not explain is not touched: an error common to both sides passes through."""
    inputs = inputs_of(6, prompts=20)
    error = torch.randn(inputs.a_s.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    shifted = replace(inputs, a_s=inputs.a_s + error, a_t=inputs.a_t + error)
    torch.testing.assert_close(EDITS[method](shifted, BUDGETS).edited, EDITS[method](inputs, BUDGETS).edited + error)


def test_universal_reads_nothing_of_the_counterfactual(inputs_of):
    inputs = inputs_of(7, prompts=20)
    garbage = replace(inputs, a_t=torch.full_like(inputs.a_t, torch.nan), f_t=torch.full_like(inputs.f_t, torch.nan))
    clean, blind = EDITS["universal"](inputs, BUDGETS), EDITS["universal"](garbage, BUDGETS)
    assert torch.equal(clean.edited, blind.edited)
    assert torch.equal(clean.added, blind.added)


def skyline(attributes: int = 2, n_values: int = 3, prompts: int = 30) -> tuple[EditInputs, Tensor]:
    """Oracle features: one-hot of each attribute's value, orthogonal codes as directions; the first one is edited."""
    generator = torch.Generator().manual_seed(0)
    codes = 3 * torch.linalg.qr(torch.randn(8, attributes * n_values, generator=generator)).Q.T
    values = torch.randint(n_values, (prompts, attributes), generator=generator)
    changed = values.clone()
    changed[:, 0] = (values[:, 0] + 1) % n_values
    shift = torch.arange(attributes) * n_values
    f_s, f_t = (torch.nn.functional.one_hot(v + shift, attributes * n_values).sum(1).float() for v in (values, changed))
    train = feature_statistics(f_s, values[:, 0], n_values)
    noise = torch.randn(prompts, 8, generator=generator)
    decoder = AffineDecoder(codes, torch.zeros(8))
    a_s, a_t = f_s @ codes + noise, f_t @ codes + noise
    return EditInputs(decoder, a_s, a_t, f_s, f_t, values[:, 0], changed[:, 0], train), codes[:n_values]


@METHODS
def test_on_supervised_codes_one_round_is_the_skyline(method):
    """METHOD §3: a − u[v] + u[v']. An exchange changes one feature a round, so it takes two."""
    inputs, u = skyline()
    edit = EDITS[method](inputs, (1, 2))
    at = 1 if method == "exchange" else 0
    torch.testing.assert_close(edit.edited[at], inputs.a_s - u[inputs.base] + u[inputs.target])
    assert (edit.n_removed(at + 1) == 1).all()
    assert (edit.n_added(at + 1) == 1).all()


@METHODS
def test_no_gradient_is_tracked(method, inputs_of):
    inputs = inputs_of(8)
    weights = replace(inputs, decoder=AffineDecoder(inputs.directions.requires_grad_(), inputs.decoder.offset))
    assert not EDITS[method](weights, (1, 2)).edited.requires_grad
    assert torch.is_grad_enabled()


@METHODS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_inputs_stay_as_they_are(method, dtype, inputs_of):
    inputs, copy = (inputs_of(9, prompts=32, d_sae=32, density=1.0, dtype=dtype) for _ in range(2))
    edit = EDITS[method](inputs, (3,))
    assert edit.edited.dtype == dtype
    for name in ("a_s", "a_t", "f_s", "f_t", "directions"):
        assert torch.equal(getattr(inputs, name), getattr(copy, name))


@METHODS
def test_shapes_are_as_declared(method, inputs_of):
    inputs = inputs_of(10)

    @jaxtyped(typechecker=beartype)
    def edited(a: Float[Tensor, "prompt d_in"], n: Float[Tensor, " budget"]) -> Float[Tensor, "budget prompt d_in"]:
        return EDITS[method](inputs, tuple(range(1, len(n) + 1))).edited

    edited(inputs.a_s, torch.zeros(3))
    with pytest.raises(TypeCheckError):
        edited(inputs.a_s[:-1], torch.zeros(3))
