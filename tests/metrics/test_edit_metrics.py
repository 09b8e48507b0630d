"""What METHOD §6 says of edits: agreement with the truth-patched run, distances, and the weight that an edit moves."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ioi_bench.metrics import (
    FeatureWeights,
    divergence,
    edit_accuracy,
    edit_distance,
    edit_weight,
    feature_weights,
    logit_difference_gap,
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


@fast
@given(seeds)
def test_weights_are_shares_of_the_reconstruction(seed):
    f, directions = a_dictionary(seed)
    weights = feature_weights(f, directions, f.mean(0))
    torch.testing.assert_close(weights.paper.sum(1), torch.ones(len(f)), rtol=1e-4, atol=1e-4)
    assert (weights.paper[f == 0] == 0).all()
    assert (weights.centred[f == 0] == 0).all()


@fast
@given(seeds)
def test_centred_weights_with_the_silent_features_sum_to_one(seed):
    f, directions = a_dictionary(seed)
    mean = f.mean(0)
    centred = f - mean
    total = centred @ directions
    silent = ((centred * (total @ directions.T)) * (f == 0)).sum(1) / total.square().sum(1)
    found = feature_weights(f, directions, mean).centred.sum(1) + silent
    torch.testing.assert_close(found, torch.ones(len(f)), rtol=1e-3, atol=1e-3)


@fast
@given(seeds, st.floats(10, 1000))
def test_a_constant_feature_dilutes_the_papers_weights_but_not_the_centred_ones(seed, size):
    f, directions = a_dictionary(seed)
    before = feature_weights(f, directions, f.mean(0))
    wider = torch.cat([f, torch.full((len(f), 1), size)], 1)
    aside = torch.cat([directions, torch.ones(1, directions.shape[1])])
    after = feature_weights(wider.double(), aside.double(), wider.double().mean(0))
    torch.testing.assert_close(after.centred[:, :-1], before.centred.double(), rtol=1e-3, atol=1e-3)
    assert after.paper[:, -1].min() > 0.5


@fast
@given(seeds, st.floats(0.01, 100))
def test_weights_do_not_depend_on_how_scale_is_split_between_features_and_directions(seed, scale):
    f, directions = a_dictionary(seed)
    one, other = (feature_weights(f * s, directions / s, f.mean(0) * s) for s in (1.0, scale))
    torch.testing.assert_close(one.centred, other.centred, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(one.paper, other.paper, rtol=1e-3, atol=1e-4)


def test_a_reconstruction_of_norm_zero_has_no_shares():
    f, directions = torch.tensor([[0.0, 0.0], [1.0, 1.0], [1.0, 0.0]]), torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    weights = feature_weights(f, directions, torch.zeros(2))
    removed = edit_weight(weights, torch.tensor([[-1], [0], [0]]), (1,)).paper[0]
    assert removed.isnan().tolist() == [True, True, False]
    assert removed[2] == 1


def test_the_sign_of_a_weight_is_kept():
    weights = feature_weights(torch.tensor([[3.0, 1.0]]), torch.tensor([[1.0], [-1.0]]), torch.zeros(2))
    assert weights.paper.tolist() == [[1.5, -0.5]]


def test_budgets_sum_over_their_rounds():
    share = torch.tensor([[0.5, 0.25, 0.125]])
    weight = edit_weight(FeatureWeights(share, 2 * share), torch.tensor([[2, -1, 0, 1]]), (1, 2, 3, 4))
    assert weight.paper[:, 0].tolist() == [0.125, 0.125, 0.625, 0.875]
    assert weight.centred[:, 0].tolist() == [0.25, 0.25, 1.25, 1.75]


@fast
@given(seeds)
def test_distance_is_zero_at_the_counterfactual_and_one_without_an_edit(seed):
    g = torch.Generator().manual_seed(seed)
    a_s, a_t = torch.randn(2, 6, 4, generator=g)
    distance = edit_distance(torch.stack([a_t, a_s, (a_s + a_t) / 2]), a_s, a_t)
    assert distance.relative.tolist() == pytest.approx([0.0, 1.0, 0.5], abs=1e-6)
