from __future__ import annotations

import pytest
import torch

from ioi_bench.errors import InputError
from ioi_bench.training.programs import Batch, program

M, B, D_IN, D_SAE = 3, 17, 5, 11
SPARSITY = {"relu": [0.1, 0.7, 0.0], "gated": [0.1, 0.7, 0.0], "topk": [3, 1, 4]}


def build(name, seed=0, members=range(M), half=False):
    made = program(name)(torch.tensor(SPARSITY[name]).float()[list(members)], D_IN, D_SAE, B, half=half)
    for key, value in made.parameters.items():
        full = torch.randn(M, *value.shape[1:], generator=torch.Generator().manual_seed(seed + len(key)))
        value.copy_(full[list(members)])
    return made


def batch(seed=1):
    return torch.randn(M, B, D_IN, generator=torch.Generator().manual_seed(seed))


def loss_by_autograd(name, parameters, x):
    """The losses as the programs' docstrings state them, term by term."""
    w_enc, bias = parameters["encoder"][:, :D_IN], parameters["encoder"][:, None, D_IN]
    b_dec = parameters["b_dec"][:, None]
    u = (x - b_dec) @ w_enc
    sparsity = torch.tensor(SPARSITY[name]).float()[:, None]
    rest = 0.0
    if name == "gated":
        pi = u + bias
        f = (pi > 0) * torch.relu(parameters["r_mag"].exp()[:, None] * u + parameters["b_mag"][:, None])
        fixed = torch.relu(pi) @ parameters["decoder"].detach() + b_dec.detach()
        rest = sparsity * torch.relu(pi).sum(2) + (fixed - x).square().sum(2)
    else:
        f = torch.relu(u + bias)
        if name == "topk":
            rank = f.argsort(2, descending=True).argsort(2)
            f = f * (rank < sparsity[..., None])
        else:
            rest = sparsity * f.sum(2)
    error = (f @ parameters["decoder"] + b_dec - x).square().sum(2)
    return (error + rest).mean(1), error.mean(1), f


@pytest.mark.parametrize("name", SPARSITY)
def test_gradients_and_figures_equal_autograd(name):
    made, x = build(name), batch()
    leaves = {key: value.clone().requires_grad_() for key, value in made.parameters.items()}
    loss, error, f = loss_by_autograd(name, leaves, x)
    loss.sum().backward()
    figures = made.backward(Batch(x))
    for key, leaf in leaves.items():
        error_share = (made.gradients[key] - leaf.grad).abs().max() / leaf.grad.abs().max()
        assert error_share < 1e-5, key
    torch.testing.assert_close(figures.loss, loss.detach(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(figures.error, error.detach(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(figures.feature_sums, f.detach().sum(1), rtol=1e-5, atol=1e-5)
    assert torch.equal(figures.active, (f > 0).sum((1, 2)).float())


@pytest.mark.parametrize("name", SPARSITY)
def test_a_program_and_its_export_agree(name):
    made, x = build(name), batch()
    error = made.backward(Batch(x)).error
    for member, sparsity in enumerate(SPARSITY[name]):
        weights = {key: value[member] for key, value in made.parameters.items()}
        dictionary = type(made).export(weights, sparsity, 2.0)
        inputs = x[member] / 2  # the scale makes x of them
        found = (2 * dictionary.decode(dictionary.encode(inputs)) - x[member]).square().sum(1).mean()
        torch.testing.assert_close(found, error[member], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SPARSITY)
def test_a_member_does_not_feel_the_others(name):
    together, alone, x = build(name), build(name, members=[1]), batch()
    figures, own = together.backward(Batch(x)), alone.backward(Batch(x[1:2]))
    torch.testing.assert_close(figures.loss[1:2], own.loss)
    for key, gradient in alone.gradients.items():
        torch.testing.assert_close(together.gradients[key][1:2], gradient)


@pytest.mark.parametrize("name", SPARSITY)
def test_bfloat16_products_change_little_and_weights_stay_float32(name):
    exact, half, x = build(name), build(name, half=True), batch()
    one, two = exact.backward(Batch(x)), half.backward(Batch(x))
    torch.testing.assert_close(two.loss, one.loss, rtol=0.05, atol=0.05)
    assert half.flat.dtype == half.flat_gradient.dtype == torch.float32
    assert not torch.equal(half.flat_gradient, exact.flat_gradient)


@pytest.mark.parametrize(("name", "sparsity"), [("topk", 0), ("topk", 2.5), ("topk", 12), ("relu", -1), ("relu", float("nan"))])
def test_a_sparsity_that_makes_no_sense_is_refused(name, sparsity):
    with pytest.raises(InputError, match=name):
        program(name).check(sparsity, D_SAE)
