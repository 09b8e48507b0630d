"""Our p-annealing program has the loss and the gradients of dictionary_learning's p-annealing trainer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ioi_bench.training.programs import Batch, program

D_IN, D_SAE, B, LAM = 12, 40, 64, 0.3
PROGRESS = (0.0, 0.4, 0.6, 0.8, 0.99)


@pytest.fixture(scope="module")
def trainer():
    pytest.importorskip("dictionary_learning")
    module = pytest.importorskip("dictionary_learning.trainers.p_anneal")
    told = {"steps": 1000, "activation_dim": D_IN, "dict_size": D_SAE, "layer": 0, "lm_name": "gpt2", "device": "cpu"}
    steps = {"warmup_steps": 0, "sparsity_warmup_steps": None, "anneal_start": 270, "anneal_end": 1000}
    return module.PAnnealTrainer(
        **told, **steps, sparsity_function="Lp^p", initial_sparsity_penalty=LAM, p_end=0.2, n_sparsity_updates=10
    )


@pytest.fixture
def ours(trainer):
    """A program with the library's random weights."""
    made, sae = program("panneal")(torch.tensor([LAM]), D_IN, D_SAE, B), trainer.ae
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        sae.encoder.bias.copy_(0.1 * torch.randn(D_SAE, generator=generator))
        sae.bias.copy_(torch.randn(D_IN, generator=generator))
        made.parameters["encoder"][0, :D_IN] = sae.encoder.weight.T
        made.parameters["encoder"][0, D_IN] = sae.encoder.bias
        made.parameters["decoder"][0] = sae.decoder.weight.T
        made.parameters["b_dec"][0] = sae.bias
    return made


def data() -> Tensor:
    return 3 * torch.randn(B, D_IN, generator=torch.Generator().manual_seed(4))


def theirs_at(trainer, p: float) -> tuple[float, dict[str, Tensor]]:
    trainer.ae.zero_grad()
    trainer.p = p
    loss = trainer.loss(data(), step=1)
    loss.backward()
    sae = trainer.ae
    encoder = torch.cat([sae.encoder.weight.grad.T, sae.encoder.bias.grad[None]])
    return loss.item(), {"encoder": encoder, "decoder": sae.decoder.weight.grad.T, "b_dec": sae.bias.grad}


@pytest.mark.parametrize("progress", PROGRESS)
def test_loss_and_gradients_are_the_library_s(trainer, ours, progress):
    """Without our ε, which the library lacks: with none, features near 0 dominate the gradient at small p."""
    p = ours.p(progress)
    loss, gradients = theirs_at(trainer, p)
    ours.epsilon = 0.0
    ours.state["p"].fill_(p)  # the strength is compared below
    figures = ours.backward(Batch(data()[None], progress=progress))
    assert figures.loss.item() == pytest.approx(loss, rel=1e-5)
    for name, expected in gradients.items():
        found = ours.gradients[name][0]
        assert torch.cosine_similarity(found.flatten(), expected.flatten(), dim=0) > 0.99999, name
        torch.testing.assert_close(found.norm(), expected.norm(), rtol=1e-4, atol=0)


def test_every_p_has_the_library_s_coefficient(trainer, ours, monkeypatch):
    """Same features all along, so that the batch at hand is the mean of the ten latest."""
    ours.epsilon, x = 0.0, data()
    monkeypatch.setattr(trainer, "sparsity_coeff", LAM)
    for name, first in (("p", 1), ("next_p", None), ("p_step_count", 0), ("sparsity_queue", [])):
        monkeypatch.setattr(trainer, name, first)
    found, expected = {}, {}
    for step in range(1000):
        trainer.loss(x, step)
        ours.backward(Batch(x[None], progress=step / 1000))
        expected[round(float(trainer.p), 5)] = trainer.sparsity_coeff
        found[round(float(ours.state["p"][0]), 5)] = LAM * ours.state["strength"].item()
    assert found.pop(0.2)  # where the library never gets: it would be there after the last step
    assert found == pytest.approx(expected, rel=1e-4)
    assert len(found) == 9
