from __future__ import annotations

import pytest
import torch

from ioi_bench.training.programs import program

S, B, D_IN, D_SAE = 3, 17, 5, 11
LAM = {"relu": torch.tensor([0.1, 0.7, 0.0]), "gated": torch.tensor([0.1, 0.7, 0.0]), "topk": torch.zeros(S)}


def build(name, seed=0, n_sites=S):
    made = program(name, n_sites, D_IN, D_SAE, B, LAM[name][:n_sites], 3 if name == "topk" else None)
    made.flat.copy_(torch.randn(made.flat.shape, generator=torch.Generator().manual_seed(seed)))
    return made


def batch(seed=1):
    return torch.randn(S, B, D_IN, generator=torch.Generator().manual_seed(seed))


def loss_by_autograd(name, parameters, x):
    """The losses as the architectures' docstrings state them, term by term."""
    w_enc, bias = parameters["encoder"][:, :D_IN], parameters["encoder"][:, None, D_IN]
    b_dec = parameters["b_dec"][:, None]
    u = (x - b_dec) @ w_enc
    lam = LAM[name][:, None]
    if name == "gated":
        pi = u + bias
        f = (pi > 0) * torch.relu(parameters["r_mag"].exp()[:, None] * u + parameters["b_mag"][:, None])
        fixed = torch.relu(pi) @ parameters["decoder"].detach() + b_dec.detach()
        rest = lam * torch.relu(pi).sum(2) + (fixed - x).square().sum(2)
    else:
        f = torch.relu(u + bias)
        if name == "topk":
            f = f * torch.zeros_like(f).scatter(2, f.topk(3, dim=2).indices, 1.0)
        rest = lam * f.sum(2)
    error = (f @ parameters["decoder"] + b_dec - x).square().sum(2)
    return (error + rest).mean(1), error.mean(1), f


@pytest.mark.parametrize("name", ["relu", "gated", "topk"])
def test_gradients_and_figures_equal_autograd(name):
    made, x = build(name), batch()
    leaves = {key: value.clone().requires_grad_() for key, value in made.parameters.items()}
    loss, error, f = loss_by_autograd(name, leaves, x)
    loss.sum().backward()
    figures = made.backward(x)
    for key, leaf in leaves.items():
        error_share = (made.gradients[key] - leaf.grad).abs().max() / leaf.grad.abs().max()
        assert error_share < 1e-5, key
    torch.testing.assert_close(figures.loss, loss.detach(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(figures.error, error.detach(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(figures.feature_sums, f.detach().sum(1), rtol=1e-5, atol=1e-5)
    assert torch.equal(figures.active, (f > 0).sum((1, 2)).float())


@pytest.mark.parametrize("name", ["relu", "gated", "topk"])
def test_a_program_and_its_export_agree(name):
    made, x = build(name), batch()
    _, error, f = loss_by_autograd(name, made.parameters, x)
    for site in range(S):
        exported = made.export(site, scale=4.0)
        torch.testing.assert_close(exported.encode(x[site] / 4), f[site], rtol=1e-5, atol=1e-5)
        got = 4 * exported.decode(exported.encode(x[site] / 4)) - x[site]
        torch.testing.assert_close(got.square().sum(1).mean(), error[site], rtol=1e-5, atol=1e-5)
    exported = made.export(0, scale=1.0)
    made.flat.zero_()
    assert exported.W_dec.any()  # frozen: a copy, not a view


def test_rows_stay_unit_and_steps_go_along_the_sphere():
    made = build("relu")
    made.normalise()
    torch.testing.assert_close(made.parameters["decoder"].norm(dim=2), torch.ones(S, D_SAE))
    made.backward(batch())
    made.remove_parallel_gradient()
    along = (made.parameters["decoder"] * made.gradients["decoder"]).sum(2)
    torch.testing.assert_close(along, torch.zeros(S, D_SAE), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["relu", "gated"])
def test_the_first_reconstruction_is_about_the_input(name):
    made = program(name, 1, 32, 256, 500, torch.zeros(1), None)
    made.initialise(0, torch.zeros(32), torch.Generator().manual_seed(0))
    x = torch.randn(1, 500, 32, generator=torch.Generator().manual_seed(1))
    assert float(made.backward(x).error[0]) < 0.5 * float(x.square().sum(2).mean())


def test_initial_weights():
    made = build("gated")
    made.flat.zero_()
    made.initialise(1, torch.full((D_IN,), 2.0), torch.Generator().manual_seed(0))
    weights = made.export(1, 1.0)
    torch.testing.assert_close(weights.W_dec.norm(dim=1), torch.ones(D_SAE))
    torch.testing.assert_close(weights.W_enc, weights.W_dec.T * 10 / 11)
    assert torch.equal(weights.b_dec, torch.full((D_IN,), 2.0))
    assert not torch.cat([weights.r_mag, weights.b_gate, weights.b_mag]).any()
    assert not made.parameters["decoder"][0].any()
