"""The bootstrap: draws whole clusters, leaves out what is missing, covers what it should."""

from __future__ import annotations

import math

import pytest
import torch

from ioi_bench.errors import InputError
from ioi_bench.evaluation.bootstrap import Bootstrap, interval, name_pairs
from ioi_bench.task import Prompt


def test_the_first_row_is_the_sample_itself():
    boot = Bootstrap.of(list(range(7)), draws=20)
    table = torch.arange(14.0).reshape(7, 2)
    assert boot.mean(table)[0].tolist() == table.mean(0).tolist()
    assert boot.mean(table).shape == (21, 2)


def test_prompts_of_a_cluster_come_and_go_together():
    boot = Bootstrap.of(["a", "b", "a", "c", "b"], draws=200)
    assert torch.equal(boot.weights[:, 0], boot.weights[:, 2])
    assert torch.equal(boot.weights[:, 1], boot.weights[:, 4])
    counts = boot.weights[1:, 0] + boot.weights[1:, 1] + boot.weights[1:, 3]
    assert (counts == 3).all()  # as many clusters as there are, each draw


def test_names_are_a_pair_in_no_order():
    def prompt(io, s):
        return Prompt(0, 0, "ABB", io=io, s=s, place="", object="")

    assert name_pairs([prompt("Ann", "Tom"), prompt("Tom", "Ann"), prompt("Ann", "Max")]) == [
        ("Ann", "Tom"),
        ("Ann", "Tom"),
        ("Ann", "Max"),
    ]


def test_the_same_seed_gives_the_same_draws_and_another_does_not():
    clusters = list(range(30))
    assert torch.equal(Bootstrap.of(clusters, seed=3).weights, Bootstrap.of(clusters, seed=3).weights)
    assert not torch.equal(Bootstrap.of(clusters, seed=3).weights, Bootstrap.of(clusters, seed=4).weights)


def test_paired_draws_cancel_what_two_dictionaries_share():
    noise = torch.randn(200, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    boot = Bootstrap.of(list(range(200)))
    gap = interval(boot.mean(noise + 0.1) - boot.mean(noise))
    assert gap.low == pytest.approx(0.1)
    assert gap.high == pytest.approx(0.1)


def test_the_interval_is_as_wide_as_theory_says():
    x = torch.randn(2000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = interval(Bootstrap.of(list(range(2000))).mean(x))
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * x.std().item() / math.sqrt(2000), rel=0.1)
    assert found.low < found.value < found.high


def test_clusters_widen_the_interval():
    x = torch.randn(50, generator=torch.Generator().manual_seed(2), dtype=torch.float64).repeat_interleave(10)
    alone = interval(Bootstrap.of(list(range(500))).mean(x))
    clustered = interval(Bootstrap.of([i // 10 for i in range(500)]).mean(x))
    assert clustered.high - clustered.low > 2 * (alone.high - alone.low)


def test_missing_values_are_left_out_of_every_draw():
    nan = math.nan
    boot = Bootstrap.of(list(range(4)), draws=500)
    means = boot.mean(torch.tensor([2.0, nan, nan, 4.0], dtype=torch.float64))
    assert means[0] == 3
    defined = means[~means.isnan()]
    assert ((defined >= 2) & (defined <= 4)).all()
    assert boot.mean(torch.full((4,), nan)).isnan().all()


def test_a_mean_by_amounts_is_that_of_prompts_repeated_as_often_as_they_are_drawn():
    g = torch.Generator().manual_seed(2)
    table, amount = torch.rand(9, 2, generator=g, dtype=torch.float64), torch.rand(9, 2, generator=g).double()
    table[4, 1] = torch.nan
    boot = Bootstrap.of(["a", "b", "c", "a", "d", "b", "e", "f", "g"], draws=40, seed=1)
    found = boot.mean_by(table, amount)
    for draw, times in zip(found, boot.weights.long(), strict=True):
        for column in range(2):
            known = [i for i in range(9) for _ in range(int(times[i])) if not math.isnan(table[i, column])]
            by_hand = sum(table[i, column] * amount[i, column] for i in known) / sum(amount[i, column] for i in known)
            assert draw[column].item() == pytest.approx(by_hand.item(), abs=1e-12)


def test_a_mean_by_amounts_that_are_all_zero_is_the_plain_one():
    boot = Bootstrap.of(["a", "b"], draws=3)
    assert boot.mean_by(torch.tensor([1.0, 0.5]), torch.zeros(2))[0].item() == 0.75


def test_an_undefined_value_has_no_interval_and_undefined_draws_do_not_spoil_one():
    assert math.isnan(interval(torch.tensor([math.nan, 1.0, 2.0])).low)
    found = interval(torch.tensor([1.0, math.nan, 0.5, 1.5], dtype=torch.float64))
    assert (found.value, found.low < 1 < found.high) == (1.0, True)


def test_no_prompts_are_refused():
    with pytest.raises(InputError, match="at least one prompt"):
        Bootstrap.of([])
