"""Gemma Scope: files of the published layout, against the tutorial's equations written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ioi_bench_gemma_scope import ioi_bench_loaders, load, recognise

from ioi_bench.dictionaries.source import Source
from ioi_bench.dictionary import affine_decoder
from ioi_bench.errors import SuiteError
from ioi_bench.plugins.records import LoadOptions
from ioi_bench.sites import HookPoint

D_IN, D_SAE = 24, 96
SAID = LoadOptions(hook=HookPoint.parse("resid_post.20"), model="gemma-2-2b")
FOLDER = "gemma-scope-2b-pt-res/layer_20/width_16k/average_l0_71"


def arrays(**changes):
    rng = np.random.default_rng(0)
    shapes = {"W_enc": (D_IN, D_SAE), "W_dec": (D_SAE, D_IN), "b_enc": (D_SAE,), "b_dec": (D_IN,)}
    found = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    found["threshold"] = np.abs(rng.standard_normal(D_SAE)).astype(np.float32)
    return {name: value for name, value in {**found, **changes}.items() if value is not None}


def write(folder, found=None):
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "params.npz", **(arrays() if found is None else found))
    return Source(folder, str(folder))


def dictionary_of(source, options=SAID):
    return next(iter(load(source, options).dictionaries.values()))


def tutorial(x, found):
    """``pre = x W_enc + b_enc``; active above the threshold, through a ReLU."""
    w = {name: value.astype(np.float64) for name, value in found.items()}
    pre = x.double().numpy() @ w["W_enc"] + w["b_enc"]
    f = np.where(pre > w["threshold"], np.maximum(pre, 0), 0)
    return torch.from_numpy(f).float(), torch.from_numpy(f @ w["W_dec"] + w["b_dec"]).float()


def test_the_equations(tmp_path, hard_inputs, assert_same):
    dictionary, x = dictionary_of(write(tmp_path)), hard_inputs(D_IN)
    f, x_hat = tutorial(x, arrays())
    assert 0 < (f[:64] > 0).float().mean() < 0.5
    assert_same(dictionary.encode(x), f)
    assert_same(dictionary.decode(dictionary.encode(x)), x_hat)
    affine_decoder(dictionary)


def test_below_zero_the_relu_decides(tmp_path, hard_inputs, assert_same):
    found = arrays(threshold=np.full(D_SAE, -0.5, dtype=np.float32))
    x = hard_inputs(D_IN)
    assert_same(dictionary_of(write(tmp_path, found)).encode(x), tutorial(x, found)[0])


@pytest.mark.parametrize(
    ("folder", "hook", "model"),
    [
        (FOLDER, "resid_post.20", "gemma-2-2b"),
        ("gemma-scope-9b-pt-mlp/layer_3/width_16k/average_l0_5", "mlp_out.3", "gemma-2-9b"),
        ("gemma-scope-2b-pt-att/layer_12/width_16k/average_l0_5", "z.12", "gemma-2-2b"),
        ("gemma-scope-9b-it-res/layer_31/width_16k/average_l0_5", "resid_post.31", "gemma-2-9b-it"),
    ],
)
def test_names_of_the_release(tmp_path, folder, hook, model):
    source = write(tmp_path / folder)
    found, suite = recognise(source, LoadOptions()), load(source, LoadOptions())
    assert found.hooks == suite.hooks == (HookPoint.parse(hook),)
    assert found.model == suite.model == model
    assert (found.architecture, found.d_in, found.d_sae, found.normalisation) == ("jumprelu", D_IN, D_SAE, "none")


def test_the_origin_on_a_hub_tells_too(tmp_path):
    written = write(tmp_path / "snapshot" / "layer_20" / "width_16k")
    source = Source(written.path, "hf://google/gemma-scope-2b-pt-res@0123abc/layer_20/width_16k", "0123abc")
    assert recognise(source, LoadOptions()).hooks == (SAID.hook,)


def test_elsewhere_hook_and_model_are_asked_for(tmp_path):
    source = write(tmp_path)
    assert recognise(source, LoadOptions()).hooks == ()
    with pytest.raises(SuiteError, match="add --hook"):
        load(source, LoadOptions())
    with pytest.raises(SuiteError, match="add --model"):
        load(source, LoadOptions(hook=SAID.hook))
    suite = load(source, SAID)
    assert (suite.hooks, len(suite.dictionaries)) == ((SAID.hook,), 5)


def test_transcoders_are_refused(tmp_path):
    source = write(tmp_path / "gemma-scope-2b-pt-transcoders" / "layer_20")
    for call in (recognise, load):
        with pytest.raises(SuiteError, match="transcoder"):
            call(source, LoadOptions())


def test_one_of_many_must_be_given(tmp_path):
    for l0 in (22, 71):
        write(tmp_path / f"average_l0_{l0}")
    for call in (recognise, load):
        with pytest.raises(SuiteError, match="holds 2 SAEs"):
            call(Source(tmp_path, "folder"), SAID)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"threshold": None}, "lacks the tensors threshold"),
        ({"W_dec": np.zeros((D_SAE, D_IN + 1), dtype=np.float32)}, "has the shape"),
        ({"b_dec": np.zeros(D_IN + 1, dtype=np.float32)}, "do not fit"),
        ({"W_enc": np.full((D_IN, D_SAE), np.nan, dtype=np.float32)}, "NaN"),
        ({"b_enc": np.array([None] * D_SAE)}, r"no \.npz of plain arrays"),
    ],
)
def test_damaged(tmp_path, changes, message):
    with pytest.raises(SuiteError, match=message):
        load(write(tmp_path, arrays(**changes)), SAID)


def test_truncated(tmp_path):
    source = write(tmp_path)
    file = tmp_path / "params.npz"
    file.write_bytes(file.read_bytes()[:-300])
    with pytest.raises(SuiteError, match=r"no \.npz of plain arrays"):
        load(source, SAID)


def test_other_files_are_left_alone(tmp_path):
    np.savez(tmp_path / "params.npz", weights=np.zeros(3))
    assert recognise(Source(tmp_path, "x"), LoadOptions()) is None
    empty = tmp_path / "empty"
    empty.mkdir()
    assert recognise(Source(empty, "x"), LoadOptions()) is None
    with pytest.raises(SuiteError, match=r"no params\.npz"):
        load(Source(empty, "x"), SAID)


def test_registered():
    (loader,) = ioi_bench_loaders()
    assert (loader.name, loader.load) == ("gemma-scope", load)
