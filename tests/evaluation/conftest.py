"""A tiny GPT-2 over ioi-mini's words that says the name it has seen most, S, with a circuit on it."""

from __future__ import annotations

import pytest
import torch

from ioi_bench.evaluation.data import Capture, silent
from ioi_bench.evaluation.inputs import gather
from ioi_bench.lm.circuit import Circuit, Part
from ioi_bench.lm.forward import GPT2Weights, LayerWeights
from ioi_bench.lm.mini.vocabulary import build_tokenizer
from ioi_bench.lm.model import LanguageModel
from ioi_bench.sites import Cell, Role
from ioi_bench.task import task_spec

WIDTH, HEADS = 32, 4


@pytest.fixture(scope="session")
def tiny_model():
    tokenizer = build_tokenizer(task_spec("ioi-v1-mini"))
    g = torch.Generator().manual_seed(0)

    def drawn(*shape, scale=0.1):
        return scale * torch.randn(*shape, generator=g)

    def layer(copied: float):
        # Attention is nearly uniform, and values pass through: each head adds up what it saw, in its own dimensions.
        values = torch.cat([drawn(WIDTH, WIDTH), torch.eye(WIDTH)], 1)
        return LayerWeights(
            w_q=drawn(WIDTH, WIDTH),
            b_q=drawn(WIDTH),
            w_kv=values,
            b_kv=drawn(2 * WIDTH),
            w_o=copied * torch.eye(WIDTH),
            b_o=drawn(WIDTH),
            w_in=drawn(WIDTH, WIDTH),
            b_in=drawn(WIDTH),
            w_out=drawn(WIDTH, WIDTH),
            b_out=drawn(WIDTH),
        )

    embed = drawn(len(tokenizer), WIDTH, scale=1.0)
    vocabulary = tokenizer.get_vocab()
    others = [i for word, i in vocabulary.items() if word not in task_spec("ioi-v1-mini").names]
    embed[others] *= 0.3
    weights = GPT2Weights(
        embed=embed,
        pos=drawn(32, WIDTH),
        layers=(layer(0.5), layer(8.0)),
        unembed=embed.T.contiguous(),
        b_unembed=drawn(len(tokenizer)),
        n_heads=HEADS,
        eps=1e-5,
        activation="gelu_new",
    )
    return LanguageModel("tiny", "1" * 64, weights, tokenizer, torch.device("cpu"))


@pytest.fixture(scope="session")
def tiny_circuit():
    return Circuit(
        track="tiny",
        task="ioi-v1-mini",
        heads={"late": tuple(f"1.{head}" for head in range(HEADS)), "early": ("0.0", "0.1")},
        parts={"out": (Part("z", Role.END, ("late",)),), "mid": (Part("z", Role.S2, ("early",)),)},
        headline=(Cell.parse("io@out"), Cell.parse("s@out"), Cell.parse("s@mid")),
        further=(Cell.parse("pos+s@out"),),
    )


@pytest.fixture(scope="session")
def tiny_inputs(tiny_model, tiny_circuit):
    spec = task_spec("ioi-v1-mini")
    capture = Capture(tiny_model, 256, None, silent)
    return gather(capture, tiny_circuit, spec.split("test").head(120), spec.split("train").head(1500))
