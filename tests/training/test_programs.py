from __future__ import annotations

import pytest
import torch

from ioi_bench.errors import InputError
from ioi_bench.training.programs import Batch, program

M, B, D_IN, D_SAE = 3, 17, 5, 11
SPARSITY = {
    "relu": [0.1, 0.7, 0.0],
    "gated": [0.1, 0.7, 0.0],
    "topk": [3, 1, 4],
    "jumprelu": [0.1, 0.7, 0.0],
    "batchtopk": [3, 1, 2],
    "matryoshka": [3, 1, 2],
}
BANDWIDTH = 1.5  # of jumprelu here: wide, so that many pre-activations count


class StraightThrough(torch.autograd.Function):
    """``z ** power · H(z − θ)``, with the paper's derivative by θ (2407.14435, eqs. 11 and 12)."""

    @staticmethod
    def forward(ctx, z, theta, power):
        ctx.save_for_backward(z, theta)
        ctx.power = power
        return z**power * (z > theta)

    @staticmethod
    def backward(ctx, grad):
        z, theta = ctx.saved_tensors
        inside = ((z - theta).abs() / BANDWIDTH < 0.5).float()
        assert inside.any()
        by_z = (z > theta) * grad if ctx.power else torch.zeros_like(z)
        return by_z, (-(theta**ctx.power) / BANDWIDTH * inside * grad).sum(1, keepdim=True), None


def build(name, seed=0, members=range(M), half=False):
    made = program(name)(torch.tensor(SPARSITY[name]).float()[list(members)], D_IN, D_SAE, B, half=half)
    for key, value in made.parameters.items():
        full = torch.randn(M, *value.shape[1:], generator=torch.Generator().manual_seed(seed + len(key)))
        value.copy_(full[list(members)])
    made.flat_gradient.fill_(7.0)  # as if something had been left there
    if name == "jumprelu":
        made.bandwidth = BANDWIDTH
    if "threshold" in made.parameters:
        made.parameters["threshold"].zero_()
    return made


def batch(seed=1):
    return Batch(torch.randn(M, B, D_IN, generator=torch.Generator().manual_seed(seed)), progress=0.5)


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
    elif name == "jumprelu":
        theta = parameters["log_threshold"].exp()[:, None]
        f = StraightThrough.apply(u + bias, theta, 1)
        rest = sparsity * StraightThrough.apply(u + bias, theta, 0).sum(2)
    else:
        f = torch.relu(u + bias)
        if name == "relu":
            rest = sparsity * f.sum(2)
        elif name == "topk":
            f = f * (f.argsort(2, descending=True).argsort(2) < sparsity[..., None])
        else:
            rank = f.flatten(1).argsort(1, descending=True).argsort(1).view_as(f)
            f = f * (rank < sparsity[..., None] * B)
    error = (f @ parameters["decoder"] + b_dec - x).square().sum(2)
    if name == "matryoshka":
        for m in (1, 2, 5):  # of 11: a sixteenth is less than one, then an eighth, a quarter, a half
            rest = rest + (f[..., :m] @ parameters["decoder"][:, :m] + b_dec - x).square().sum(2)
    return (error + rest).mean(1), error.mean(1), f


@pytest.mark.parametrize("name", SPARSITY)
def test_gradients_and_figures_equal_autograd(name):
    made, x = build(name), batch()
    leaves = {key: value.clone().requires_grad_() for key, value in made.parameters.items()}
    loss, error, f = loss_by_autograd(name, leaves, x.x)
    loss.sum().backward()
    figures = made.backward(x)
    for key, leaf in leaves.items():
        if key == "threshold":  # no gradient: it follows the batches
            assert leaf.grad is None
            assert made.gradients[key].count_nonzero() == 0
            continue
        error_share = (made.gradients[key] - leaf.grad).abs().max() / leaf.grad.abs().max()
        assert error_share < 1e-5, key
    torch.testing.assert_close(figures.loss, loss.detach(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(figures.error, error.detach(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(figures.feature_sums, f.detach().sum(1), rtol=1e-5, atol=1e-5)
    assert torch.equal(figures.active, (f > 0).sum((1, 2)).float())


@pytest.mark.parametrize("name", SPARSITY)
def test_a_program_and_its_export_agree(name):
    made, x = build(name), batch()
    error = made.backward(x).error
    for member, sparsity in enumerate(SPARSITY[name]):
        weights = {key: value[member] for key, value in made.parameters.items()}
        if "threshold" in weights:  # the least value that was kept, which is not above itself
            weights["threshold"] = weights["threshold"] * (1 - 1e-5)
        dictionary = type(made).export(weights, sparsity, 2.0)
        inputs = x.x[member] / 2  # the scale makes x of them
        found = (2 * dictionary.decode(dictionary.encode(inputs)) - x.x[member]).square().sum(1).mean()
        torch.testing.assert_close(found, error[member], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SPARSITY)
def test_a_member_does_not_feel_the_others(name):
    together, alone, x = build(name), build(name, members=[1]), batch()
    figures, own = together.backward(x), alone.backward(Batch(x.x[1:2], progress=0.5))
    torch.testing.assert_close(figures.loss[1:2], own.loss)
    for key, gradient in alone.gradients.items():
        torch.testing.assert_close(together.gradients[key][1:2], gradient)


@pytest.mark.parametrize("name", SPARSITY)
def test_bfloat16_products_change_little_and_weights_stay_float32(name):
    exact, half, x = build(name), build(name, half=True), batch()
    one, two = exact.backward(x), half.backward(x)
    torch.testing.assert_close(two.loss, one.loss, rtol=0.05, atol=0.05)
    assert half.flat.dtype == half.flat_gradient.dtype == torch.float32
    assert not torch.equal(half.flat_gradient, exact.flat_gradient)


@pytest.mark.parametrize(
    ("name", "sparsity"),
    [
        ("batchtopk", 0.5),
        ("jumprelu", -1),
        ("topk", 0),
        ("topk", 2.5),
        ("topk", 12),
        ("relu", -1),
        ("relu", float("nan")),
    ],
)
def test_a_sparsity_that_makes_no_sense_is_refused(name, sparsity):
    with pytest.raises(InputError, match=name):
        program(name).check(sparsity, D_SAE)


def test_jumprelu_gives_no_gradient_to_the_encoder_through_the_threshold():
    one, two, x = build("jumprelu"), build("jumprelu"), batch()
    two.bandwidth, two.sparsity = 1e-6, two.sparsity + 100
    one.backward(x), two.backward(x)
    assert torch.equal(one.gradients["encoder"], two.gradients["encoder"])
    assert not torch.equal(one.gradients["log_threshold"], two.gradients["log_threshold"])


def test_jumprelu_raises_lambda_over_the_first_hundredth():
    made, x = build("jumprelu"), batch().x
    penalties = []
    for progress in (0.0, 0.005, 0.01, 0.9):
        figures = made.backward(Batch(x, progress=progress))
        penalties.append((figures.loss - figures.error) * B / figures.active)
    expected = [share * made.sparsity for share in (0, 0.5, 1, 1)]
    torch.testing.assert_close(torch.stack(penalties), torch.stack(expected), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["batchtopk", "matryoshka"])
def test_the_batch_keeps_k_a_prompt_on_average_and_prompts_differ(name):
    made = build(name)
    assert made.backward(batch()).active.tolist() == [k * B for k in SPARSITY[name]]
    made.reconstruct(batch().x)  # in the batch's form too
    counts = (made._f > 0).sum(2)
    assert counts.sum(1).tolist() == [k * B for k in SPARSITY[name]]
    assert all(len(set(row.tolist())) > 1 for row in counts)


def least_kept(made, x):
    made.reconstruct(x)
    return torch.stack([f[f > 0].min() for f in made._f])[:, None].expand(M, D_SAE)


@pytest.mark.parametrize("name", ["batchtopk", "matryoshka"])
def test_the_threshold_is_a_running_mean_of_the_least_value_kept(name):
    made = build(name)
    first, second = least_kept(made, batch(1).x), least_kept(made, batch(2).x)
    assert not made.parameters["threshold"].any()  # only a training step moves it
    made.backward(batch(1))
    assert torch.equal(made.parameters["threshold"], first)
    made.backward(batch(2))
    mean = 0.99 * first + 0.01 * second
    torch.testing.assert_close(made.parameters["threshold"], mean)
    made.parameters["threshold"][:, 2] = 0.0  # as resampling does; it stays one for all features
    weights = {key: value[0] for key, value in made.parameters.items()}
    torch.testing.assert_close(type(made).export(weights, 3, 1.0).threshold, mean[0])
    made.backward(batch(1))
    torch.testing.assert_close(made.parameters["threshold"], 0.99 * mean + 0.01 * least_kept(made, batch(1).x))


def test_where_fewer_are_positive_all_of_them_stay():
    made = build("batchtopk")
    made.parameters["encoder"][:, D_IN] = -4.0
    figures = made.backward(batch())
    pi = (batch().x - made.parameters["b_dec"][:, None]) @ made.parameters["encoder"][:, :D_IN] - 4
    positive = (pi > 0).sum((1, 2)).float()
    assert 0 < positive[0] < 3 * B
    assert figures.active[0] == positive[0]
    assert not made.parameters["threshold"][0].any()


def test_prefixes_double():
    made = program("matryoshka")(torch.tensor([3.0]), 4, 256, 2)
    assert [block.stop for block in made.blocks] == [16, 32, 64, 128, 256]
    assert [block.start for block in made.blocks] == [0, 16, 32, 64, 128]


def test_one_prefix_is_batch_top_k():
    one, two = build("matryoshka"), build("batchtopk")
    one.flat.copy_(two.flat)
    one.blocks, one._errors = (slice(0, D_SAE),), one._errors[-1:]
    first, second = one.backward(batch()), two.backward(batch())
    torch.testing.assert_close(first.loss, second.loss)
    torch.testing.assert_close(one.flat_gradient, two.flat_gradient)
