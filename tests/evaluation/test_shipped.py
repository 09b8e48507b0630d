"""The skylines that ship with ioi-mini are what a fit gives, and are taken only where they belong."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
import torch

from ioi_bench.errors import SuiteError
from ioi_bench.evaluation.data import Capture, silent
from ioi_bench.evaluation.shipped import fit_codes, fitted_codes, read_skylines
from ioi_bench.lm.circuit import load_circuit
from ioi_bench.lm.model import load_model
from ioi_bench.lm.source import MINI_DIRECTORY
from ioi_bench.sites import Site
from ioi_bench.task import IOI_V1_MINI

TRAIN = IOI_V1_MINI.split("train")
SOME = {Site.parse("z.4.0@end"), Site.parse("v.3.1@s2")}


@pytest.fixture(scope="module")
def model():
    return load_model("ioi-mini")


def test_they_are_those_of_a_fresh_fit(model):
    activations = Capture(model, 512, None, silent)(TRAIN.spec, TRAIN.prompts, sorted(SOME), "train")
    shipped, fresh = read_skylines(model, TRAIN, SOME), fitted_codes(fit_codes(TRAIN, activations))
    assert set(shipped) == set(fresh) == {"skyline", "skyline-mse"}
    for kind, codes in fresh.items():
        for site, own in codes.items():
            torch.testing.assert_close(shipped[kind][site].codes, own.codes, atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(shipped[kind][site].mean, own.mean, atol=1e-4, rtol=1e-4)
            assert torch.equal(shipped[kind][site].counts, own.counts)


def test_they_cover_the_circuit(model):
    assert read_skylines(model, TRAIN, set(load_circuit("ioi-mini").sites)) is not None


def test_another_model_train_split_or_site_is_fitted_afresh(model):
    assert read_skylines(replace(model, sha256="0" * 64), TRAIN, SOME) is None
    assert read_skylines(model, TRAIN.head(19_999), SOME) is None
    other = replace(TRAIN, spec=replace(IOI_V1_MINI, name="other"))
    assert read_skylines(model, other, SOME) is None
    assert read_skylines(model, TRAIN, SOME | {Site.parse("z.0.0@end")}) is None


def test_a_missing_file_is_no_error_and_a_damaged_one_is(model, tmp_path):
    assert read_skylines(model, TRAIN, SOME, tmp_path) is None
    for kind in ("skyline", "skyline-mse"):
        shutil.copy(MINI_DIRECTORY / f"{kind}.safetensors", tmp_path)
    assert read_skylines(model, TRAIN, SOME, tmp_path) is not None
    file = tmp_path / "skyline-mse.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(SuiteError, match="truncated"):
        read_skylines(model, TRAIN, SOME, tmp_path)
