"""The anchors as baselines: what must score nothing, and what knows the answer (docs/anchors.md).

Each is registered in `ioi_bench.plugins.builtin` through the hook that outsiders use.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from ioi_bench.dictionaries.das import dimensions_for, subspaces
from ioi_bench.dictionaries.nulls import Linear, feature_use, matched_null, standard_null
from ioi_bench.dictionaries.permuted import permuted_decoder
from ioi_bench.dictionaries.supervised import INDEPENDENT, CodesFitter, Layout
from ioi_bench.dictionary import Dictionary, affine_decoder, encode_in_blocks
from ioi_bench.editing import Edit, EditInputs
from ioi_bench.errors import InputError
from ioi_bench.lm.untrained import untrained_model
from ioi_bench.plugins.records import Baseline, FitInputs
from ioi_bench.sites import Site

__all__ = ["anchors"]

_DAS_PROMPTS = 4096
_FROZEN_K, _FROZEN_EPOCHS = 3, 20


def anchors() -> list[Baseline]:
    """All anchors that are not plain dictionaries of the data."""
    return [
        Baseline("no-edit", "nothing is written", _centred_neurons, edit=_no_edit),
        Baseline("full-patch", "the counterfactual's whole activation is written", _centred_neurons, edit=_full_patch),
        Baseline("mean-ablation", "the train mean is written", _centred_neurons, edit=_mean_ablation),
        Baseline(
            "untrained",
            "the skyline and 8 d_in random directions on an untrained model",
            standard_null,
            model=untrained_model,
        ),
        Baseline(
            "shuffled-skyline",
            "supervised codes with a linear encoder, fitted to shuffled labels",
            fit_all=_shuffled_skyline,
        ),
        Baseline(
            "skyline-encoded", "supervised codes with a linear encoder in place of the oracle", fit_all=_encoded_skyline
        ),
        Baseline("frozen-decoder", "a top-k SAE, k = 3, whose directions are random and stay", fit_all=_frozen_decoder),
        Baseline(
            "das", "a subspace a site and cell, learnt through the model with the labels", fit_all=_das, per_cell=True
        ),
        Baseline(
            "matched-random",
            "random directions with the suite's d_sae, L0 and norms",
            fit_all=_matched,
            needs_suite=True,
        ),
        Baseline(
            "permuted-decoder",
            "the suite's encoder with its directions dealt out anew",
            fit_all=_permuted,
            needs_suite=True,
        ),
    ]


# -- edits of the whole activation: in its own coordinates about the train mean, all features at once ---------------


def _centred_neurons(train: Float[Tensor, "prompt d_in"], _: int) -> Linear:
    return Linear(torch.eye(train.shape[1]), train.double().mean(0).float())


def _whole(inputs: EditInputs, budgets: tuple[int, ...], written: Tensor, *, out: bool, put: bool) -> Edit:
    """The same whatever the budget, of which there must be room for all features."""
    rounds, d_sae = budgets[-1], len(inputs.directions)
    if budgets[0] < d_sae:
        raise InputError(f"an edit of all {d_sae} features does not fit into a budget of {budgets[0]}")
    every = torch.arange(rounds).where(torch.arange(rounds) < d_sae, -1).expand(len(inputs), -1)
    none = torch.full_like(every, -1)
    edited = written.expand(len(budgets), *inputs.a_s.shape)
    return Edit(budgets, edited, every if out else none, every if put else none)


def _no_edit(inputs: EditInputs, budgets: tuple[int, ...]) -> Edit:
    return _whole(inputs, budgets, inputs.a_s, out=False, put=False)


def _full_patch(inputs: EditInputs, budgets: tuple[int, ...]) -> Edit:
    return _whole(inputs, budgets, inputs.a_t, out=True, put=True)


def _mean_ablation(inputs: EditInputs, budgets: tuple[int, ...]) -> Edit:
    return _whole(inputs, budgets, inputs.decoder.offset.expand_as(inputs.a_s), out=True, put=False)


# -- dictionaries that know labels, the model or the suite ----------------------------------------------------------


def _layout(inputs: FitInputs) -> Layout:
    numbers = {name: tuple(map(str, range(n))) for name, n in inputs.n_values.items()}
    return Layout(numbers, INDEPENDENT)


def _skylines(inputs: FitInputs, labels: Mapping[str, Tensor]) -> dict[Site, Dictionary]:
    fitter = CodesFitter(_layout(inputs))
    fitter.update({site: inputs.activations[site] for site in inputs.sites}, labels)
    return dict(fitter.skylines(fitter.mean_codes()))


def _encoded_skyline(inputs: FitInputs) -> dict[Site, Dictionary]:
    return _skylines(inputs, inputs.values)


def _shuffled_skyline(inputs: FitInputs) -> dict[Site, Dictionary]:
    """Each prompt gets the labels of another: the same at all sites, so that labels still go with each other."""
    seed = min(inputs.seeds.values())
    order = torch.randperm(len(inputs.split), generator=torch.Generator().manual_seed(seed))
    return _skylines(inputs, {name: index[order] for name, index in inputs.values.items()})


def _frozen_decoder(inputs: FitInputs) -> dict[Site, Dictionary]:
    from ioi_bench.training.brief import train_briefly

    train = {site: inputs.activations[site] for site in inputs.sites}
    return dict(train_briefly("frozen-decoder", _FROZEN_K, train, inputs.seeds, epochs=_FROZEN_EPOCHS))


def _das(inputs: FitInputs) -> dict[Site, Dictionary]:
    """On the first 4,096 train prompts and their counterfactuals."""
    from ioi_bench.task import tokenize

    assert inputs.cell is not None  # per_cell
    n = min(_DAS_PROMPTS, len(inputs.split))
    split, attributes = inputs.split.head(n), inputs.cell.attributes
    tokens, changed = (
        tokenize(split.spec, prompts, inputs.model.tokenizer)
        for prompts in (split.prompts, split.counterfactual(attributes))
    )
    values = 1
    for attribute in attributes:
        values *= inputs.n_values[attribute]
    target: dict[Site, list[Tensor]] = {site: [] for site in inputs.sites}
    for start in range(0, n, 512):
        for site, found in inputs.model.capture(changed.slice(start, start + 512), inputs.sites).items():
            target[site].append(found)
    base = {site: inputs.activations[site][:n] for site in inputs.sites}
    joined = {site: torch.cat(found) for site, found in target.items()}
    seed = min(inputs.seeds.values())
    dimension = dimensions_for(values, min(a.shape[1] for a in base.values()))
    return dict(subspaces(inputs.model, tokens, base, joined, dimension=dimension, seed=seed))


def _matched(inputs: FitInputs) -> dict[Site, Dictionary]:
    made: dict[Site, Dictionary] = {}
    for site in inputs.sites:
        one = inputs.suite[site]
        use = feature_use(encode_in_blocks(one, inputs.read_by(site)), affine_decoder(one))
        made[site] = matched_null(use, inputs.activations[site], inputs.seeds[site])
    return made


def _permuted(inputs: FitInputs) -> dict[Site, Dictionary]:
    return {
        site: permuted_decoder(inputs.suite[site], inputs.read_by(site), inputs.seeds[site]) for site in inputs.sites
    }
