"""The skyline's codes: fitted on a train split, or read where they ship with the model.

Shipped ones lie beside the model's weights as native suites. They are taken only where the model, the spec and the
train split are the same as those that they were fitted on.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor

from ioi_bench.dictionaries.suite import Suite, load_suite, save_suite
from ioi_bench.dictionaries.supervised import (
    INDEPENDENT,
    CodesFitter,
    Layout,
    SupervisedCodes,
    codes_metadata,
    codes_of_suite,
    index_labels,
)
from ioi_bench.evaluation.data import attribute_values
from ioi_bench.lm.source import MINI_DIRECTORY
from ioi_bench.sites import ATTRIBUTES, Site
from ioi_bench.task import Split

if TYPE_CHECKING:
    from ioi_bench.lm.model import LanguageModel

__all__ = ["fit_codes", "fitted_codes", "read_skylines", "skyline_suite", "write_skylines"]

KINDS = ("skyline", "skyline-mse")
"""Mean codes and least-squares codes; each is a file ``<kind>.safetensors``."""

_FIT_BATCH = 4096


def fit_codes(train: Split, activations: Mapping[Site, Float[Tensor, "prompt d_in"]]) -> CodesFitter:
    """Fit independent codes at every site."""
    known = attribute_values(train.spec)
    labels = index_labels(known, {name: [prompt.value((name,)) for prompt in train.prompts] for name in ATTRIBUTES})
    fitter = CodesFitter(Layout(known, INDEPENDENT))
    for start in range(0, len(train), _FIT_BATCH):
        rows = slice(start, start + _FIT_BATCH)
        batch = {site: values[rows] for site, values in activations.items()}
        fitter.update(batch, {name: index[rows] for name, index in labels.items()})
    return fitter


def fitted_codes(fitter: CodesFitter) -> dict[str, dict[Site, SupervisedCodes]]:
    """The codes of every kind."""
    return dict(zip(KINDS, (fitter.mean_codes(), fitter.mse_codes()), strict=True))


def skyline_suite(
    name: str, codes: Mapping[Site, SupervisedCodes], fitter: CodesFitter, model: LanguageModel, train: Split
) -> Suite:
    """Codes with their linear encoder, as a suite that says what it was fitted on."""
    metadata = {"kind": name, "spec_sha256": train.spec.sha256, "train_prompts": len(train)}
    metadata |= codes_metadata(next(iter(codes.values())))
    return Suite(name, model.name, fitter.skylines(codes), model.sha256, metadata)


def write_skylines(folder: Path, fitter: CodesFitter, model: LanguageModel, train: Split) -> None:
    """Put the skylines of all kinds into a model's folder.

    Raises:
        StorageError: the folder cannot be written.
    """
    for kind, codes in fitted_codes(fitter).items():
        suite = skyline_suite(kind, codes, fitter, model, train)
        save_suite(suite, folder / f"{kind}.safetensors", overwrite=True)


def read_skylines(
    model: LanguageModel, train: Split, sites: set[Site], folder: Path = MINI_DIRECTORY
) -> dict[str, dict[Site, SupervisedCodes]] | None:
    """The shipped skylines, or None where these are not of this model, this train split or these sites.

    Raises:
        SuiteError: a file is damaged.
    """
    found = {}
    for kind in KINDS:
        file = folder / f"{kind}.safetensors"
        if not file.is_file():
            return None
        suite = load_suite(file)
        made_on = (suite.model_sha256, suite.metadata.get("spec_sha256"), suite.metadata.get("train_prompts"))
        if made_on != (model.sha256, train.spec.sha256, len(train)) or not sites <= set(suite.sites):
            return None
        codes = codes_of_suite(suite)
        found[kind] = {site: codes[site] for site in sorted(sites)}
    return found
