"""What METHOD §6 says of edits: agreement with the truth-patched run, distances, and the weight that an edit moves."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ioi_bench.metrics import (
    FeatureWeights,
    contributions,
    divergence,
    edit_accuracy,
    edit_distance,
    edit_weight,
    feature_weights,
    logit_difference_gap,
    moved_aside,
)

seeds = st.integers(0, 10_000)
fast = settings(max_examples=25, deadline=None)


def a_dictionary(seed: int, prompts: int = 12, d_sae: int = 9, d_in: int = 5):
    g = torch.Generator().manual_seed(seed)
    f = torch.randn(prompts, d_sae, generator=g) * (torch.rand(prompts, d_sae, generator=g) < 0.6)
    f[:, 0] = 1.5  # one feature is always on, so that no reconstruction is zero
    return f, torch.randn(d_sae, d_in, generator=g)


def test_accuracy_is_agreement_with_the_truth_and_not_with_the_clean_run():
    truth = torch.tensor([[0.0, 5.0, 0.0]])
    assert not edit_accuracy(torch.tensor([[5.0, 0.0, 0.0]]), truth, torch.tensor([[0, 1]])).vocabulary.any()
    assert edit_accuracy(truth, truth, torch.tensor([[0, 1]])).vocabulary.all()


def test_among_the_names_only_the_names_count():
    truth = torch.tensor([[9.0, 1.0, 2.0, 0.0]])  # token 0 is no name
    edited = torch.tensor([[0.0, 1.0, 2.0, 9.0]])
    assert edit_accuracy(edited, truth, torch.tensor([[1, 2, 2]])).names.item()
    assert not edit_accuracy(edited, truth, torch.tensor([[1, 2, 3]])).names.item()


@fast
@given(seeds)
def test_stacked_edits_are_judged_as_if_alone(seed):
    g = torch.Generator().manual_seed(seed)
    logits, truth = torch.randn(4, 6, 11, generator=g), torch.randn(6, 11, generator=g)
    names = torch.randint(0, 11, (6, 3), generator=g)
    stacked = edit_accuracy(logits, truth, names)
    gaps = logit_difference_gap(logits, truth, names[:, 0], names[:, 1]).gap
    nats = divergence(logits, truth).nats
    for i, one in enumerate(logits):
        alone = edit_accuracy(one, truth, names)
        assert torch.equal(stacked.vocabulary[i], alone.vocabulary)
        assert torch.equal(stacked.names[i], alone.names)
        assert torch.equal(gaps[i], logit_difference_gap(one, truth, names[:, 0], names[:, 1]).gap)
        torch.testing.assert_close(nats[i], divergence(one, truth).nats)


@fast
@given(seeds)
def test_divergence_agrees_with_torch_and_is_zero_for_equals(seed):
    g = torch.Generator().manual_seed(seed)
    run, reference = 3 * torch.randn(5, 7, generator=g), torch.randn(5, 7, generator=g)
    expected = torch.distributions.kl_divergence(
        torch.distributions.Categorical(logits=reference), torch.distributions.Categorical(logits=run)
    )
    torch.testing.assert_close(divergence(run, reference).nats, expected, rtol=1e-4, atol=1e-5)
    assert divergence(reference + 3.0, reference).nats.max() < 1e-5  # a shift of all logits is no change


def weights_of(f, directions, a=None):
    """Weights of what is judged; without an error term unless activations are given."""
    a = f @ directions if a is None else a
    return feature_weights(f, directions, a, f.mean(0), a.mean(0))


def activations(f, directions, seed):
    g = torch.Generator().manual_seed(seed + 1)
    return f @ directions + torch.randn(len(f), directions.shape[1], generator=g)


@fast
@given(seeds)
def test_the_papers_weights_are_shares_of_the_reconstruction(seed):
    f, directions = a_dictionary(seed)
    weights = weights_of(f, directions)
    torch.testing.assert_close(weights.paper.sum(1), torch.ones(len(f)), rtol=1e-4, atol=1e-4)
    assert (weights.paper[f == 0] == 0).all()


@fast
@given(seeds)
def test_centred_weights_are_shares_of_the_activation(seed):
    f, directions = a_dictionary(seed)
    torch.testing.assert_close(weights_of(f, directions).centred.sum(1), torch.ones(len(f)), rtol=1e-3, atol=1e-3)
    a = activations(f, directions, seed)
    error = (a - f @ directions) - (a - f @ directions).mean(0)
    own = a - a.mean(0)
    rest = (error * own).sum(1) / own.square().sum(1)  # the share of what the dictionary leaves out
    found = weights_of(f, directions, a).centred.sum(1)
    torch.testing.assert_close(found + rest, torch.ones(len(f)), rtol=1e-3, atol=1e-3)


@fast
@given(seeds, st.floats(10, 1000))
def test_no_other_feature_dilutes_the_centred_weights(seed, size):
    f, directions = a_dictionary(seed)
    a, g = activations(f, directions, seed), torch.Generator().manual_seed(seed + 2)
    junk = size * torch.randn(len(f), 2, generator=g)
    junk[:, 0] = size  # one is always on, the other noise
    aside = torch.cat([directions, torch.ones(2, directions.shape[1])])
    before, after = weights_of(f, directions, a), weights_of(torch.cat([f, junk], 1), aside, a)
    torch.testing.assert_close(after.centred[:, :-2], before.centred)
    assert after.centred[:, -2].abs().max() < 1e-3  # and the constant one weighs nothing
    assert after.paper[:, :-2].abs().mean() < before.paper.abs().mean() / 2  # the paper's are diluted


@fast
@given(seeds, st.integers(0, 8))
def test_centred_weights_do_not_depend_on_a_features_zero_point(seed, j):
    f, directions = a_dictionary(seed)
    a = activations(f, directions, seed)
    turned, against = f.clone(), directions.clone()
    turned[:, j], against[j] = 1 - f[:, j], -directions[j]
    expected = weights_of(f, directions, a).centred
    torch.testing.assert_close(weights_of(turned, against, a).centred, expected, rtol=1e-3, atol=1e-4)


@fast
@given(seeds, st.floats(0.01, 100))
def test_weights_do_not_depend_on_how_scale_is_split_between_features_and_directions(seed, scale):
    f, directions = a_dictionary(seed)
    a = activations(f, directions, seed)
    one, other = (weights_of(f * s, directions / s, a) for s in (1.0, scale))
    torch.testing.assert_close(one.centred, other.centred, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(one.paper, other.paper, rtol=1e-3, atol=1e-4)


def test_overshooting_weighs_what_it_takes_away():
    f, directions = a_dictionary(3)
    a = activations(f, directions, 3)
    torch.testing.assert_close(weights_of(3 * f, directions, a).centred, 3 * weights_of(f, directions, a).centred)


def test_where_there_is_nothing_there_are_no_shares():
    f, directions = torch.tensor([[0.0, 0.0], [1.0, 1.0], [1.0, 0.0]]), torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    a = torch.tensor([[0.0, 2.0], [0.0, 0.0], [2.0, 0.0]])
    weights = feature_weights(f, directions, a, torch.zeros(2), torch.zeros(2))
    nothing = torch.full((3, 1), -1)
    found = edit_weight(weights, weights, torch.tensor([[-1], [0], [0]]), nothing, (1,))
    assert found.removed_paper[0].isnan().tolist() == [True, True, False]  # reconstructions of norm zero
    assert found.removed[0].isnan().tolist() == [False, True, False]  # an activation at the mean
    assert found.removed_paper[0, 2] == 1


def test_the_papers_form_keeps_signs_and_the_centred_one_counts_what_is_positive():
    share = torch.tensor([[1.5, -0.5]])
    weights = FeatureWeights(share, share)
    found = edit_weight(weights, weights, torch.tensor([[0, 1]]), torch.tensor([[-1, -1]]), (1, 2))
    assert found.removed_paper.flatten().tolist() == [1.5, 1.0]
    assert found.removed.flatten().tolist() == [1.5, 1.5]


@fast
@given(seeds)
def test_weights_are_sums_over_what_each_budget_takes_out_or_puts_in(seed):
    g = torch.Generator().manual_seed(seed)
    before, after = (FeatureWeights(*torch.randn(2, 7, 9, generator=g)) for _ in range(2))
    removed, added = torch.randint(-1, 9, (2, 7, 4), generator=g)
    budgets = (1, 2, 4)
    found = edit_weight(before, after, removed, added, budgets)
    sides = (before, removed, found.removed, found.removed_paper), (after, added, found.added, found.added_paper)
    for i, k in enumerate(budgets):
        for row in range(7):
            for weights, picks, centred, paper in sides:
                changed = [j for j in picks[row, :k].tolist() if j >= 0]
                expected = sum(max(0.0, weights.centred[row, j].item()) for j in changed)
                assert centred[i, row].item() == pytest.approx(expected, abs=1e-5)
                expected = sum(weights.paper[row, j].item() for j in changed)
                assert paper[i, row].item() == pytest.approx(expected, abs=1e-5)


@fast
@given(seeds)
def test_distance_is_zero_at_the_counterfactual_and_one_without_an_edit(seed):
    g = torch.Generator().manual_seed(seed)
    a_s, a_t = torch.randn(2, 6, 4, generator=g)
    distance = edit_distance(torch.stack([a_t, a_s, (a_s + a_t) / 2]), a_s, a_t)
    assert distance.relative.tolist() == pytest.approx([0.0, 1.0, 0.5], abs=1e-6)


@fast
@given(seeds, st.floats(-2, 2))
def test_what_goes_along_the_way_moves_nothing_aside_and_what_stands_across_it_does(seed, share):
    g = torch.Generator().manual_seed(seed)
    a_s, a_t, across = torch.randn(3, 6, 4, generator=g, dtype=torch.float64)
    way, mean = a_t - a_s, a_s.mean(0)
    across = across - (across * way).sum(1, keepdim=True) / way.square().sum(1, keepdim=True) * way
    found = moved_aside(torch.stack([a_s + share * way, a_s + share * way + across]), a_s, a_t, mean)
    whole = (a_s - mean).square().sum(1)
    torch.testing.assert_close(found, torch.stack([torch.zeros(6), across.square().sum(1) / whole]).double())


def test_an_edit_weighs_what_it_takes_or_what_it_brings_whichever_is_more():
    one, two, nothing = torch.tensor([[0.2, 0.0]]), torch.tensor([[0.0, 0.7]]), torch.tensor([[-1]])
    before, after = FeatureWeights(one, one), FeatureWeights(two, two)
    only_in = edit_weight(before, after, nothing, torch.tensor([[1]]), (1,))
    only_out = edit_weight(before, after, torch.tensor([[0]]), nothing, (1,))
    assert only_in.exchanged.item() == pytest.approx(0.7)
    assert only_out.exchanged.item() == pytest.approx(0.2)


def test_what_goes_out_and_what_comes_in_weigh_as_lengths_on_their_own_side():
    """By hand: 2 of an activation (2, 1) are taken out, or put in to make it: 4/5; half of the step alone is 1/3."""
    one, other = torch.tensor([[2.0, 1.0]]), torch.tensor([[0.0, 1.0]])
    feature, nothing = (torch.tensor([[0]]), torch.tensor([[2.0]])), (torch.tensor([[-1]]), torch.tensor([[0.0]]))
    for sides, a_s, a_t in (((feature, nothing), one, other), ((nothing, feature), other, one)):
        found = contributions(*sides, torch.eye(2), torch.zeros(2), (1,))
        assert found.share(a_s, a_t, torch.zeros(2)).item() == pytest.approx(4 / 5)
        assert (found.after - found.before).square().sum().item() / 4 / 3 == pytest.approx(1 / 3)
