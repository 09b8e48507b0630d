"""`ioi-bench evaluate` and `inspect` on the Hub: a shipped suite, served on the loopback address."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from loopback import Hub, serve

SUITE = Path(__file__).parents[2] / "reference_saes" / "ioi-mini" / "topk-k3-s0"


@pytest.fixture(scope="module")
def hub():
    files = {f"suites/topk/{file.name}": file.read_bytes() for file in SUITE.iterdir()}
    hub = Hub()
    hub.repository("org/repo", files={"README.md": b"# suites", **files})
    with serve(hub):
        yield hub


def run(tmp_path, url, *words, code="from ioi_bench.cli import main; main()"):
    """A process of its own: the endpoint is read when huggingface_hub is imported."""
    own = {"HF_ENDPOINT": url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1"}
    here = {"NO_PROXY": "127.0.0.1,localhost", "IOI_BENCH_CACHE": str(tmp_path / "cache")}
    environment = {**os.environ, **own, **here}
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def test_a_suite_on_the_hub_is_scored_as_the_same_suite_on_disk(hub, tmp_path):
    settings = ("--prompts", "20", "--train-prompts", "500", "--methods", "exchange", "--budgets", "1,2", "--json")
    local = run(tmp_path, hub.url, "evaluate", str(SUITE), *settings, "--out", "local")
    distant = run(tmp_path, hub.url, "evaluate", "hf://org/repo/suites/topk", *settings, "--out", "distant")
    assert (local.returncode, distant.returncode) == (0, 0), distant.stderr
    ours, theirs = (json.loads(done.stdout) for done in (local, distant))
    assert theirs["made"]["source"] == f"hf://org/repo@{hub.find('org/repo').head}/suites/topk"
    assert theirs["made"]["suite_sha256"] == ours["made"]["suite_sha256"]
    assert theirs["headline"] == ours["headline"]
    assert theirs["cells"] == ours["cells"]


def test_a_source_on_the_hub_is_inspected(hub, tmp_path):
    done = run(tmp_path, hub.url, "inspect", "hf://org/repo/suites/topk", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["source"] == f"hf://org/repo@{hub.find('org/repo').head}/suites/topk"


def test_a_release_without_a_network_says_so(hub, tmp_path):
    done = run(tmp_path, "http://127.0.0.1:9", "evaluate", "--release", "gpt2-small-res-jb", "--layer", "8")
    assert done.returncode == 1
    assert "cache" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


ALL_KNOWN = """
import sys
from dataclasses import replace
import ioi_bench.releases as table
from ioi_bench.cli import main
from ioi_bench.plugins.records import LoadOptions

some = table.all_known()[0]
native = replace(some.release, name="mini", loader="native")
found = [
    replace(some, release=native, published=replace(some.published, layer=layer), uri=uri, options=LoadOptions())
    for layer, uri in ((1, "hf://org/repo/suites/topk"), (2, "hf://org/repo/suites/lost"))
]
table.all_known = lambda: tuple(found)
sys.argv = ["ioi-bench", *sys.argv[1:]]
main()
"""


def test_all_known_dictionaries_have_a_card_each_and_what_fails_is_named(hub, tmp_path):
    words = ("evaluate", "--all-known", "--prompts", "20", "--train-prompts", "500", "--budgets", "1,2")
    done = run(tmp_path, hub.url, *words, "--methods", "exchange", "--out", "known", code=ALL_KNOWN)
    assert done.returncode == 1, done.stderr
    assert "1 of 2: mini, layer 1" in done.stderr
    assert "1 of 2 failed: mini, layer 2" in done.stderr
    (folder,) = (tmp_path / "known").iterdir()
    assert (
        json.loads((folder / "card.json").read_text())["made"]["source"]
        == f"hf://org/repo@{hub.find('org/repo').head}/suites/topk"
    )
