"""The permuted decoder: the same features, the same norms, other directions."""

from __future__ import annotations

import pytest
import torch

from ioi_bench.dictionaries.cross_site import CrossSite, HeadInput
from ioi_bench.dictionaries.nulls import RandomTopK, random_topk
from ioi_bench.dictionaries.permuted import permuted_decoder
from ioi_bench.dictionary import affine_decoder
from ioi_bench.errors import InputError


@pytest.fixture(scope="module")
def train():
    return torch.randn(500, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def dictionary(train) -> RandomTopK:
    alive = torch.ones(40, dtype=torch.bool)
    alive[[3, 17]] = False
    norms = 0.5 + torch.rand(40, generator=torch.Generator().manual_seed(1))
    return random_topk(alive, norms, 3, train, 2)


def test_it_fires_as_the_dictionary_does_and_keeps_every_norm(dictionary, train):
    permuted = permuted_decoder(dictionary, train, 0)
    assert torch.equal(permuted.encode(train), dictionary.encode(train))
    norms = [one.directions.norm(dim=1) for one in (permuted, dictionary)]
    torch.testing.assert_close(*norms)


def test_the_directions_are_the_same_set_and_nearly_all_elsewhere(dictionary, train):
    permuted = permuted_decoder(dictionary, train, 0)
    living = (dictionary.encode(train) != 0).any(0)
    old, new = (torch.nn.functional.normalize(one.directions[living]) for one in (dictionary, permuted))
    cosines = new @ old.T
    assert torch.equal(cosines.argmax(1).sort().values, torch.arange(int(living.sum())))
    assert (cosines.diagonal() > 0.999).float().mean() < 0.2
    assert torch.equal(permuted.directions[~living], dictionary.directions[~living])


def test_the_seed_decides(dictionary, train):
    one, again, other = (permuted_decoder(dictionary, train, seed).directions for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_it_decodes_affinely(dictionary, train):
    permuted = permuted_decoder(dictionary, train, 0)
    decoder = affine_decoder(permuted)
    f = permuted.encode(train)
    torch.testing.assert_close(permuted.decode(f), decoder(f))


def test_one_that_reads_elsewhere_still_does(train):
    wide = random_topk(torch.ones(24, dtype=torch.bool), torch.ones(24), 2, train, 0)
    head = HeadInput(torch.randn(8, 4, generator=torch.Generator().manual_seed(3)), torch.zeros(4), 1e-5)
    projected = CrossSite(wide, wide.offset, head, head.project(wide.directions))
    permuted = permuted_decoder(projected, train, 0)
    assert isinstance(permuted, CrossSite)
    assert torch.equal(permuted.encode(train), projected.encode(train))
    assert not torch.equal(permuted.directions, projected.directions)


def test_no_train_activations_are_refused(dictionary):
    with pytest.raises(InputError, match="no train activations"):
        permuted_decoder(dictionary, torch.empty(0, 8), 0)
