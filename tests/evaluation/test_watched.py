"""Dictionaries of others' code are watched while they are judged; the zoo has those that are caught."""

from __future__ import annotations

import pytest
import torch

from ioi_bench.dictionaries.architectures import Relu
from ioi_bench.dictionaries.nulls import standard_null
from ioi_bench.errors import DictionaryError
from ioi_bench.evaluation.watched import watched

D_IN, D_SAE = 6, 20


class Foreign:
    """A ReLU dictionary of somebody else's."""

    d_in, d_sae = D_IN, D_SAE

    def __init__(self):
        self.rows = torch.randn(D_SAE, D_IN, generator=torch.Generator().manual_seed(0))

    def encode(self, x):
        return torch.relu(x @ self.rows.T)

    def decode(self, f):
        return f @ self.rows


class Uncopied(Foreign):
    def __deepcopy__(self, memo):
        raise TypeError("a handle that cannot be copied")


class Counting(Foreign):
    calls = 0

    def encode(self, x):
        self.calls += 1
        return super().encode(x) * self.calls


class Rare(Foreign):
    """Another answer for one activation in three hundred when it comes again: what a tie may do."""

    asked = 0

    def encode(self, x):
        f = super().encode(x)
        self.asked += 1
        if len(x) > 100:
            f[0] += 1
        return f


def asked(dictionary, calls=20, rows=30):
    seen, generator = watched(dictionary), torch.Generator().manual_seed(1)
    for _ in range(calls):
        x = torch.randn(rows, D_IN, generator=generator)
        torch.testing.assert_close(seen.encode(x), dictionary.encode(x))
    return seen


@pytest.mark.parametrize("kind", [Foreign, Uncopied])
def test_a_function_of_the_activation_passes(kind):
    asked(kind()).require_same_again("here")


def test_answers_that_change_from_call_to_call_are_refused():
    seen = watched(Counting())
    for _ in range(3):
        seen.encode(torch.ones(5, D_IN))
    with pytest.raises(DictionaryError, match="there: encode is not a function of each activation alone"):
        seen.require_same_again("there")


def test_a_tie_that_falls_otherwise_in_another_batch_is_forgiven():
    asked(Rare()).require_same_again("here")


def test_what_is_kept_is_bounded_and_of_all_calls():
    seen = asked(Foreign(), calls=200)
    assert len(seen._kept) == 512
    first = torch.randn(30, D_IN, generator=torch.Generator().manual_seed(1))
    assert sum(any(torch.equal(x, row) for row in first) for x, _ in seen._kept) < 16  # later calls took their places


def test_an_encoder_cannot_reach_what_it_is_given():
    class Writing(Foreign):
        def encode(self, x):
            return super().encode(x.mul_(2))

    x = torch.ones(3, D_IN)
    with pytest.raises(DictionaryError, match="encode changed the activations"):
        watched(Writing()).encode(x)
    assert torch.equal(x, torch.ones(3, D_IN))


def test_our_own_architectures_need_no_watching():
    own = Relu(
        W_enc=torch.zeros(D_IN, D_SAE),
        W_dec=torch.zeros(D_SAE, D_IN),
        b_dec=torch.zeros(D_IN),
        b_enc=torch.zeros(D_SAE),
    )
    assert watched(own) is None
    assert watched(standard_null(torch.randn(50, D_IN), 0)) is None
