"""A short training in memory: it learns, its frozen part stays, and each site is on its own."""

from __future__ import annotations

import pytest
import torch

from ioi_bench.errors import InputError, UnknownNameError
from ioi_bench.sites import Site
from ioi_bench.training.brief import train_briefly

HERE, THERE = Site.parse("z.0.0@end"), Site.parse("z.0.1@end")


@pytest.fixture(scope="module")
def train():
    g = torch.Generator().manual_seed(0)
    atoms = torch.nn.functional.normalize(torch.randn(12, 6, generator=g))
    chosen = torch.stack([torch.randperm(12, generator=g)[:2] for _ in range(2048)])
    return 3 * atoms[chosen].sum(1) + 1


def error(dictionary, x):
    return (dictionary.decode(dictionary.encode(x)) - x).square().sum(1).mean().item()


def test_a_frozen_decoder_learns_and_keeps_its_directions(train):
    few, many = (
        train_briefly("frozen-decoder", 3, {HERE: train}, {HERE: 0}, epochs=epochs)[HERE] for epochs in (1, 30)
    )
    assert torch.equal(few.W_dec, many.W_dec)
    torch.testing.assert_close(many.W_dec.norm(dim=1), torch.ones(48))
    assert error(many, train) < 0.7 * error(few, train)
    assert error(many, train) < (train - train.mean(0)).square().sum(1).mean().item()


def test_a_decoder_that_may_learn_does(train):
    few, many = (train_briefly("topk", 3, {HERE: train}, {HERE: 0}, epochs=epochs)[HERE] for epochs in (1, 3))
    assert not torch.equal(few.W_dec, many.W_dec)


def test_a_site_is_trained_as_if_alone(train):
    both = train_briefly("frozen-decoder", 3, {HERE: train, THERE: 2 * train}, {HERE: 0, THERE: 1}, epochs=1)
    alone = train_briefly("frozen-decoder", 3, {THERE: 2 * train}, {THERE: 1}, epochs=1)
    assert torch.equal(both[THERE].W_enc, alone[THERE].W_enc)
    assert not torch.equal(both[HERE].W_dec, both[THERE].W_dec)


def test_what_cannot_be_trained_is_refused(train):
    with pytest.raises(UnknownNameError, match="frozen-decoder"):
        train_briefly("frozen-decodr", 3, {HERE: train}, {HERE: 0}, epochs=1)
    with pytest.raises(InputError, match="from 1 to d_sae"):
        train_briefly("topk", 0, {HERE: train}, {HERE: 0}, epochs=1)
    with pytest.raises(InputError, match="no train activations"):
        train_briefly("topk", 3, {HERE: train[:0]}, {HERE: 0}, epochs=1)
