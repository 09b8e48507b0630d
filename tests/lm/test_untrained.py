"""Untrained models: the weights are those of a fresh network, and nothing of the trained one is left."""

from __future__ import annotations

import pytest
import torch

from ioi_bench.lm.circuit import load_circuit
from ioi_bench.lm.mini.network import MiniConfig, MiniNetwork
from ioi_bench.lm.model import load_model
from ioi_bench.lm.untrained import GPT2, INITIAL, untrained_model
from ioi_bench.sites import Role
from ioi_bench.task import task_spec, tokenize


@pytest.fixture(scope="module")
def mini():
    return load_model("ioi-mini")


@pytest.fixture(scope="module")
def prompts(mini):
    spec = task_spec("ioi-v1-mini")
    return tokenize(spec, spec.split("test").head(50).prompts, mini.tokenizer)


def same_draws(seed, std):
    """The network that ioi-mini's training starts from, with the same draws put where they belong."""
    g = torch.Generator().manual_seed(seed)
    network = MiniNetwork(MiniConfig(d_vocab=len(load_model("ioi-mini").tokenizer)))
    width = network.config.d_model

    def drawn(*shape):
        return std * torch.randn(shape, generator=g)

    with torch.no_grad():
        network.wte.weight.copy_(drawn(*network.wte.weight.shape))
        network.wpe.weight.copy_(drawn(*network.wpe.weight.shape))
        for block in network.blocks:
            q, kv = drawn(width, width), drawn(width, 2 * width)
            block.qkv.weight.copy_(torch.cat([q, kv], 1).T)
            block.out.weight.copy_(drawn(width, width).T)
            block.fc.weight.copy_(drawn(width, 4 * width).T)
            block.proj.weight.copy_(drawn(4 * width, width).T)
    return network


def test_it_computes_what_a_fresh_network_with_these_draws_computes(mini, prompts):
    untrained = untrained_model(mini, 5)
    network = same_draws(5, INITIAL["ioi-mini"].std)
    with torch.no_grad():
        fresh, _ = network(prompts.tokens, prompts.positions[Role.END])
    found = untrained.logits(prompts).log_softmax(-1)
    torch.testing.assert_close(found, fresh.log_softmax(-1), rtol=1e-4, atol=1e-4)


def test_it_draws_as_the_training_of_ioi_mini_does(mini):
    """`MiniNetwork` says how its weights begin; ours must have the same spread, and no bias."""
    network, layer = MiniNetwork(MiniConfig(d_vocab=50)), untrained_model(mini, 0).weights.layers[2]
    assert layer.w_q.std().item() == pytest.approx(network.blocks[0].qkv.weight.std().item(), rel=0.03)
    assert layer.w_out.std().item() == pytest.approx(network.blocks[0].proj.weight.std().item(), rel=0.03)
    assert not layer.b_kv.any()
    assert not layer.b_out.any()


def test_other_models_begin_as_gpt2_does(tiny_gpt2):
    layer = untrained_model(tiny_gpt2, 0).weights.layers[0]
    assert layer.w_q.std().item() == pytest.approx(GPT2.std, rel=0.05)
    assert layer.w_o.std().item() == pytest.approx(GPT2.std / (2 * tiny_gpt2.n_layers) ** 0.5, rel=0.08)


def test_the_seed_decides_and_the_hash_says_so(mini):
    one, again, other = (untrained_model(mini, seed) for seed in (0, 0, 1))
    assert torch.equal(one.weights.embed, again.weights.embed)
    assert one.sha256 == again.sha256
    assert not torch.equal(one.weights.embed, other.weights.embed)
    assert len({mini.sha256, one.sha256, other.sha256, untrained_model(mini, 0, GPT2).sha256}) == 4


def test_it_has_the_shape_and_does_not_know_the_task(mini, prompts):
    untrained = untrained_model(mini, 0)
    load_circuit("ioi-mini").check(untrained)
    spec = task_spec("ioi-v1-mini")
    answers = [mini.tokenizer.convert_tokens_to_ids(prompt.io) for prompt in spec.split("test").head(50).prompts]
    right = torch.tensor(answers)
    assert (mini.logits(prompts).argmax(-1) == right).float().mean() > 0.95
    assert (untrained.logits(prompts).argmax(-1) == right).float().mean() < 0.2
