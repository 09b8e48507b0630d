from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from ioi_bench.dictionaries.architectures import Relu
from ioi_bench.dictionaries.nulls import (
    FeatureUse,
    codebook,
    feature_use,
    matched_null,
    pca,
    random_topk,
    standard_null,
)
from ioi_bench.dictionary import AffineDecoder, Dictionary, affine_decoder, encode_in_blocks
from ioi_bench.errors import InputError

D_IN = 6


def train(n=800):
    generator = torch.Generator().manual_seed(0)
    spread = torch.linspace(0.5, 3, D_IN)
    return 4 + spread * torch.randn(n, D_IN, generator=generator)


def sae(d_sae=40, dead=(3, 7)):
    generator = torch.Generator().manual_seed(1)
    decoder = torch.randn(d_sae, D_IN, generator=generator)
    bias = torch.full((d_sae,), -2.0)
    bias[list(dead)] = -1e6
    return Relu(W_enc=decoder.T.clone(), b_enc=bias, W_dec=decoder, b_dec=torch.full((D_IN,), 4.0))


def explained(dictionary, x):
    error = dictionary.decode(dictionary.encode(x)) - x
    return 1 - float(error.square().sum() / (x - x.mean(0)).square().sum())


def use_of(dictionary, x):
    return feature_use(dictionary.encode(x), affine_decoder(dictionary))


def all_nulls(seed=0):
    x = train()
    return {
        "matched": matched_null(use_of(sae(), x), x, seed),
        "standard": standard_null(x, seed),
        "codebook": codebook(x, 50, seed),
        "pca": pca(x),
    }


@pytest.mark.parametrize("name", ["matched", "standard", "codebook", "pca"])
def test_each_is_a_dictionary_of_the_same_bytes_for_the_same_seed(name):
    one, two, x = all_nulls()[name], all_nulls()[name], train()
    assert isinstance(one, Dictionary)
    decoder, f = affine_decoder(one), encode_in_blocks(one, x)
    torch.testing.assert_close(one.decode(f), decoder(f), rtol=1e-5, atol=1e-5)
    assert torch.equal(f, two.encode(x))
    assert torch.equal(decoder.directions, affine_decoder(two).directions)
    if name != "pca":
        assert not torch.equal(decoder.directions, affine_decoder(all_nulls(seed=1)[name]).directions)


def test_the_use_of_features_is_counted():
    x, dictionary = train(), sae()
    use = use_of(dictionary, x)
    f = dictionary.encode(x)
    assert use.l0 == pytest.approx(float((f != 0).sum(1).float().mean()))
    assert torch.equal(use.alive, (f != 0).any(0))
    assert not use.alive[[3, 7]].any()
    torch.testing.assert_close(use.norms, dictionary.W_dec.norm(dim=1))


def test_a_constant_feature_buys_the_null_nothing():
    x, dictionary = train(), sae()
    f = torch.cat([dictionary.encode(x), torch.full((len(x), 1), 2.0)], 1)
    decoder = affine_decoder(dictionary)
    longer = AffineDecoder(torch.cat([decoder.directions, decoder.directions[:1]]), decoder.offset)
    use = feature_use(f, longer)
    assert use.l0 == use_of(dictionary, x).l0
    assert not use.alive[-1]
    f[0, -1] = 3.0  # now it varies
    assert feature_use(f, longer).alive[-1]


def test_a_matched_null_has_the_size_sparsity_and_norms():
    x = train()
    use = use_of(sae(), x)
    null = matched_null(use, x, 0)
    assert null.d_sae == 40
    assert null.k == round(use.l0)
    torch.testing.assert_close(null.directions.norm(dim=1), use.norms * use.alive)
    f = null.encode(x)
    assert (f >= 0).all()
    assert int((f != 0).sum(1).max()) <= null.k
    assert not (f[:, ~use.alive] != 0).any()


def test_what_changes_nothing_for_a_dictionary_changes_nothing_for_its_null():
    """Decoder rescaled with the encoder's inverse, features permuted, dead features added: the same reconstructions."""
    x, one = train(), sae()
    factors = torch.rand(40, generator=torch.Generator().manual_seed(3)) + 0.5
    order = torch.randperm(40, generator=torch.Generator().manual_seed(4))
    rescaled = replace(one, W_enc=one.W_enc / factors, b_enc=one.b_enc / factors, W_dec=one.W_dec * factors[:, None])
    permuted = replace(one, W_enc=one.W_enc[:, order], b_enc=one.b_enc[order], W_dec=one.W_dec[order])
    padded = replace(
        one,
        W_enc=torch.cat([torch.zeros(D_IN, 9), one.W_enc], 1),
        b_enc=torch.cat([-torch.ones(9), one.b_enc]),
        W_dec=torch.cat([torch.ones(9, D_IN), one.W_dec]),
    )
    null = matched_null(use_of(one, x), x, 0)
    for other in (rescaled, permuted, padded):
        same = matched_null(use_of(other, x), x, 0)
        torch.testing.assert_close(same.decode(same.encode(x)), null.decode(null.encode(x)), rtol=1e-5, atol=1e-5)


def test_the_gain_is_the_best_one():
    x = train()
    null = standard_null(x, 0)
    assert (null.d_sae, null.k) == (8 * D_IN, 3)
    best = explained(null, x)
    assert all(explained(replace(null, gain=null.gain * factor), x) < best for factor in (0.95, 1.05))
    assert best > 0


def test_a_null_may_be_of_a_dictionary_that_is_all_dead_or_dense():
    x = train()
    dead = FeatureUse(0.0, torch.zeros(5, dtype=torch.bool), torch.zeros(5))
    null = matched_null(dead, x, 0)
    torch.testing.assert_close(null.decode(null.encode(x)), x.mean(0).expand_as(x))
    assert matched_null(use_of(pca(x), x), x, 0).k == D_IN


def test_a_codebook_gives_the_nearest_memory():
    x = train()
    book = codebook(x, 50, 0)
    f = book.encode(x)
    assert ((f == 1).sum(1) == 1).all()
    assert ((f == 0).sum(1) == 49).all()
    memories = book.directions + book.offset
    nearest = torch.cdist(x, memories).argmin(1)
    torch.testing.assert_close(book.decode(f), memories[nearest])
    assert int((torch.cdist(book.decode(f), x).min(1).values < 1e-2).sum()) == len(x)  # memories are train activations


def test_pca_is_lossless_orthonormal_and_ordered():
    x = train()
    axes = pca(x)
    torch.testing.assert_close(axes.decode(axes.encode(x)), x, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(axes.directions @ axes.directions.T, torch.eye(D_IN), rtol=1e-5, atol=1e-5)
    variance = axes.encode(x).var(0)
    assert (variance.diff() < 0).all()
    assert (axes.encode(x) < 0).any()
    assert (axes.directions.gather(1, axes.directions.abs().argmax(1, keepdim=True)) > 0).all()


def test_bad_input_is_named():
    x = train()
    with pytest.raises(InputError, match="a codebook of 801 activations cannot be drawn from 800"):
        codebook(x, 801, 0)
    for build in (pca, lambda none: standard_null(none, 0), lambda none: use_of(sae(), none)):
        with pytest.raises(InputError, match="train activations"):
            build(x[:0])
    with pytest.raises(InputError, match="1 ≤ k ≤ 4, got 5"):
        random_topk(torch.ones(4, dtype=torch.bool), torch.ones(4), 5, x, 0)
