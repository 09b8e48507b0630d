from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace

import pytest
import torch

from ioi_bench.dictionaries.architectures import Architecture
from ioi_bench.errors import InputError, IoiBenchError
from ioi_bench.sites import Site
from ioi_bench.training import TrainConfig, train_suite, trainer

A, B, C = (Site.parse(text) for text in ("z.4.0@end", "v.1.3@s2", "resid_pre.0@end"))
CONFIGS = {
    "relu": TrainConfig("relu", 24, lam=0.5, epochs=6, batch_size=64, warmup_epochs=1, learning_rate=3e-3),
    "gated": TrainConfig("gated", 24, lam=0.5, epochs=6, batch_size=64, warmup_epochs=1, learning_rate=3e-3),
    "topk": TrainConfig("topk", 24, k=2, epochs=6, batch_size=64, warmup_epochs=1, learning_rate=3e-3),
}


def sparse_data(d_in, seed, n=500):
    """Two of twelve directions a prompt, plus a constant."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.nn.functional.normalize(torch.randn(12, d_in, generator=generator), dim=1)
    active = torch.rand(n, 12, generator=generator).argsort(1)[:, :2]
    codes = torch.zeros(n, 12).scatter(1, active, 1 + torch.rand(n, 2, generator=generator))
    return 7 * (codes @ directions + 0.5)


def data():
    return {A: sparse_data(8, 0), B: sparse_data(8, 1), C: sparse_data(10, 2)}


def same_bytes(one, two):
    return one.keys() == two.keys() and all(
        torch.equal(tensor, two[site].tensors[name]) for site in one for name, tensor in one[site].tensors.items()
    )


def explained(dictionary, x):
    error = dictionary.decode(dictionary.encode(x)) - x
    return 1 - float(error.square().sum() / (x - x.mean(0)).square().sum())


@pytest.mark.parametrize("name", CONFIGS)
def test_training_learns_sparse_directions(name):
    longer = replace(CONFIGS[name], epochs=150)
    for site, dictionary in train_suite({A: data()[A], C: data()[C]}, longer).items():
        x = data()[site]
        assert isinstance(dictionary, Architecture)
        assert explained(dictionary, x) > 0.8
        assert float((dictionary.encode(x) != 0).sum(1).float().mean()) < 8
        torch.testing.assert_close(dictionary.W_dec.norm(dim=1), torch.ones(24))
        norm = (dictionary.scale * x).norm(dim=1).mean()
        torch.testing.assert_close(norm, torch.tensor(dictionary.d_in**0.5))


@pytest.mark.parametrize("name", CONFIGS)
def test_same_seed_same_bytes(name):
    one = train_suite(data(), CONFIGS[name])
    assert same_bytes(one, train_suite(dict(reversed(data().items())), CONFIGS[name]))
    assert not same_bytes(one, train_suite(data(), replace(CONFIGS[name], seed=1)))


@pytest.mark.parametrize("name", CONFIGS)
def test_a_site_among_others_is_the_site_alone(name):
    reports = []
    together = train_suite(data(), CONFIGS[name], progress=reports.append)
    for site in data():
        own = []
        alone = train_suite({site: data()[site]}, CONFIGS[name], progress=own.append)[site]
        for key, tensor in alone.tensors.items():
            torch.testing.assert_close(tensor, together[site].tensors[key], rtol=1e-4, atol=1e-5)
        mine = [(report, report.sites.index(site)) for report in reports if site in report.sites]
        for (report, i), single in zip(mine, own, strict=True):
            for figure in ("loss", "error", "l0", "dead"):
                torch.testing.assert_close(getattr(report, figure)[i], getattr(single, figure)[0], rtol=1e-4, atol=1e-5)


def test_adam_and_the_schedule_are_torchs():
    """The whole loop against torch.optim.Adam and autograd, step by step."""
    config, x = replace(CONFIGS["relu"], epochs=4), data()[A]
    got = train_suite({A: x}, config)[A]
    start = train_suite({A: x}, replace(config, epochs=1, learning_rate=1e-30))[A]  # the initial weights
    weights = {name: tensor.clone().requires_grad_() for name, tensor in start.tensors.items()}
    optimiser = torch.optim.Adam(weights.values())
    for step in range(28):
        epoch, i = divmod(step, 7)
        order = torch.randperm(500, generator=trainer._generator(0, "order", epoch))
        batch = got.scale * x[order[64 * i : 64 * (i + 1)]]
        f = torch.relu((batch - weights["b_dec"]) @ weights["W_enc"] + weights["b_enc"])
        error = f @ weights["W_dec"] + weights["b_dec"] - batch
        loss = (error.square().sum(1) + 0.5 * f.sum(1)).mean()
        optimiser.zero_grad()
        loss.backward()
        rows, gradient = weights["W_dec"].data, weights["W_dec"].grad
        gradient -= (gradient * rows).sum(1, keepdim=True) * rows
        warm, fall = min(1.0, 0.1 + 0.9 * step / 7), min(1.0, (28 - step) / 7)
        optimiser.param_groups[0]["lr"] = 3e-3 * warm * fall
        optimiser.step()
        rows /= rows.norm(dim=1, keepdim=True)
    for name, tensor in weights.items():
        torch.testing.assert_close(got.tensors[name], tensor.detach(), rtol=1e-3, atol=1e-4)


def test_lambda_by_site_makes_the_heavier_one_sparser():
    x = sparse_data(8, 0)
    reports = []
    train_suite({A: x, B: x}, replace(CONFIGS["relu"], lam={A: 0.01, B: 4.0}, epochs=40), progress=reports.append)
    last = reports[-1]
    assert last.l0[last.sites.index(A)] > 2 * last.l0[last.sites.index(B)]


def test_reports_count_every_epoch_of_every_group():
    reports = []
    trained = train_suite(data(), replace(CONFIGS["topk"], epochs=3), progress=reports.append)
    counts = [(report.epoch, report.epochs, len(report.sites)) for report in reports]
    assert counts == [(1, 3, 1), (2, 3, 1), (3, 3, 1), (1, 3, 2), (2, 3, 2), (3, 3, 2)]
    for report in reports:
        assert (report.l0 <= 2).all()
        assert ((report.dead >= 0) & (report.dead < 1)).all()
        assert (report.error <= report.loss).all()
    assert set(trained) == set(data())


def test_few_prompts_make_one_batch():
    trained = train_suite({A: data()[A][:10]}, CONFIGS["topk"])
    assert trained[A].d_sae == 24


# --- stopping and going on -------------------------------------------------------------------------------------------


class Stop(Exception):
    pass


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("after", [1, 5, 8])
def test_a_stopped_run_goes_on_to_the_same_bytes(tmp_path, name, after):
    path, seen = tmp_path / "state.safetensors", []

    def stop(report):
        seen.append(report)
        if len(seen) == after:
            raise Stop

    with pytest.raises(Stop):
        train_suite(data(), CONFIGS[name], resume_path=path, progress=stop)
    resumed = train_suite(data(), CONFIGS[name], resume_path=path, progress=seen.append)
    assert len(seen) == 12  # six epochs, two sizes: none was done twice
    assert same_bytes(resumed, train_suite(data(), CONFIGS[name]))
    assert same_bytes(resumed, train_suite(data(), CONFIGS[name], resume_path=path, progress=seen.append))
    assert len(seen) == 12  # a finished run has nothing left to do
    assert [p.name for p in tmp_path.iterdir()] == ["state.safetensors"]


def test_a_killed_run_goes_on_to_the_same_bytes(tmp_path):
    script = textwrap.dedent(
        """
        import os, signal, sys
        sys.path[:0] = sys.argv[2:]
        import torch
        torch.set_num_threads(1)
        from test_trainer import CONFIGS, data
        from ioi_bench.training import train_suite

        def kill(report):
            if report.epoch == 4:
                os.kill(os.getpid(), signal.SIGKILL)

        train_suite(data(), CONFIGS["gated"], resume_path=sys.argv[1], save_every=0.0, progress=kill)
        """
    )
    here = os.path.dirname(__file__)  # noqa: PTH120
    path = tmp_path / "state.safetensors"
    done = subprocess.run([sys.executable, "-c", script, str(path), here, os.getcwd()], check=False)  # noqa: PTH109
    assert done.returncode == -signal.SIGKILL
    seen, threads = [], torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        resumed = train_suite(data(), CONFIGS["gated"], resume_path=path, progress=seen.append)
        assert seen[0].epoch == 5
        assert same_bytes(resumed, train_suite(data(), CONFIGS["gated"]))
    finally:
        torch.set_num_threads(threads)


def test_a_state_of_another_run_is_refused(tmp_path):
    path = tmp_path / "state.safetensors"
    train_suite(data(), CONFIGS["relu"], resume_path=path)
    with pytest.raises(InputError, match=r"another run .it differs in: settings"):
        train_suite(data(), replace(CONFIGS["relu"], lam=0.1), resume_path=path)
    with pytest.raises(InputError, match="differs in: activations"):
        train_suite({**data(), A: data()[B]}, CONFIGS["relu"], resume_path=path)
    path.write_bytes(b"something else")
    with pytest.raises(InputError, match="is no state of a training run"):
        train_suite(data(), CONFIGS["relu"], resume_path=path)
    assert path.read_bytes() == b"something else"


def test_a_diverging_run_says_so_and_keeps_the_last_good_epoch(tmp_path, monkeypatch):
    path, seen = tmp_path / "state.safetensors", []
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "learning_rate", lambda step, *_: float("nan") if step >= 3 * 7 else 1e-3)
        with pytest.raises(IoiBenchError, match=r"diverged in epoch 4: the loss is not finite at z.4.0@end;.* Lower"):
            train_suite({A: data()[A]}, CONFIGS["relu"], resume_path=path)
    train_suite({A: data()[A]}, CONFIGS["relu"], resume_path=path, progress=seen.append)
    assert [report.epoch for report in seen] == [4, 5, 6]


@pytest.mark.parametrize(
    ("activations", "message"),
    [
        ({}, "nothing to train"),
        ({A: torch.zeros(5, 3)}, r"z.4.0@end: the mean norm of the train activations is 0.0"),
        ({A: torch.full((5, 3), float("nan"))}, "mean norm of the train activations is nan"),
        ({A: torch.ones(5, 3), B: torch.ones(4, 3)}, r"the same train prompts, at least one; got \[4, 5\]"),
        ({A: torch.ones(0, 3)}, "at least one"),
    ],
)
def test_unusable_activations(activations, message):
    with pytest.raises(InputError, match=message):
        train_suite(activations, CONFIGS["relu"])
