from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from ioi_bench.dictionaries.suite import Suite, load_suite, save_suite
from ioi_bench.dictionaries.supervised import (
    COUPLED,
    INDEPENDENT,
    CodesFitter,
    Layout,
    codes_metadata,
    codes_of_suite,
    fit_mean_codes,
    fit_mse_codes,
    index_labels,
)
from ioi_bench.dictionary import affine_decoder
from ioi_bench.errors import InputError, SuiteError, UnknownNameError
from ioi_bench.sites import Site

N_NAMES, D_IN = 7, 6
VALUES = {
    "io": tuple(f"n{i}" for i in range(N_NAMES)),
    "s": tuple(f"n{i}" for i in range(N_NAMES)),
    "pos": ("ABB", "BAB"),
}
HERE, THERE = Site.parse("z.4.0@end"), Site.parse("v.1.3@s2")


def layout(blocks=INDEPENDENT):
    return Layout(VALUES, blocks)


def random_labels(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randint(0, len(values), (n,), generator=generator) for name, values in VALUES.items()}


def crossed_labels():
    """Every combination of values once: the balanced design."""
    columns = torch.tensor(list(product(*(range(len(values)) for values in VALUES.values()))))
    return dict(zip(VALUES, columns.T, strict=True))


def normal(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).float()


def planted(blocks, labels, seed=2, d_in=D_IN):
    """Mean plus codes that add up to 0 in every block."""
    plan = layout(blocks)
    codes = torch.cat([block - block.mean(0) for block in normal(sum(plan.sizes), d_in, seed=seed).split(plan.sizes)])
    return codes, 3 + codes[plan.features(labels)].sum(1)


def take(labels, index):
    return {name: label[index] for name, label in labels.items()}


def close(got, expected, tolerance=1e-5):
    torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance)


def test_the_layout_counts_joint_values_with_the_last_attribute_fastest():
    plan = layout(COUPLED)
    assert plan.sizes == (14, 14)
    assert plan.names[:3] == ("io|pos=n0|ABB", "io|pos=n0|BAB", "io|pos=n1|ABB")
    labels = {"io": torch.tensor([0, 2]), "s": torch.tensor([6, 0]), "pos": torch.tensor([1, 0])}
    assert plan.features(labels).tolist() == [[1, 14 + 13], [4, 14 + 0]]
    assert [plan.names[i] for i in plan.features(labels)[0]] == ["io|pos=n0|BAB", "s|pos=n6|BAB"]
    assert Layout.from_json(plan.to_json()) == plan


@pytest.mark.parametrize("blocks", [INDEPENDENT, COUPLED])
@pytest.mark.parametrize("sizes", [(500,), (1, 499), (128, 128, 128, 116)])
def test_streaming_equals_the_closed_forms(blocks, sizes):
    labels, a = random_labels(500), 5 + normal(500, D_IN)
    fitter, plan = CodesFitter(layout(blocks)), layout(blocks)
    for index in torch.arange(500).split(list(sizes)):
        fitter.update({HERE: a[index]}, take(labels, index))
    mean, mse = fitter.mean_codes()[HERE], fitter.mse_codes()[HERE]

    features, centred = plan.features(labels), a - a.mean(0)
    expected = torch.stack([centred[(features == j).any(1)].mean(0) for j in range(mean.d_sae)])
    close(mean.codes, expected.nan_to_num())
    close(mean.mean, a.mean(0))

    design = mse.oracle_features(labels).double().numpy()
    solution, *_ = np.linalg.lstsq(design, centred.double().numpy(), rcond=1e-10)  # gelsd: the minimum norm
    close(mse.codes, torch.from_numpy(solution).float())
    gelsd = torch.linalg.lstsq(torch.from_numpy(design), centred.double(), driver="gelsd", rcond=1e-10).solution
    close(mse.codes, gelsd.float())


@pytest.mark.parametrize("blocks", [INDEPENDENT, COUPLED])
def test_mse_codes_recover_planted_sums_on_any_design(blocks):
    labels = random_labels(3000)
    _, a = planted(blocks, labels)
    codes = fit_mse_codes(a, labels, layout(blocks))
    close(codes.reconstruct(labels), a)
    fresh = random_labels(200, seed=9)
    close(codes.reconstruct(fresh), planted(blocks, fresh)[1])


def test_mse_codes_recover_differences_within_an_attribute():
    labels = random_labels(3000)
    true, a = planted(INDEPENDENT, labels)
    got = fit_mse_codes(a, labels, layout()).codes
    for g, t in zip(got.split(layout().sizes), true.split(layout().sizes), strict=True):
        close(g - g[0], t - t[0])


def test_both_recover_the_codes_themselves_on_a_balanced_design():
    labels = crossed_labels()
    true, a = planted(INDEPENDENT, labels)
    for fit in (fit_mean_codes, fit_mse_codes):
        close(fit(a, labels, layout()).codes, true)


@pytest.mark.parametrize("blocks", [INDEPENDENT, COUPLED])
def test_an_edit_moves_the_planted_attributes_and_keeps_the_rest(blocks):
    labels = random_labels(3000)
    _, a = planted(blocks, labels)
    codes, noise = fit_mse_codes(a, labels, layout(blocks)), normal(3000, D_IN, seed=5)
    for changed in (("io",), ("pos",), ("s", "pos")):
        target = {**labels, **{name: random_labels(3000, seed=8)[name] for name in changed}}
        close(codes.edit(a + noise, labels, target), planted(blocks, target)[1] + noise)
    assert torch.equal(codes.edit(a, labels, labels), a)


def test_oracle_features_decode_to_the_reconstruction():
    labels, a = random_labels(400), normal(400, D_IN)
    codes = fit_mean_codes(a, labels, layout(COUPLED))
    f = codes.oracle_features(labels)
    assert ((f != 0).sum(1) == 2).all()
    close(codes.decoder(f), codes.reconstruct(labels))
    assert [tuple(block.shape) for block in codes.blocks.values()] == [(14, D_IN), (14, D_IN)]


def test_an_unseen_value_has_code_zero_and_is_listed():
    labels = random_labels(500)
    labels["io"] = labels["io"].clamp(max=N_NAMES - 2)
    for fit in (fit_mean_codes, fit_mse_codes):
        codes = fit(normal(500, D_IN), labels, layout())
        assert codes.unseen == ("io=n6",)
        assert codes.codes[6].abs().max() < 1e-6
    fitter = CodesFitter(layout())
    fitter.update({HERE: normal(500, D_IN)}, labels)
    assert fitter.skylines(fitter.mean_codes())[HERE].encode(normal(5000, D_IN, seed=3))[:, 6].sum() == 0


def test_sites_fitted_together_or_alone_are_the_same():
    labels, a, b = random_labels(300), normal(300, D_IN), normal(300, 4, seed=7)
    both = CodesFitter(layout())
    both.update({HERE: a, THERE: b}, labels)
    assert torch.equal(both.mse_codes()[THERE].codes, fit_mse_codes(b, labels, layout()).codes)
    assert torch.equal(both.mean_codes()[HERE].codes, fit_mean_codes(a, labels, layout()).codes)


def skyline_data(noise=0.05):
    labels = random_labels(4000)
    _, a = planted(INDEPENDENT, labels, d_in=16)  # more dimensions than values: readable
    loud = 30 * normal(4000, 2, seed=6)  # says nothing, but a plain nearest mean would listen to it
    return labels, torch.cat([a + noise * normal(*a.shape, seed=4) + loud[:, :1], loud], 1)


def test_the_linear_encoder_reads_each_attribute():
    labels, a = skyline_data()
    fitter = CodesFitter(layout())
    fitter.update({HERE: a}, labels)
    skyline = fitter.skylines(fitter.mse_codes())[HERE]
    agreement = (skyline.encode(a) == fitter.mse_codes()[HERE].oracle_features(labels)).all(1).float().mean()
    assert agreement > 0.99
    affine_decoder(skyline)


def test_an_exported_skyline_comes_back_with_its_oracle_codes(tmp_path):
    labels, a = skyline_data()
    fitter = CodesFitter(layout())
    fitter.update({HERE: a, THERE: a[:, :3]}, labels)
    codes = fitter.mean_codes()
    before = Suite("skyline-encoded", "ioi-mini", fitter.skylines(codes), metadata=codes_metadata(codes[HERE]))
    save_suite(before, tmp_path / "skyline")
    after = load_suite(tmp_path / "skyline")
    assert torch.equal(after.dictionaries[HERE].encode(a), before.dictionaries[HERE].encode(a))
    again = codes_of_suite(after)[THERE]
    assert again.layout == codes[THERE].layout
    assert torch.equal(again.codes, codes[THERE].codes)
    assert torch.equal(again.mean, codes[THERE].mean)
    assert torch.equal(again.counts, codes[THERE].counts)
    with pytest.raises(SuiteError, match="no exported skyline"):
        codes_of_suite(Suite("x", "m", before.dictionaries))


def test_activations_that_never_vary_are_fitted():
    labels = random_labels(100)
    fitter = CodesFitter(layout())
    fitter.update({HERE: torch.ones(100, 3)}, labels)
    skyline = fitter.skylines(fitter.mse_codes())[HERE]
    close(skyline.decode(skyline.encode(torch.ones(2, 3))), torch.ones(2, 3))


def test_bad_input_is_named():
    labels, a = random_labels(10), normal(10, D_IN)
    with pytest.raises(InputError, match="call update first"):
        CodesFitter(layout()).mean_codes()
    with pytest.raises(InputError, match="9 activations for 10 labels"):
        fit_mean_codes(a[:9], labels, layout())
    with pytest.raises(InputError, match="NaN or Inf"):
        fit_mean_codes(a / 0, labels, layout())
    with pytest.raises(InputError, match="no labels for 's'"):
        fit_mean_codes(a, {"io": labels["io"]}, layout())
    with pytest.raises(InputError, match=r"labels for 'pos' go from .* to 5, expected 0 to 1"):
        fit_mean_codes(a, {**labels, "pos": torch.full((10,), 5)}, layout())
    with pytest.raises(UnknownNameError, match="unknown attribute 'po'"):
        Layout(VALUES, (("po",),))
    with pytest.raises(InputError, match="distinct values"):
        Layout({"pos": ("ABB", "ABB")}, (("pos",),))
    with pytest.raises(InputError, match="needs blocks"):
        Layout(VALUES, ())
    with pytest.raises(InputError, match="not a layout"):
        Layout.from_json({"values": 3})
    with pytest.raises(UnknownNameError, match="unknown value of io 'n9'"):
        index_labels(VALUES, {"io": ["n9"]})
    fitter = CodesFitter(layout())
    fitter.update({HERE: a}, labels)
    with pytest.raises(InputError, match="the same sites"):
        fitter.update({THERE: a}, labels)
