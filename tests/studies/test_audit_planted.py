"""Planted dictionaries against their definition, on a truth that is small enough to see."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch

from ioi_bench.dictionaries.architectures import Skyline
from ioi_bench.dictionary import affine_decoder
from ioi_bench.errors import InputError, UnknownNameError
from ioi_bench.evaluation.data import split_of
from ioi_bench.lm.circuit import load_circuit
from ioi_bench.sites import Site
from ioi_bench.studies.audit.corruptions import CORRUPTIONS, GROUP, corrupt
from ioi_bench.studies.audit.planted import PARTS, Planted, fit_truths

SIZES, D_IN = (8, 2, 6), 16
TYPES = list(CORRUPTIONS)


@pytest.fixture(scope="module")
def truth():
    g = torch.Generator().manual_seed(0)
    d = sum(SIZES)
    return Skyline(
        W_enc=torch.randn(D_IN, d, generator=g),
        b_enc=torch.zeros(d),
        W_dec=torch.randn(d, D_IN, generator=g),
        b_dec=torch.randn(D_IN, generator=g),
        block_sizes=SIZES,
    )


@pytest.fixture(scope="module")
def planted(truth):
    return Planted.of(truth, seed=1)


@pytest.fixture(scope="module")
def x():
    return torch.randn(300, D_IN, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("name", TYPES)
def test_nothing_is_spoilt_at_share_0(planted, truth, x, name):
    found = corrupt(planted, name, 0.0, seed=3)
    assert torch.equal(found.encode(x), truth.encode(x))
    assert torch.allclose(found.decode(found.encode(x)), truth.decode(truth.encode(x)), atol=1e-5)


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("share", [0.4, 1.0])
def test_every_planted_dictionary_keeps_the_contract(planted, x, name, share):
    found = corrupt(planted, name, share, seed=3)
    decoder = affine_decoder(found)  # checks that it is affine
    f = found.encode(x)
    assert f.shape == (300, found.d_sae)
    assert torch.allclose(decoder(f), found.decode(f), atol=1e-5)
    assert torch.equal(found.encode(x[:7]), f[:7])
    assert torch.equal(corrupt(planted, name, share, seed=3).encode(x), f)


def test_noise_leaves_codes_and_norms_and_turns_directions_by_half(planted, x):
    found = corrupt(planted, "noise", 1.0, seed=3)
    assert torch.equal(found.encode(x), planted.encode(x))
    assert torch.allclose(found.directions.norm(dim=1), planted.directions.norm(dim=1))
    cosines = torch.cosine_similarity(found.directions, planted.directions)
    assert cosines.mean().item() == pytest.approx(0.5**0.5, abs=0.1)
    assert (cosines < 0.99).all()


def test_what_is_missing_is_taken_from_codes_and_reconstruction(planted, x):
    whole = corrupt(planted, "missing", 1.0, seed=3)
    assert whole.d_sae == 1
    assert not whole.encode(x).any()
    some = corrupt(planted, "missing", 0.5, seed=3)
    gone = [j for j in range(planted.d_sae) if not (some.directions == planted.directions[j]).all(1).any()]
    assert 0 < len(gone) == planted.d_sae - some.d_sae
    lost = planted.encode(x)[:, gone] @ planted.directions[gone]
    assert torch.allclose(some.decode(some.encode(x)), planted.decode(planted.encode(x)) - lost, atol=1e-5)


def test_merged_features_cannot_be_told_apart(planted, truth, x):
    found = corrupt(planted, "merging", 1.0, seed=3)
    assert found.d_sae == planted.d_sae / 2
    f, active = found.encode(x), truth.encode(x)
    assert (f.sum(1) == len(SIZES)).all()
    blocks = [block.tolist() for block in planted.blocks]
    pairs = [pair for block in blocks for pair in combinations(block, 2)]
    for j in range(found.d_sae):
        (members,) = [[a, b] for a, b in pairs if torch.equal(active[:, a] + active[:, b], f[:, j])]
        assert torch.allclose(found.directions[j], planted.directions[members].mean(0), atol=1e-6)


def test_a_split_feature_is_one_of_its_parts_at_a_time(planted, truth, x):
    found = corrupt(planted, "splitting", 1.0, seed=3)
    assert found.d_sae == PARTS * planted.d_sae
    f = found.encode(x)
    assert ((f == 0) | (f == 1)).all()
    assert (f.sum(1) == len(SIZES)).all()
    assert torch.allclose(found.decode(f), truth.decode(truth.encode(x)), atol=1e-5)
    # Each prompt lies in one part, whatever its features; all parts occur.
    assert len(f[truth.encode(x)[:, 8] > 0].unique(dim=0)) > 1


def test_rotated_features_reconstruct_as_before_and_mean_nothing(planted, truth, x):
    found = corrupt(planted, "rotated", 1.0, seed=3)
    f = found.encode(x)
    assert found.d_sae == planted.d_sae
    assert torch.allclose(found.decode(f), truth.decode(truth.encode(x)), atol=1e-4)
    assert (f != 0).sum(1).float().mean() > len(SIZES) + 1
    # an orthogonal map: the sum of squares is that of the features that are active
    assert torch.allclose(f.square().sum(1), torch.full((300,), float(len(SIZES))), atol=1e-4)
    assert GROUP * (planted.d_sae // GROUP) == planted.d_sae


@pytest.mark.parametrize("name", ["noise", "missing", "splitting"])
def test_what_is_spoilt_stays_so_at_a_larger_share(planted, name):
    def spoilt(share):
        found = corrupt(planted, name, share, seed=3)
        if name == "noise":
            return set((found.directions != planted.directions).any(1).nonzero()[:, 0].tolist())
        if name == "missing":
            return set((found.value == 0).flatten(1).all(1).nonzero()[:, 0].tolist())
        return set((found.index[:, 0, 0] != found.index[:, 1, 0]).nonzero()[:, 0].tolist())

    shares = (0.0, 0.3, 0.6, 1.0)
    sets = [spoilt(share) for share in shares]
    assert sets[0] == set()
    assert sets[0] < sets[1] < sets[2] < sets[3] == set(range(planted.d_sae))


def test_bad_requests_are_refused(planted):
    with pytest.raises(UnknownNameError, match="noise"):
        corrupt(planted, "noisy", 0.5, seed=0)
    with pytest.raises(InputError, match="from 0 to 1"):
        corrupt(planted, "noise", 1.2, seed=0)


def test_the_truth_finds_what_built_the_activation():
    """Activations that are sums of one code a value: the truth's features are these values, in superposition."""
    train = split_of(load_circuit("ioi-mini"), "train", 3000)
    generator = torch.Generator().manual_seed(0)
    names = sorted({prompt.io for prompt in train.prompts} | {prompt.s for prompt in train.prompts})
    codes = {(role, name): torch.randn(64, generator=generator) for role in ("io", "s") for name in names}
    pattern = {"ABB": torch.randn(64, generator=generator), "BAB": torch.randn(64, generator=generator)}
    a = torch.stack([codes["io", p.io] + codes["s", p.s] + pattern[p.pattern] for p in train.prompts])
    site = Site.parse("z.0.0@end")
    found = fit_truths(train, {site: a})[site]
    planted = Planted.of(found, 0)
    f = planted.encode(a)
    assert (planted.decode(f) - a).square().sum() / (a - a.mean(0)).square().sum() < 0.02
    blocks = f.split(found.block_sizes, dim=1)
    labels = [p.pattern == "BAB" for p in train.prompts]
    assert (blocks[2].argmax(1) == torch.tensor(labels)).float().mean() > 0.99
