"""The Hub's real client against local servers: a mirror (olah) on git repositories, and a loopback Hub that refuses."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest
from loopback import Hub

FILES = {
    ".gitattributes": b"*.safetensors filter=lfs\n",
    "README.md": b"---\nlicense: mit\n---\n",
    "saes/layer_8/cfg.json": b'{"d_in": 768}',
    "saes/layer_8/sae_weights.safetensors": bytes(range(256)) * 1500,
    "saes/layer_8/optimizer.pt": b"state" * 100,
    "saes/layer_8/events.out.tfevents.17": b"log",
    "saes/layer_9/cfg.json": b'{"d_in": 769}',
    "saes/layer_9/sae_weights.safetensors": bytes(range(256)) * 300,
    "heads/L1_v5.pt": b"one" * 50,
    "heads/L1_v5_cfg.json": b'{"act_name": "blocks.1.attn.hook_z"}',
    "heads/L11_v5.pt": b"eleven" * 50,
    "heads/L11_v5_cfg.json": b"{}",
}


@pytest.fixture
def hub() -> Hub:
    """A repository ``org/repo``, with the tag v1, for `loopback.serve`."""
    hub = Hub()
    hub.repository("org/repo", files=FILES).tag("v1")
    return hub


@pytest.fixture(scope="session")
def opener():
    """The process of ``opened.py``."""
    command = [sys.executable, str(Path(__file__).with_name("opened.py"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.stdin.close()


@pytest.fixture
def run(tmp_path, opener):
    """Open addresses in a process of its own, with a cache of its own: ``run(url, "hf://…")``."""

    def run(url, *addresses, home=None, **environment):
        home = home or tmp_path / "hf"
        settings = {
            "HF_ENDPOINT": url,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            "NO_PROXY": "127.0.0.1,localhost",
        }
        result = tmp_path / "result.json"
        request = {"environment": {**settings, **environment}, "addresses": addresses, "result": str(result)}
        opener.stdin.write(json.dumps(request) + "\n")
        opener.stdin.flush()
        status = opener.stdout.readline()
        stderr = result.with_suffix(".stderr").read_text()
        assert status == "0\n", stderr
        return [SimpleNamespace(**opened, stderr=stderr) for opened in json.loads(result.read_text())]

    return run


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "core.autocrlf=false"]
    done = subprocess.run(["git", *identity, *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def write(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def commit_twice(folder: Path, first: dict[str, bytes], second: dict[str, bytes]) -> None:
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    for message, files in (("first", first), ("second", second)):
        write(folder, files)
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", message)
        if message == "first":
            git(folder, "tag", "v1")


BOARD = {
    "README.md": b"# board",
    "results/t/org__a/1/card.json": b"{}",
    "results/t/org__a/1/prompts.parquet": bytes(3000),
    "results/t/org__b/2/card.json": b"[]",
}


@pytest.fixture(scope="session")
def mirror(tmp_path_factory):
    """olah, offline, on git repositories of two commits: ``first`` has the tag v1, main is ``second``.

    ``org/repo`` is a model repository, ``org/board`` a dataset.
    """
    root = tmp_path_factory.mktemp("olah")
    files = {name: data for name, data in FILES.items() if name != ".gitattributes"}
    model, data = (root / "repositories" / name for name in ("models/org/repo", "datasets/org/board"))
    commit_twice(model, files, {"saes/layer_8/cfg.json": b'{"d_in": 7680}'})
    commit_twice(data, BOARD, {"results/t/org__a/1/card.json": b'{"score": 1}'})
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process, url = _start_olah(root, port)
    heads = [
        SimpleNamespace(first=git(one, "rev-parse", "v1"), second=git(one, "rev-parse", "main"))
        for one in (model, data)
    ]
    try:
        yield SimpleNamespace(url=url, board=heads[1], **vars(heads[0]))
    finally:
        process.terminate()
        process.wait(timeout=20)


def _start_olah(root: Path, port: int) -> tuple[subprocess.Popen, str]:
    config = {"host": "127.0.0.1", "port": port, "repos-path": str(root / "cache")}
    lines = [f"{name} = {json.dumps(value)}" for name, value in config.items()]
    mirrors = f"mirrors-path = [{json.dumps(str(root / 'repositories'))}]"
    (root / "olah.toml").write_text("\n".join(["[basic]", *lines, mirrors, "[accessibility]", "offline = true", ""]))
    command = [sys.executable, "-m", "olah.server", "-c", "olah.toml", "--port", str(port), "--log-path", "logs"]
    with (root / "olah.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=root, stdout=log, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/api/models/org/repo/revision/main", timeout=5):
                return process, url
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    process.kill()
    pytest.fail(f"olah did not start: {(root / 'olah.log').read_text()[-2000:]}")
