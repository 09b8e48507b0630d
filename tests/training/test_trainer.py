from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from ioi_bench.dictionaries.architectures import Architecture
from ioi_bench.errors import InputError, IoiBenchError
from ioi_bench.sites import Site
from ioi_bench.training import Recipe, chunk, create_run, estimate, train_chunk, train_run
from ioi_bench.training.programs import PROGRAMS

A, B, C = (Site.parse(text) for text in ("z.4.0@end", "v.1.3@s2", "resid_pre.0@end"))
SPARSITY = {name: (0.3, 0.6) if cls.sparsity_is == "lam" else (2, 4) for name, cls in PROGRAMS.items()}
SMALL = {"d_sae": 24, "epochs": 6, "batch_size": 64, "warmup_epochs": 1, "learning_rate": 3e-3}
SMALL |= {"resampling": {"after": [2, 4], "warmup": 1}, "checkpoints": [1, 3, 4]}


def recipe(variant, **changes):
    return Recipe.model_validate({"variants": {variant: SPARSITY[variant]}, **SMALL, **changes})


def sparse_data(d_in, seed, n=500):
    """Two of twelve directions a prompt, plus a constant."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.nn.functional.normalize(torch.randn(12, d_in, generator=generator), dim=1)
    active = torch.rand(n, 12, generator=generator).argsort(1)[:, :2]
    codes = torch.zeros(n, 12).scatter(1, active, 1 + torch.rand(n, 2, generator=generator))
    return 7 * (codes @ directions + 0.5)


def data():
    return {A: sparse_data(8, 0), B: sparse_data(8, 1), C: sparse_data(10, 2)}


def gradients():
    return {site: torch.randn(x.shape, generator=torch.Generator().manual_seed(9)) for site, x in data().items()}


_folders = itertools.count()


def begin(folder, variant, activations=None, chunk_members=32, **changes):
    activations = data() if activations is None else activations
    along = {site: gradients()[site][: len(a)] for site, a in activations.items()}
    where = folder / f"run-{next(_folders)}"
    return create_run(where, recipe(variant, **changes), activations, gradients=along, chunk_members=chunk_members)


def trained(*args, **kwargs):
    return train_run(begin(*args, **kwargs).folder)


def weights(run):
    return {
        (member, epoch, name): tensor
        for member in run.members
        for epoch in run.checkpoints
        for name, tensor in run.dictionary(member, epoch).tensors.items()
    }


def same_bytes(one, two):
    first, second = weights(one), weights(two)
    return first.keys() == second.keys() and all(torch.equal(tensor, second[key]) for key, tensor in first.items())


def explained(dictionary, x):
    error = dictionary.decode(dictionary.encode(x)) - x
    return 1 - float(error.square().sum() / (x - x.mean(0)).square().sum())


@pytest.fixture(autouse=True)
def one_thread():
    """Bytes are promised for one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", ["relu", "gated", "topk"])
def test_training_learns_sparse_directions(tmp_path, name):
    run = trained(tmp_path, name, epochs=150, resampling={"after": [40, 80]})
    for member in run.members:
        x, dictionary = data()[member.site], run.dictionary(member, 150)
        assert isinstance(dictionary, Architecture)
        assert explained(dictionary, x) > 0.75
        assert float((dictionary.encode(x) != 0).sum(1).float().mean()) < 8
        torch.testing.assert_close(dictionary.W_dec.norm(dim=1), torch.ones(24))
        norm = (dictionary.scale * x).norm(dim=1).mean()
        torch.testing.assert_close(norm, torch.tensor(dictionary.d_in**0.5))


@pytest.mark.parametrize("name", PROGRAMS)
def test_same_seed_same_bytes(tmp_path, name):
    one = trained(tmp_path, name)
    assert same_bytes(one, trained(tmp_path, name, dict(reversed(data().items()))))
    other = trained(tmp_path, name, seeds=[1])
    assert not any(
        torch.equal(one.dictionary(m, 6).W_enc, other.dictionary(n, 6).W_enc)
        for m, n in zip(one.members, other.members, strict=True)
    )


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_member_among_others_is_the_member_alone(tmp_path, name):
    """However the members are cut into chunks: weights of every checkpoint, and the curves."""
    together = trained(tmp_path, name, seeds=[0, 1])
    alone = trained(tmp_path, name, seeds=[0, 1], chunk_members=1)
    assert len(alone.chunks) == len(alone.members) == 12
    assert set(alone.members) == set(together.members)
    for member in alone.members:
        for epoch in alone.checkpoints:
            one, two = (run.dictionary(member, epoch).tensors for run in (together, alone))
            for key, tensor in one.items():
                torch.testing.assert_close(tensor, two[key], rtol=1e-4, atol=1e-4)
    by = ["variant", "site", "sparsity", "seed", "epoch"]
    one, two = (run.curves.sort_values(by).set_index(by) for run in (together, alone))
    assert (one - two).abs().max().max() < 1e-3


def test_a_run_of_a_member_is_that_member_of_a_larger_run(tmp_path):
    """Other sites, sparsities and seeds in the recipe change nothing."""
    large = trained(tmp_path, "gated", seeds=[0, 3])
    small = trained(tmp_path, "gated", {B: data()[B]}, seeds=[3], variants={"gated": [0.6]})
    member = small.members[0]
    for key, tensor in small.dictionary(member, 6).tensors.items():
        torch.testing.assert_close(tensor, large.dictionary(member, 6).tensors[key], rtol=1e-4, atol=1e-4)


def test_the_loop_is_torchs_adam_on_the_papers_loss(tmp_path):
    """Weights after every step against torch.optim.Adam and autograd."""
    run = trained(
        tmp_path,
        "relu",
        {A: data()[A]},
        epochs=4,
        variants={"relu": [0.5]},
        tactics={"resample": False},
        checkpoints=[],
    )
    member = run.members[0]
    got, x = run.dictionary(member, 4), data()[A]
    still = trained(tmp_path, "relu", {A: x}, epochs=4, variants={"relu": [0.5]}, learning_rate=1e-30, checkpoints=[])
    start = still.dictionary(member, 4)  # the initial weights
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in start.tensors.items()}
    optimiser = torch.optim.Adam(leaves.values())
    for step in range(28):
        epoch, i = divmod(step, 7)
        order = torch.randperm(500, generator=chunk._generator(0, "order", epoch))
        batch = got.scale * x[order[64 * i : 64 * (i + 1)]]
        f = torch.relu((batch - leaves["b_dec"]) @ leaves["W_enc"] + leaves["b_enc"])
        error = f @ leaves["W_dec"] + leaves["b_dec"] - batch
        loss = (error.square().sum(1) + 0.5 * f.sum(1)).mean()
        optimiser.zero_grad()
        loss.backward()
        rows, gradient = leaves["W_dec"].data, leaves["W_dec"].grad
        gradient -= (gradient * rows).sum(1, keepdim=True) * rows
        warm, fall = min(1.0, 0.1 + 0.9 * step / 7), min(1.0, (28 - step) / 7)
        optimiser.param_groups[0]["lr"] = 3e-3 * warm * fall
        optimiser.step()
        rows /= rows.norm(dim=1, keepdim=True)
    for name, tensor in leaves.items():
        torch.testing.assert_close(got.tensors[name], tensor.detach(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["relu", "topk"])
def test_a_heavier_penalty_makes_sparser(tmp_path, name):
    values = {"relu": [0.01, 4.0], "topk": [8, 1]}[name]
    run = trained(tmp_path, name, epochs=40, variants={name: values})
    last = run.curves.query("epoch == 40").groupby("sparsity").l0.mean()
    assert last[values[0]] > 2 * last[values[1]]


def test_curves_have_a_row_a_member_and_epoch(tmp_path):
    run = trained(tmp_path, "topk", seeds=[0, 1])
    curves = run.curves
    assert len(curves) == len(run.members) * 6
    assert sorted(curves.epoch.unique()) == [1, 2, 3, 4, 5, 6]
    assert (curves.l0 <= curves.sparsity).all()
    assert curves.dead.between(0, 1, inclusive="left").all()
    assert (curves.error <= curves.loss + 1e-5).all()


def test_dead_features_start_again_after_the_epochs_that_say_so(tmp_path):
    """Until then nothing differs from a run that never resamples; in the next epoch more features are active."""
    few = {"variants": {"relu": [8.0]}, "epochs": 30, "resampling": {"after": [20], "warmup": 1}, "checkpoints": []}
    on, off = (trained(tmp_path, "relu", tactics={"resample": value}, **few).curves for value in (True, False))
    keys = ["site", "sparsity", "seed", "epoch"]
    on, off = on.set_index(keys).sort_index(), off.set_index(keys).sort_index()
    before = on.index.get_level_values("epoch") <= 20
    columns = ["error", "l0", "dead"]
    assert (on.loc[before, columns] == off.loc[before, columns]).all().all()
    after = on.index.get_level_values("epoch") == 21
    alone, again = off.loc[after, "dead"].mean(), on.loc[after, "dead"].mean()
    assert alone > 0.1
    assert again < alone / 2


def test_input_scale_off_trains_in_the_models_units(tmp_path):
    run = trained(tmp_path, "topk", tactics={"input_scale": False})
    assert {run.dictionary(member, 6).scale for member in run.members} == {1.0}


def test_few_prompts_make_one_batch(tmp_path):
    run = trained(tmp_path, "topk", {A: data()[A][:10]})
    assert run.dictionary(run.members[0], 6).d_sae == 24


def test_an_estimate_is_positive_and_grows_with_the_epochs(tmp_path):
    short, long = (begin(tmp_path, "topk", epochs=epochs) for epochs in (6, 6000))
    assert 0 < estimate(short) < estimate(long)


# --- stopping and going on -------------------------------------------------------------------------------------------


class Stop(Exception):
    pass


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("after", [1, 3, 8])
def test_a_stopped_run_goes_on_to_the_same_bytes(tmp_path, name, after):
    """Also when it stops around a resampling, or in the second chunk."""
    run, seen = begin(tmp_path, name), []

    def stop(report):
        seen.append(report)
        if len(seen) == after:
            raise Stop

    with pytest.raises(Stop):
        train_run(run.folder, progress=stop)
    train_run(run.folder, progress=seen.append)
    assert len(seen) == 12  # six epochs, two sizes: none was done twice
    assert same_bytes(run, trained(tmp_path, name))
    train_run(run.folder, progress=seen.append)
    assert len(seen) == 12  # a finished run has nothing left to do
    assert not list(run.folder.rglob("*.tmp"))


@pytest.mark.parametrize("epoch", [2, 4])
def test_a_killed_run_goes_on_to_the_same_bytes(tmp_path, epoch):
    script = textwrap.dedent(
        """
        import os, signal, sys
        from ioi_bench.training import train_chunk
        import torch
        torch.set_num_threads(1)

        def kill(report):
            if report.epoch == int(sys.argv[2]):
                os.kill(os.getpid(), signal.SIGKILL)

        train_chunk(sys.argv[1], 0, save_every=0.0, progress=kill)
        """
    )
    run = begin(tmp_path, "gated")
    done = subprocess.run([sys.executable, "-c", script, str(run.folder), str(epoch)], check=False, cwd=Path.cwd())
    assert done.returncode == -signal.SIGKILL
    seen = []
    train_run(run.folder, progress=seen.append)
    assert seen[0].epoch == epoch + 1
    assert same_bytes(run, trained(tmp_path, "gated"))


def test_a_run_of_all_variants_killed_at_any_moment_goes_on_to_the_same_bytes(tmp_path):
    """SIGKILL, after random many milliseconds of training, until it ends by itself."""
    script = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from ioi_bench.training import train_chunk
        from ioi_bench.training.runs import Run
        import torch
        torch.set_num_threads(1)
        print("begun", flush=True)
        for chunk in Run(Path(sys.argv[1])).unfinished:
            train_chunk(sys.argv[1], chunk.index, save_every=0.0)
        """
    )
    changes = {"variants": SPARSITY, "epochs": 40, "resampling": {"after": [10, 20], "warmup": 2}, "checkpoints": [9]}
    run, draw, kills = begin(tmp_path, "relu", **changes), random.Random(0), 0
    command = [sys.executable, "-c", script, str(run.folder)]
    while True:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        process.stdout.readline()
        try:
            assert process.wait(draw.uniform(0.1, 0.6) if kills < 4 else None) == 0
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
        finally:
            process.stdout.close()
    assert kills > 1
    assert same_bytes(run, trained(tmp_path, "relu", **changes))


def test_a_state_of_another_run_is_refused(tmp_path):
    run, other = trained(tmp_path, "relu"), begin(tmp_path, "relu", learning_rate=1e-3)
    path = other.state_path(other.chunks[0])
    path.parent.mkdir(parents=True)
    path.write_bytes(run.state_path(run.chunks[0]).read_bytes())
    with pytest.raises(InputError, match="state of another run"):
        train_run(other.folder)
    path.write_bytes(b"something else")
    with pytest.raises(InputError, match="is no state of a training run"):
        train_run(other.folder)
    assert path.read_bytes() == b"something else"


def test_another_run_in_the_folder_is_refused_and_the_same_is_gone_on_with(tmp_path):
    made = create_run(tmp_path / "run", recipe("topk"), data())
    before = {path: path.read_bytes() for path in made.folder.rglob("*") if path.is_file()}
    assert create_run(tmp_path / "run", recipe("topk"), data()).identity == made.identity
    with pytest.raises(InputError, match="holds another run"):
        create_run(tmp_path / "run", recipe("topk", epochs=7), data())
    with pytest.raises(InputError, match="holds another run"):
        create_run(tmp_path / "run", recipe("topk"), {**data(), A: data()[B]})
    assert before == {path: path.read_bytes() for path in made.folder.rglob("*") if path.is_file()}


def test_a_run_knows_whether_it_is_finished(tmp_path):
    run = begin(tmp_path, "topk")
    train_chunk(run.folder, 0)
    assert run.unfinished == run.chunks[1:]
    with pytest.raises(InputError, match=r"unfinished: 1 of 2 chunks .* --resume"):
        run.require_finished()
    train_chunk(run.folder, 1)
    run.require_finished()


def test_a_run_that_was_begun_keeps_its_chunks(tmp_path):
    begun = create_run(tmp_path / "run", recipe("topk"), data(), chunk_members=2)
    again = create_run(tmp_path / "run", recipe("topk"), data(), chunk_members=32)
    assert again.chunks == begun.chunks
    assert max(len(one.members) for one in again.chunks) == 2


def test_a_diverging_run_says_so_and_keeps_the_last_good_epoch(tmp_path, monkeypatch):
    run, seen = begin(tmp_path, "relu", {A: data()[A]}), []
    with monkeypatch.context() as patch:
        patch.setattr(chunk, "learning_rate", lambda step, *_: float("nan") if step >= 3 * 7 else 1e-3)
        with pytest.raises(
            IoiBenchError, match=r"diverged in epoch 4: the loss is not finite for relu \(λ 0.3, seed 0\)"
        ):
            train_run(run.folder)
    train_run(run.folder, progress=seen.append)
    assert [report.epoch for report in seen] == [4, 5, 6]


def test_what_is_not_trained_yet_or_damaged_says_so(tmp_path):
    run = begin(tmp_path, "topk")
    member = run.members[0]
    with pytest.raises(InputError, match="has not been trained for 6 epochs yet"):
        run.dictionary(member, 6)
    with pytest.raises(InputError, match="no topk"):
        run.dictionary(member, 5)
    with pytest.raises(InputError, match="there is no chunk 9"):
        train_chunk(run.folder, 9)
    with pytest.raises(InputError, match="is no training run"):
        train_run(tmp_path)
    train_run(run.folder)
    path = run.checkpoint_path(run.chunks[0], 6)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="is damaged"):
        run.dictionary(member, 6)
    (run.folder / "run.json").write_text("{")
    with pytest.raises(InputError, match="is damaged"):
        train_run(run.folder)


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written_says_so(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(IoiBenchError, match="cannot write"):
        begin(tmp_path, "topk")


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
def test_unusable_activations(tmp_path, activations, message):
    with pytest.raises(InputError, match=message):
        create_run(tmp_path / "run", recipe("relu"), activations)
    assert not (tmp_path / "run").exists()
