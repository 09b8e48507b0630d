from __future__ import annotations

import pytest
import torch

from ioi_bench.training import Tactics
from ioi_bench.training.programs import program
from ioi_bench.training.resampling import resample

D_IN, D_SAE, N = 6, 10, 300
DEAD = [2, 5, 9]


def made(name="gated"):
    built = program(name)(torch.tensor([1.0, 1.0]), D_IN, D_SAE, 8)
    built.flat.copy_(torch.randn(built.flat.shape, generator=torch.Generator().manual_seed(0)))
    parts = built.flat.split([value.numel() for value in built.parameters.values()])
    shapes = [value.shape for value in built.parameters.values()]
    moments = tuple(
        {name: torch.ones_like(p).view(shape) for name, p, shape in zip(built.parameters, parts, shapes, strict=True)}
        for _ in range(2)
    )
    return built, moments


def used(dead=DEAD):
    values = torch.ones(D_SAE)
    values[dead] = 0.0
    return values


def run(built, moments, tactics=None, loss=None, dead=DEAD):
    x = torch.randn(N, D_IN, generator=torch.Generator().manual_seed(1))
    loss = torch.ones(N) if loss is None else loss
    generator = torch.Generator().manual_seed(2)
    return x, resample(built, 1, x, loss, used(dead), moments, tactics or Tactics(), generator)


def test_dead_features_become_inputs_and_nothing_else_changes():
    built, moments = made()
    before = built.flat.clone()
    x, count = run(built, moments)
    assert count == 3
    weights = {name: value[1] for name, value in built.parameters.items()}
    inputs = torch.nn.functional.normalize(x - weights["b_dec"], dim=1)
    alive = [i for i in range(D_SAE) if i not in DEAD]
    norm = weights["encoder"][:D_IN, alive].norm(dim=0).mean()
    for j in DEAD:
        assert (inputs @ weights["decoder"][j]).max() == pytest.approx(1.0, abs=1e-5)
        torch.testing.assert_close(weights["encoder"][:D_IN, j], 0.2 * norm * weights["decoder"][j])
        assert weights["encoder"][D_IN, j] == weights["r_mag"][j] == weights["b_mag"][j] == 0
    again, _ = made()
    for name, value in again.parameters.items():
        changed = built.parameters[name]
        torch.testing.assert_close(changed[0], value[0], rtol=0, atol=0)  # the other member
        if name == "encoder":
            assert torch.equal(changed[1][:, alive], value[1][:, alive])
        elif name != "b_dec":
            assert torch.equal(changed[1][alive], value[1][alive])
    assert not torch.equal(before, built.flat)


def test_adam_forgets_dead_features_only_and_only_where_told():
    for reset in (True, False):
        built, moments = made()
        run(built, moments, Tactics(adam_reset=reset))
        for moment in moments:
            assert bool((moment["decoder"][1][DEAD] == 0).all()) == reset
            assert bool((moment["encoder"][1][:, DEAD] == 0).all()) == reset
            zeros = sum(int((value == 0).sum()) for value in moment.values())
            assert zeros == (3 * (D_IN + D_IN + 1 + 2) if reset else 0)


def test_inputs_are_drawn_by_their_own_squared_loss():
    loss = torch.full((N,), 1e-3)
    loss[[7, 70, 170]] = 10.0
    for own in (True, False):
        built, moments = made()
        x, _ = run(built, moments, Tactics(example_losses=own), loss)
        inputs = torch.nn.functional.normalize(x - built.parameters["b_dec"][1], dim=1)
        chosen = {int((inputs @ built.parameters["decoder"][1][j]).argmax()) for j in DEAD}
        assert (chosen == {7, 70, 170}) == own


def test_norms_of_all_features_where_told():
    built, moments = made()
    norm = built.parameters["encoder"][1][:D_IN].norm(dim=0).mean()
    run(built, moments, Tactics(feature_norms=False))
    torch.testing.assert_close(built.parameters["encoder"][1][:D_IN, DEAD].norm(dim=0), (0.2 * norm).expand(3))


def test_all_dead_none_dead_and_fewer_prompts_than_dead_features():
    built, moments = made()
    before = built.flat.clone()
    assert run(built, moments, dead=[])[1] == 0
    assert torch.equal(built.flat, before)
    assert run(built, moments, dead=list(range(D_SAE)))[1] == D_SAE
    assert built.flat.isfinite().all()
    assert run(built, moments, loss=torch.zeros(N).index_fill(0, torch.tensor([3]), 1.0))[1] == 3
    assert built.flat.isfinite().all()
