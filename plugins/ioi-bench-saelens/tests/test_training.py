"""Our variants against the training classes of SAELens: same weights and batch, same loss and gradients.

JumpReLU is compared with SAELens rather than with dictionary_learning, whose trainer penalises the squared distance of
L0 from a target, and whose step function is given the features in place of the pre-activations.
"""

from __future__ import annotations

import pytest
import torch

from ioi_bench.training.programs import Batch, program

D_IN, D_SAE, B, K, LAM, BANDWIDTH = 12, 48, 32, 3, 0.7, 0.9
CASES = {
    "jumprelu": ("jumprelu", {"jumprelu_bandwidth": BANDWIDTH, "jumprelu_sparsity_loss_mode": "step"}),
    "batchtopk": ("batchtopk", {"k": K, "rescale_acts_by_decoder_norm": False}),
    "matryoshka": (
        "matryoshka_batchtopk",
        {"k": K, "rescale_acts_by_decoder_norm": False, "matryoshka_widths": [3, 6, 12, 24, 48]},
    ),
}

pytestmark = [
    pytest.mark.filterwarnings("ignore:The 'utils' module has been deprecated:DeprecationWarning"),  # SAELens 6.54
]


def pair(name):
    """Their SAE and our program, with the same random weights; decoder rows far from norm 1."""
    lens = pytest.importorskip("sae_lens")
    kind, settings = CASES[name]
    sae_class, config_class = lens.registry.get_sae_training_class(kind)
    theirs = sae_class(config_class(d_in=D_IN, d_sae=D_SAE, device="cpu", **settings))
    ours = program(name)(torch.tensor([LAM if name == "jumprelu" else float(K)]), D_IN, D_SAE, B)
    ours.flat.copy_(torch.randn(ours.flat.shape, generator=torch.Generator().manual_seed(0)))
    theirs.W_enc.data.copy_(ours.parameters["encoder"][0, :-1])
    theirs.b_enc.data.copy_(ours.parameters["encoder"][0, -1])
    theirs.W_dec.data.copy_(ours.parameters["decoder"][0])
    theirs.b_dec.data.copy_(ours.parameters["b_dec"][0])
    if name == "jumprelu":
        ours.bandwidth = BANDWIDTH
        theirs.threshold.data.copy_(ours.parameters["log_threshold"][0].exp())
    return theirs, ours


@pytest.mark.parametrize("name", CASES)
def test_loss_and_gradients_are_those_of_saelens(name):
    theirs, ours = pair(name)
    x = torch.randn(B, D_IN, generator=torch.Generator().manual_seed(1))
    step = {"coefficients": {"l0": LAM}, "dead_neuron_mask": None, "n_training_steps": 1, "is_logging_step": False}
    given = pytest.importorskip("sae_lens.saes.sae").TrainStepInput(sae_in=x, **step)
    loss = theirs.training_forward_pass(given).loss
    loss.backward()
    figures = ours.backward(Batch(x[None], progress=0.5))
    torch.testing.assert_close(figures.loss[0], loss.detach(), rtol=1e-5, atol=1e-5)
    encoder = ours.gradients["encoder"][0]
    found = {"W_enc": encoder[:-1], "b_enc": encoder[-1], "W_dec": ours.gradients["decoder"][0]}
    found["b_dec"] = ours.gradients["b_dec"][0]
    if name == "jumprelu":  # ours is by log θ
        found["threshold"] = ours.gradients["log_threshold"][0] / ours.parameters["log_threshold"][0].exp()
    assert {key for key, parameter in theirs.named_parameters() if parameter.grad is not None} == set(found)
    for key, value in found.items():
        expected = getattr(theirs, key).grad
        assert expected.abs().max() > 0
        torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
