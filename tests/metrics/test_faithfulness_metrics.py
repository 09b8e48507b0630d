"""What METHOD §6 says of reconstructions: codes, logit difference recovered, sufficiency, necessity."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ioi_bench.metrics import code_statistics, ld_recovered, necessity, sufficiency, without_reconstruction

numbers = st.floats(-5, 5, allow_nan=False).map(lambda x: torch.tensor(x, dtype=torch.float64))


def test_unexplained_variance_is_zero_for_the_activation_and_one_for_the_mean():
    a = torch.randn(50, 4, generator=torch.Generator().manual_seed(0)) + 3
    mean, f, fires = a.mean(0), torch.ones(50, 2), torch.ones(2, dtype=torch.bool)
    assert code_statistics(f, a, a, mean, fires).fvu == 0
    assert code_statistics(f, mean.expand_as(a), a, mean, fires).fvu == pytest.approx(1)
    assert code_statistics(f, mean.expand_as(a) - 9, a, mean, fires).fvu > 1


def test_a_negative_feature_is_active_and_a_dead_one_is_what_train_never_shows():
    f = torch.tensor([[-1.0, 0.0, 0.0]])
    stats = code_statistics(f, torch.zeros(1, 2), torch.ones(1, 2), torch.zeros(2), torch.tensor([True, True, False]))
    assert stats.l0 == 1
    assert stats.dead_share == pytest.approx(1 / 3)


@given(numbers, numbers)
def test_recovered_is_one_for_the_clean_run_and_zero_for_the_mean(mean, clean):
    if (mean - clean).abs() < 1e-6:
        return
    assert ld_recovered(clean, mean, clean).recovered.item() == pytest.approx(1)
    assert ld_recovered(mean, mean, clean).recovered.item() == 0


def test_recovered_keeps_its_sign_and_does_not_stop_at_one():
    t = torch.tensor
    assert ld_recovered(t(-1.0), t(1.0), t(3.0)).recovered.item() == -1
    assert ld_recovered(t(5.0), t(1.0), t(3.0)).recovered.item() == 2


def test_nothing_to_recover_is_flagged_and_undefined():
    found = ld_recovered(torch.tensor(3.0), torch.tensor(3.0), torch.tensor(3.0))
    assert not found.reliable.item()
    assert found.recovered.isnan().item()


@given(numbers, numbers)
def test_necessity_is_one_at_the_mean_and_zero_at_the_clean_run(mean, clean):
    if (mean - clean).abs() < 1e-6:
        return
    assert necessity(mean, mean, clean).score.item() == 1
    assert necessity(clean, mean, clean).score.item() == pytest.approx(0, abs=1e-9)


def test_necessity_is_not_clipped():
    t = torch.tensor
    assert necessity(t(-3.0), t(1.0), t(3.0)).score.item() == -1


def test_undefined_ratios_are_nan():
    zero = torch.tensor(0.0)
    assert sufficiency(torch.tensor(1.0), zero).score.isnan().item()
    assert necessity(zero, zero, zero).score.isnan().item()


def test_without_a_perfect_reconstruction_only_the_mean_is_left():
    a, mean = torch.randn(5, 3, generator=torch.Generator().manual_seed(1)), torch.ones(3)
    torch.testing.assert_close(without_reconstruction(a, a, mean), mean.expand(5, 3))
    torch.testing.assert_close(without_reconstruction(a, mean.expand(5, 3), mean), a)
