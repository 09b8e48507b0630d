"""Our variants against the trainers of dictionary_learning: same weights and batch, same loss and gradients."""

from __future__ import annotations

import pytest
import torch

from ioi_bench.training.programs import Batch, program

D_IN, D_SAE, B, K = 12, 48, 32, 3
FRACTIONS = [1 / 16, 1 / 16, 1 / 8, 1 / 4, 1 / 2]
CASES = {
    "batchtopk": ("batch_top_k.BatchTopKTrainer", {}, 1),
    # a mean over prefixes of losses that are weighted by their number already, in place of a sum
    "matryoshka": ("matryoshka_batch_top_k.MatryoshkaBatchTopKTrainer", {"group_fractions": FRACTIONS}, 5 * 5),
}


def pair(name):
    """Their trainer and our program, with the same random weights; decoder rows far from norm 1."""
    pytest.importorskip("dictionary_learning")
    path, extra, _ = CASES[name]
    module, cls = path.split(".")
    trainer = getattr(pytest.importorskip(f"dictionary_learning.trainers.{module}"), cls)
    told = {"steps": 10, "activation_dim": D_IN, "dict_size": D_SAE, "k": K, "layer": 0, "lm_name": "none"}
    theirs = trainer(**told, device="cpu", warmup_steps=1, threshold_start_step=0, **extra)
    ours = program(name)(torch.tensor([float(K)]), D_IN, D_SAE, B)
    ours.flat.copy_(torch.randn(ours.flat.shape, generator=torch.Generator().manual_seed(0)))
    ours.parameters["threshold"].zero_()
    encoder, own = ours.parameters["encoder"][0], tensors(theirs.ae)
    for key, value in (
        ("W_enc", encoder[:-1]),
        ("b_enc", encoder[-1]),
        ("W_dec", ours.parameters["decoder"][0]),
        ("b_dec", ours.parameters["b_dec"][0]),
    ):
        parameter, transposed = own[key]
        parameter.data.copy_(value.T if transposed else value)
    return theirs, ours


def tensors(sae):
    """Their parameters by our names, and whether they lie transposed."""
    if hasattr(sae, "W_enc"):
        return {key: (getattr(sae, key), False) for key in ("W_enc", "b_enc", "W_dec", "b_dec")}
    return {
        "W_enc": (sae.encoder.weight, True),
        "b_enc": (sae.encoder.bias, False),
        "W_dec": (sae.decoder.weight, True),
        "b_dec": (sae.b_dec, False),
    }


@pytest.mark.parametrize("name", CASES)
def test_loss_and_gradients_are_the_librarys(name):
    (theirs, ours), factor = pair(name), CASES[name][2]
    x = torch.randn(B, D_IN, generator=torch.Generator().manual_seed(1))
    loss = theirs.loss(x, step=1)  # no feature counts as dead yet: no auxiliary loss
    loss.backward()
    figures = ours.backward(Batch(x[None]))
    torch.testing.assert_close(figures.loss[0], factor * loss.detach(), rtol=1e-5, atol=1e-5)
    encoder = ours.gradients["encoder"][0]
    found = {"W_enc": encoder[:-1], "b_enc": encoder[-1], "W_dec": ours.gradients["decoder"][0]}
    found["b_dec"] = ours.gradients["b_dec"][0]
    for key, (parameter, transposed) in tensors(theirs.ae).items():
        expected = factor * (parameter.grad.T if transposed else parameter.grad)
        torch.testing.assert_close(found[key], expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("name", CASES)
def test_the_first_batch_sets_the_librarys_threshold(name):
    """After it, the library takes a thousandth of every new value; ours, like its authors' own code, a hundredth."""
    theirs, ours = pair(name)
    x = torch.randn(B, D_IN, generator=torch.Generator().manual_seed(1))
    theirs.loss(x, step=1)
    ours.backward(Batch(x[None]))
    torch.testing.assert_close(ours.parameters["threshold"][0], theirs.ae.threshold.expand(D_SAE))
