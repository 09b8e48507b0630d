from __future__ import annotations

import pytest
import torch

from ioi_bench.errors import InputError
from ioi_bench.training.programs import Batch, program
from ioi_bench.training.programs.largest import kth_largest

M, B, D_IN, D_SAE = 3, 17, 5, 11
LAM, K = [0.1, 0.7, 0.0], [3, 1, 4]
SPARSITY = {
    "relu": LAM,
    "gated": LAM,
    "topk": K,
    "attribution": LAM,
    "panneal": LAM,
    "frozen-decoder": K,
    "frozen-encoder": K,
    "jumprelu": LAM,
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


@pytest.mark.parametrize("k", [[3], [2, 2, 5], [7, 1, 7, 3, 1], [1, 9]])
@pytest.mark.parametrize("rows", [(), (4,)])
def test_the_kth_largest_is_that_of_a_sort(k, rows):
    values = torch.randn(len(k), *rows, 9, generator=torch.Generator().manual_seed(len(k)))
    before, spent = values.clone(), torch.empty_like(values)
    found = kth_largest(values, torch.tensor(k), spent)
    by_sort = [one.sort(dim=-1, descending=True).values[..., n - 1 : n] for one, n in zip(values, k, strict=True)]
    assert torch.equal(found, torch.stack(by_sort))
    assert torch.equal(values, before)


def build(name, seed=0, members=range(M), half=False):
    made = program(name)(torch.tensor(SPARSITY[name]).float()[list(members)], D_IN, D_SAE, B, half=half)
    for key, value in made.parameters.items():
        full = torch.randn(M, *value.shape[1:], generator=torch.Generator().manual_seed(seed + len(key)))
        value.copy_(full[list(members)])
    if name == "jumprelu":
        made.bandwidth = BANDWIDTH
    if "threshold" in made.parameters:
        made.parameters["threshold"].zero_()
        made.gradients["threshold"].fill_(7.0)  # as if an optimiser had left something there
    return made


def batch(seed=1, progress=0.0):
    x, gradient = torch.randn(2, M, B, D_IN, generator=torch.Generator().manual_seed(seed))
    return Batch(x, gradient, progress)


def loss_by_autograd(name, parameters, batch):
    """The losses as the programs' docstrings state them, term by term."""
    w_enc, bias = parameters["encoder"][:, :D_IN], parameters["encoder"][:, None, D_IN]
    b_dec = parameters["b_dec"][:, None]
    x = batch.x
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
        lam = sparsity * min(1, 100 * batch.progress)
        rest = lam * StraightThrough.apply(u + bias, theta, 0).sum(2)
    else:
        f = torch.relu(u + bias)
        if name in ("topk", "frozen-decoder", "frozen-encoder"):
            rank = f.argsort(2, descending=True).argsort(2)
            f = f * (rank < sparsity[..., None])
        elif name in ("batchtopk", "matryoshka"):
            rank = f.flatten(1).argsort(1, descending=True).argsort(1).view_as(f)
            f = f * (rank < sparsity[..., None] * B)
        elif name == "panneal":
            rest = sparsity * ((f + 1e-3) ** (p := program(name).p(batch.progress)) - 1e-3**p).sum(2)
        else:
            rest = sparsity * f.sum(2)
    e = f @ parameters["decoder"] + b_dec - x
    error = e.square().sum(2)
    if name == "attribution":
        attributions = f * (batch.gradient @ parameters["decoder"].transpose(1, 2))
        rest = rest + sparsity * attributions.abs().sum(2) + (batch.gradient * e).sum(2).abs()
    if name == "matryoshka":
        for m in (1, 2, 5):  # of 11: a sixteenth is less than one, then an eighth, a quarter, a half
            rest = rest + (f[..., :m] @ parameters["decoder"][:, :m] + b_dec - x).square().sum(2)
    return (error + rest).mean(1), error.mean(1), f


@pytest.mark.parametrize("name", SPARSITY)
@pytest.mark.parametrize("progress", [0.0, 0.6, 0.999])
def test_gradients_and_figures_equal_autograd(name, progress):
    made, given = build(name), batch(progress=progress)
    leaves = {key: value.clone().requires_grad_() for key, value in made.parameters.items()}
    if made.state:
        made.state["p"].fill_(made.p(progress))  # as if p had been there for long: no change of strength
    loss, error, f = loss_by_autograd(name, leaves, given)
    loss.sum().backward()
    figures = made.backward(given)
    for key, leaf in leaves.items():
        if key == "decoder" and "decoder" in made.frozen:
            leaf.grad.zero_()
        if key == "encoder" and "W_enc" in made.frozen:
            leaf.grad[:, :D_IN] = 0
        if leaf.grad is None or not leaf.grad.any():
            assert not made.gradients[key].any(), key
            continue
        error_share = (made.gradients[key] - leaf.grad).abs().max() / leaf.grad.abs().max()
        assert error_share < 1e-5, key
    torch.testing.assert_close(figures.loss, loss.detach(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(figures.error, error.detach(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(figures.feature_sums, f.detach().sum(1), rtol=1e-5, atol=1e-5)
    assert torch.equal(figures.active, (f > 0).sum((1, 2)).float())


@pytest.mark.parametrize("name", SPARSITY)
def test_a_program_and_its_export_agree(name):
    made, given = build(name), batch()
    x, error = given.x, made.backward(given).error
    for member, sparsity in enumerate(SPARSITY[name]):
        weights = {key: value[member] for key, value in made.parameters.items()}
        if "threshold" in weights:  # the least value that was kept, which is not above itself
            weights["threshold"] = weights["threshold"] * (1 - 1e-5)
        dictionary = type(made).export(weights, sparsity, 2.0)
        inputs = x[member] / 2  # the scale makes x of them
        found = (2 * dictionary.decode(dictionary.encode(inputs)) - x[member]).square().sum(1).mean()
        torch.testing.assert_close(found, error[member], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SPARSITY)
def test_a_member_does_not_feel_the_others(name):
    together, alone, given = build(name), build(name, members=[1]), batch(progress=0.6)
    figures = together.backward(given)
    own = alone.backward(Batch(given.x[1:2], given.gradient[1:2], given.progress))
    torch.testing.assert_close(figures.loss[1:2], own.loss)
    for key, gradient in alone.gradients.items():
        torch.testing.assert_close(together.gradients[key][1:2], gradient)


@pytest.mark.parametrize("name", SPARSITY)
def test_bfloat16_products_change_little_and_weights_stay_float32(name):
    exact, half, given = build(name), build(name, half=True), batch()
    one, two = exact.backward(given), half.backward(given)
    torch.testing.assert_close(two.loss, one.loss, rtol=0.05, atol=0.05)
    assert half.flat.dtype == half.flat_gradient.dtype == torch.float32
    assert not torch.equal(half.flat_gradient, exact.flat_gradient)


@pytest.mark.parametrize(
    ("name", "sparsity"),
    [("topk", 0), ("topk", 2.5), ("topk", 12), ("batchtopk", 0.5), ("relu", -1), ("relu", float("nan"))],
)
def test_a_sparsity_that_makes_no_sense_is_refused(name, sparsity):
    with pytest.raises(InputError, match=name):
        program(name).check(sparsity, D_SAE)


@pytest.mark.parametrize("what", ["weights", "gradient"])
def test_attribution_without_attribution_is_relu(what):
    relu, given = build("relu"), batch()
    made = build("attribution")
    if what == "weights":
        made.attribution = made.unexplained = 0.0
    one = relu.backward(given)
    two = made.backward(given if what == "weights" else Batch(given.x, torch.zeros_like(given.x)))
    torch.testing.assert_close(two.loss, one.loss)
    torch.testing.assert_close(made.flat_gradient, relu.flat_gradient)


def test_attributions_of_a_case_by_hand():
    """One prompt, x = (3, 1), feature 2 along the first axis: e = (-1, -1); g = (-2, 1): a = -2, g·e = 1."""
    made = program("attribution")(torch.tensor([0.5]), 2, 1, 1)
    made.parameters["encoder"].copy_(torch.tensor([[[1.0], [0.0], [-1.0]]]))
    made.parameters["decoder"].copy_(torch.tensor([[[1.0, 0.0]]]))
    figures = made.backward(Batch(torch.tensor([[[3.0, 1.0]]]), torch.tensor([[[-2.0, 1.0]]])))
    assert figures.loss.tolist() == [2 + 0.5 * 2 + 0.5 * 4 + 1]
    dx_hat = torch.tensor([-2.0, -2.0]) + torch.tensor([-2.0, 1.0])  # 2 e + sgn(u) g
    expected = 2 * dx_hat + 0.5 * 2 * -1 * torch.tensor([-2.0, 1.0])  # f ∂/∂x̂ + λ f sgn(a) g
    assert made.gradients["decoder"][0, 0].tolist() == expected.tolist()


def test_p_is_1_then_falls_to_its_end_in_ten_stretches():
    p = [program("panneal").p(step / 1000) for step in range(1000)]
    assert p[:270] == [1.0] * 270
    assert p == sorted(p, reverse=True)
    assert len(set(p)) == 10
    assert p[-1] == pytest.approx(0.2)
    assert len([value for value in p if value == p[-1]]) == pytest.approx(73, abs=1)


def test_before_annealing_panneal_is_relu():
    relu, made, given = build("relu"), build("panneal"), batch(progress=0.2)
    one, two = relu.backward(given), made.backward(given)
    torch.testing.assert_close(two.loss, one.loss)
    torch.testing.assert_close(made.flat_gradient, relu.flat_gradient)


def test_a_change_of_p_leaves_the_penalty_as_strong_as_it_was():
    made, before = build("panneal"), batch(progress=0.2)
    first = made.backward(before)
    for progress in (0.5, 0.7, 0.95):  # p changes, the features do not
        figures = made.backward(Batch(before.x, progress=progress))
        torch.testing.assert_close(figures.loss, first.loss)
    assert made.state["p"].tolist() == pytest.approx([0.2] * M)
    strength = made.state["strength"].clone()
    assert (strength != 1).all()
    made.backward(batch(seed=5, progress=0.96))  # the same p: nothing to adapt, though the batch is another
    assert torch.equal(made.state["strength"], strength)


def test_a_member_without_active_features_survives_a_change_of_p():
    made = build("panneal")
    made.parameters["encoder"][1] = 0
    figures = made.backward(batch(progress=0.9))
    assert figures.active[1] == 0
    assert figures.loss.isfinite().all()
    assert made.flat_gradient.isfinite().all()
    assert made.state["strength"][1] == 1


def test_features_near_zero_do_not_rule_an_annealed_step():
    """f = 1e-7 alone: its slope is that of p (ε)^(p − 1), and not the 80,000 of p f^(p − 1)."""
    made = program("panneal")(torch.tensor([1.0]), 1, 1, 1)
    made.parameters["encoder"].copy_(torch.tensor([[[1.0], [1e-7]]]))
    made.backward(Batch(torch.zeros(1, 1, 1), progress=0.0))
    made.backward(Batch(torch.zeros(1, 1, 1), progress=0.99))
    slope = made.gradients["encoder"][0, 1, 0] / made.state["strength"]
    assert slope.item() == pytest.approx(0.2 * 1e-3**-0.8, rel=1e-3)


def train(made, steps):
    """The trainer's step, by PyTorch's own Adam."""
    flat = torch.nn.Parameter(made.flat)
    optimiser = torch.optim.Adam([flat], lr=1e-2)
    losses = []
    for step in range(steps):
        losses.append(made.backward(batch(seed=step, progress=step / steps)).error.mean())
        made.remove_parallel_gradient()
        flat.grad = made.flat_gradient
        optimiser.step()
        made.normalise()
    return losses


@pytest.mark.parametrize(
    ("name", "still", "rows"), [("frozen-decoder", "decoder", None), ("frozen-encoder", "encoder", D_IN)]
)
def test_what_is_frozen_keeps_its_bits_and_the_rest_learns(name, still, rows):
    made = program(name)(torch.tensor(SPARSITY[name]).float(), D_IN, D_SAE, B)
    for member in range(M):
        made.initialise(member, torch.zeros(D_IN), torch.Generator().manual_seed(member))
    first = {key: value.clone() for key, value in made.parameters.items()}
    losses = train(made, 300)
    for key, value in made.parameters.items():
        if key == still:
            assert torch.equal(value[:, :rows], first[key][:, :rows])
        else:
            assert not torch.equal(value, first[key]), key
    if rows is not None:
        assert (made.parameters[still][:, rows:] != 0).all()  # the threshold learns
    assert sum(losses[-20:]) < sum(losses[:20])


def test_jumprelu_gives_no_gradient_to_the_encoder_through_the_threshold():
    one, two, x = build("jumprelu"), build("jumprelu"), batch(progress=0.5)
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
