"""Distributed alignment search: its edit, its gradient, and what it finds where the answer is known."""

from __future__ import annotations

import pytest
import torch

from ioi_bench.dictionaries import das
from ioi_bench.dictionaries.nulls import pca
from ioi_bench.errors import InputError
from ioi_bench.lm.circuit import load_circuit
from ioi_bench.lm.model import load_model
from ioi_bench.lm.patching import patched_logits
from ioi_bench.task import task_spec, tokenize

N = 700


@pytest.fixture(scope="module")
def pos():
    """``pos@si-out`` of ioi-mini: model, tokens, activations of base and counterfactual train prompts."""
    model, circuit = load_model("ioi-mini"), load_circuit("ioi-mini")
    sites = circuit.cross_sections["si-out"].sites
    split = task_spec(circuit.task).split("train").head(N)
    tokens, changed = (
        tokenize(split.spec, prompts, model.tokenizer) for prompts in (split.prompts, split.counterfactual(("pos",)))
    )
    return model, tokens, model.capture(tokens, sites), model.capture(changed, sites)


def loss(pos, bases):
    return das.interchange_loss(*pos, bases).item()


def accuracy(pos, bases):
    model, tokens, base, target = pos
    truth = patched_logits(model, tokens, [target])[0].argmax(-1)
    written = {site: a + (target[site] - a) @ bases[site] @ bases[site].T for site, a in base.items()}
    return (patched_logits(model, tokens, [written])[0].argmax(-1) == truth).float().mean().item()


@pytest.fixture(scope="module")
def found(pos):
    return das.subspaces(*pos, dimension=1, seed=0, steps=60)


def test_the_whole_space_is_the_whole_patch(pos):
    assert loss(pos, {site: torch.eye(a.shape[1]) for site, a in pos[2].items()}) == pytest.approx(0, abs=1e-6)


def test_the_loss_is_the_divergence_of_whole_runs(pos):
    """By torch's own divergence, from logits of runs that are patched without a gradient."""
    model, tokens, base, target = pos
    bases = {site: das.principal_axes(target[site] - a, 2) for site, a in base.items()}
    written = {site: a + (target[site] - a) @ bases[site] @ bases[site].T for site, a in base.items()}
    edited, truth = (patched_logits(model, tokens, [values])[0].log_softmax(-1) for values in (written, target))
    expected = torch.nn.functional.kl_div(edited, truth, log_target=True, reduction="batchmean").item()
    assert loss(pos, bases) == pytest.approx(expected, rel=1e-4)


def test_the_gradient_is_that_of_differences(pos):
    model, tokens, base, target = pos
    few = (model, tokens.slice(0, 8), {s: a[:8] for s, a in base.items()}, {s: a[:8] for s, a in target.items()})
    bases = {site: das.principal_axes(target[site] - a, 1).clone().requires_grad_() for site, a in base.items()}
    das.interchange_loss(*few, bases).backward()
    site, step = next(iter(bases)), 1e-2
    along = bases[site].grad / bases[site].grad.norm()
    with torch.no_grad():
        up, down = (loss(few, {**bases, site: bases[site] + sign * step * along}) for sign in (1, -1))
    assert (up - down) / (2 * step) == pytest.approx(bases[site].grad.norm().item(), rel=0.05)


def test_one_dimension_carries_pos_where_no_principal_axis_does(pos, found):
    """The supervised codes' edit is right in nine of ten prompts here; so must a subspace learnt for it be."""
    _, _, base, _ = pos
    bases = {site: one.directions.T for site, one in found.items()}
    axes = {site: pca(a).directions for site, a in base.items()}
    best = min(loss(pos, {site: axes[site][i, :, None] for site in base}) for i in range(8))
    assert loss(pos, bases) < best
    assert accuracy(pos, bases) > 0.9


def test_it_ends_no_worse_than_it_began(pos, found):
    start = das.subspaces(*pos, dimension=1, seed=0, steps=0)
    _, _, base, target = pos
    for site, one in start.items():
        assert torch.allclose(one.directions.T, das.principal_axes(target[site] - base[site], 1), atol=1e-4)
    assert loss(pos, {s: one.directions.T for s, one in found.items()}) <= loss(
        pos, {s: one.directions.T for s, one in start.items()}
    )


def test_directions_are_orthonormal_and_the_first_changes_most(pos):
    _, _, base, target = pos
    for site, one in das.subspaces(*pos, dimension=4, seed=0, steps=3).items():
        assert torch.allclose(one.directions @ one.directions.T, torch.eye(4), atol=1e-4)
        change = ((target[site] - base[site]) @ one.directions.T).square().mean(0)
        assert (change[:-1] >= change[1:] - 1e-6).all()


def test_the_same_seed_gives_the_same_bytes(pos):
    one, again = (das.subspaces(*pos, dimension=2, seed=3, steps=2) for _ in range(2))
    assert all(torch.equal(one[site].directions, again[site].directions) for site in one)


@pytest.mark.parametrize("dimension", [0, 33])
def test_impossible_dimensions_are_refused(pos, dimension):
    with pytest.raises(InputError, match="1 to d_in = 32 dimensions"):
        das.subspaces(*pos, dimension=dimension, seed=0)
