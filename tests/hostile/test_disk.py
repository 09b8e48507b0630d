"""A full disk, a read-only folder, and two processes in one place: clear errors, nothing damaged, right results.

The full disk is a small tmpfs where this process may mount one (in a container as root), else /dev/full's errors from
a limit on the size of files (RLIMIT_FSIZE). A folder is read-only for a child that gives up being root.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import pytest
import torch

from ioi_bench.activations import capture_split
from ioi_bench.dictionaries.suite import load_suite, save_suite
from ioi_bench.errors import StorageError
from ioi_bench.evaluation.card import Card
from ioi_bench.lm import load_model
from ioi_bench.sites import Site
from ioi_bench.task import task_spec

ROOT = Path(__file__).parents[2]
SUITE = ROOT / "reference_saes" / "ioi-mini" / "topk-k3-s0"
SITES = [Site.parse(text) for text in ("z.3.0@end", "v.1.0@s2")]
NOBODY = 65534


@contextlib.contextmanager
def full_disk(folder):
    """A folder on a file system of 600 kB, or a process whose files may not grow beyond 100 kB."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode == 0:
        try:
            yield folder
        finally:
            subprocess.run(["umount", "-l", folder], check=True)
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    kept = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        yield folder
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, kept)


def left_over(folder):
    return [path.name for path in folder.rglob("*") if path.name.startswith(".")]


def test_a_full_disk_and_a_suite(tmp_path):
    """The old suite stays, whole; the error names the folder and what to do."""
    suite = load_suite(SUITE)
    small = suite.to(torch.float16) if SUITE.joinpath("weights.safetensors").stat().st_size > 400_000 else suite
    one = {site: small.dictionaries[site] for site in list(small.dictionaries)[:2]}
    from dataclasses import replace

    first, second = replace(small, dictionaries=one, name="first"), replace(suite, name="second")
    with full_disk(tmp_path / "disk") as disk:
        save_suite(first, disk / "suite")
        with pytest.raises(StorageError, match=r"cannot write .*suite.*free space.*another path"):
            save_suite(second, disk / "suite", overwrite=True)
        assert load_suite(disk / "suite").sha256 == first.sha256
        assert left_over(disk) == []


def captured(cache):
    spec = task_spec("ioi-v1-mini")
    return capture_split(load_model("ioi-mini"), spec, spec.split("train").prompts[:3000], SITES, cache_dir=cache)


def test_a_full_disk_and_the_cache(tmp_path):
    """The capture goes on without it, says so, and what was kept before is right."""
    right = captured(None)
    with full_disk(tmp_path / "disk") as disk:
        with pytest.warns(UserWarning, match="captures are not kept: cannot write"):
            found = captured(disk)
        assert all(found[site].equal(right[site]) for site in SITES)
        assert left_over(disk) == []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            again = captured(disk)
        assert all(again[site].equal(right[site]) for site in SITES)


def evaluate_into(out, cache, **more):
    """A process that evaluates a suite."""
    code = f"""
        import sys, torch
        torch.set_num_threads(1)
        from pathlib import Path
        from ioi_bench.evaluation.evaluate import evaluate
        asked = dict(prompts=60, train_prompts=300, budgets=(1, 2, 4), methods=("exchange",), preflight=False)
        evaluate({str(SUITE)!r}, cells=("io@nm-out",), out={str(out)!r}, cache_dir={str(cache)!r}, **asked)
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


def require_done(process):
    said = process.communicate(timeout=300)[1]
    assert process.returncode == 0, said


def figures(folder):
    card = Card.read(folder).model_dump(mode="json")
    for name in ("wall_seconds", "timing"):
        del card["made"][name]
    return json.dumps(card, sort_keys=True), (folder / "prompts.parquet").read_bytes()


def test_two_processes_on_one_cache_and_one_folder(tmp_path):
    """Both end well, and what both have written is what one writes."""
    alone = evaluate_into(tmp_path / "alone", tmp_path / "cache-alone")
    require_done(alone)
    two = [evaluate_into(tmp_path / "out", tmp_path / "cache") for _ in range(2)]
    for process in two:
        require_done(process)
    assert figures(tmp_path / "out") == figures(tmp_path / "alone")
    kept = {
        path.relative_to(tmp_path / "cache"): path.read_bytes() for path in (tmp_path / "cache").rglob("*.safetensors")
    }
    lone = {
        p.relative_to(tmp_path / "cache-alone"): p.read_bytes()
        for p in (tmp_path / "cache-alone").rglob("*.safetensors")
    }
    assert kept == lone
    assert left_over(tmp_path) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="without root the folder's own permissions are tested below")
def test_a_read_only_file_system(tmp_path):
    """Mounted read-only, where even root cannot write."""
    folder = tmp_path / "out"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", folder], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("this process may not mount")
    try:
        with pytest.raises(StorageError, match=r"cannot write .*[Rr]ead-only"):
            save_suite(load_suite(SUITE), folder / "suite")
        with pytest.warns(UserWarning, match="captures are not kept"):
            assert set(captured(folder)) == set(SITES)
        process = evaluate_into(folder / "card", tmp_path / "cache")
        said = process.communicate(timeout=300)[1]
        assert process.returncode == 1
        assert "StorageError: cannot write" in said
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_a_folder_without_permission(tmp_path):
    """In a child that is not root: the error comes before the work, and names the folder."""
    from ioi_bench.evaluation.evaluate import _writable

    folder = tmp_path / "out"
    folder.mkdir(mode=0o555)
    for parent in (tmp_path, *tmp_path.parents):
        with contextlib.suppress(PermissionError):
            if parent != Path(parent.anchor) and os.geteuid() == 0 and "pytest" in str(parent):
                parent.chmod(parent.stat().st_mode | 0o055)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        said = "nothing"
        with contextlib.suppress(BaseException):
            try:
                if os.geteuid() == 0:
                    os.setgid(NOBODY)
                    os.setuid(NOBODY)
                _writable(folder)
            except BaseException as error:
                said = f"{type(error).__name__}: {error}"
        os.write(write, said.encode())
        os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    said = os.read(read, 4096).decode()
    os.close(read)
    assert said.startswith("StorageError: cannot write to")
    assert str(folder) in said
    assert "choose another folder" in said
