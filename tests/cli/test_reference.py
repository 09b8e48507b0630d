"""`ioi-bench reference`: what is said, where, and how it ends; the Hub is one on the loopback address."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from loopback import Hub, serve

from ioi_bench.cli.reference import hint_for
from ioi_bench.dictionaries.suite import load_suite
from ioi_bench.reference import REPO, bundled_folder, bundled_manifest

SUITE, OTHER = "topk-k3-s0", "gated-s0"
NOWHERE = "http://127.0.0.1:9"


# Without a network


def test_list_shows_every_bundled_suite_with_its_scores(cli):
    done = cli("reference", "list")
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["suite", "variant", "seed", "exchange", "aware", "universal", "L0", "where"]
    assert [line.split()[0] for line in lines[1:]] == list(bundled_manifest().suites)  # none is folded
    assert "reference pull NAME" in done.stderr


def test_list_as_json_has_what_the_manifest_says(cli):
    rows = {row["name"]: row for row in json.loads(cli("reference", "list", "--json").stdout)}
    for name, suite in bundled_manifest().suites.items():
        row = rows[name]
        assert row["scores"]["exchange"]["value"] == suite.scores["exchange"].value
        assert row["suite_sha256"] == suite.suite_sha256
        assert row["bytes"] == sum(file.stat().st_size for file in Path(row["bundled"]).iterdir())
    assert rows["topk-k3-s0"]["l0"] == pytest.approx(3.0)


def test_verify_says_sound_of_what_is_bundled(cli):
    done = cli("reference", "verify", SUITE, OTHER)
    assert done.exit_code == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == [SUITE, OTHER]
    assert "sound" in done.stdout


def test_verify_ends_with_an_error_where_a_copy_is_damaged(cli, tmp_path):
    suite = bundled_manifest().suite(SUITE)
    for name in suite.files:
        data = (bundled_folder() / suite.path / name).read_bytes()
        (tmp_path / name).write_bytes(data[:-1] if name.endswith("safetensors") else data)
    done = cli("reference", "verify", tmp_path, "--json")
    assert done.exit_code == 1
    (row,) = json.loads(done.stdout)
    assert (row["name"], row["where"]) == (SUITE, "given")
    assert suite.files["weights.safetensors"] in row["problems"][0]
    assert "1 of 1 are not what the manifest says" in done.stderr


def test_a_dry_run_shows_every_file_and_the_page(cli):
    done = cli("reference", "push", "--dry-run", "--repo", "org/saes")
    assert done.exit_code == 0, done.stderr
    for suite in bundled_manifest().suites.values():
        for path in suite.file_paths:
            assert f"{path} " in done.stdout
    assert "library_name: ioi-bench" in done.stdout
    assert "nothing was sent" in done.stderr
    sizes = json.loads(cli("reference", "push", "--dry-run", "--json").stdout)["files"]
    assert sizes["manifest.json"] == (bundled_folder() / "manifest.json").stat().st_size


def test_pull_asks_for_names_or_all(cli):
    for words in ((), (SUITE, "--all")):
        done = cli("reference", "pull", *words)
        assert done.exit_code == 2
        assert "--all" in done.stderr


def test_a_name_where_a_path_belongs_is_told_what_to_do(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = cli("evaluate", SUITE)
    assert done.exit_code == 2
    assert f"ioi-bench reference pull {SUITE}" in done.stderr


def test_only_near_names_have_the_hint():
    assert "topk-k3-s0" in hint_for("topk-k3-s00")
    assert not hint_for("my_saes/")


# With a Hub


def run(tmp_path, url, *words):
    """A process of its own: the endpoint is read when huggingface_hub is imported."""
    own = {"HF_ENDPOINT": url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "127.0.0.1"}
    environment = {**os.environ, **own, "IOI_BENCH_CACHE": str(tmp_path / "cache"), "COLUMNS": "120"}
    command = [sys.executable, "-c", "from ioi_bench.cli import main; main()", *words]
    return subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture(scope="module")
def files():
    """What `push` would send of two suites."""
    suites = bundled_manifest()
    paths = [path for name in (SUITE, OTHER) for path in suites.suite(name).file_paths]
    return {path: (bundled_folder() / path).read_bytes() for path in ("manifest.json", *paths)}


@pytest.fixture
def hub(files):
    with serve(Hub(dict(files), repo=REPO)) as hub:
        yield hub


def test_pull_prints_the_folder_and_does_not_fetch_twice(hub, tmp_path):
    done = run(tmp_path, hub.url, "reference", "pull", SUITE)
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.strip())
    suite = bundled_manifest().suite(SUITE)
    assert {path.name for path in folder.iterdir()} == set(suite.files)
    assert folder.is_relative_to(tmp_path / "hf")
    assert hub.fetched() == sorted(suite.file_paths)
    hub.requests.clear()
    again = run(tmp_path, hub.url, "reference", "pull", SUITE)
    assert again.stdout == done.stdout
    assert not hub.fetched()
    listed = run(tmp_path, NOWHERE, "reference", "list", "--json")
    row = next(row for row in json.loads(listed.stdout) if row["name"] == SUITE)
    assert row["cached"] == str(folder)
    assert load_suite(folder).sha256 == suite.suite_sha256  # a cache's links are a suite like any other


def test_an_interrupted_pull_goes_on(hub, tmp_path):
    hub.cuts = 1
    done = run(tmp_path, hub.url, "reference", "pull", SUITE)
    if done.returncode != 0:  # the client gave up: what is whole is kept
        assert "run again" in done.stderr
        done = run(tmp_path, hub.url, "reference", "pull", SUITE)
    assert done.returncode == 0, done.stderr
    assert hub.cuts == 0
    assert load_suite(done.stdout.strip()).sha256 == bundled_manifest().suite(SUITE).suite_sha256


def test_a_silent_hub_leaves_the_bundled_suite_and_says_so(tmp_path):
    done = run(tmp_path, NOWHERE, "reference", "pull", SUITE, OTHER)
    assert done.returncode == 0, done.stderr
    root = bundled_folder()
    assert done.stdout.split() == [str(root / bundled_manifest().suite(name).path) for name in (SUITE, OTHER)]
    assert "not from the Hub, but bundled" in done.stderr


def test_a_swapped_file_is_refused(hub, files, tmp_path):
    path = bundled_manifest().suite(SUITE).file_paths[-1]
    hub.files[path] = files[path][:-1] + b"?"
    done = run(tmp_path, hub.url, "reference", "pull", SUITE)
    assert done.returncode == 2
    assert not done.stdout
    assert path in done.stderr
    assert "--revision" in done.stderr
    kept = [file for file in (tmp_path / "hf").rglob("*") if file.is_file() and file.stat().st_size == len(files[path])]
    assert not [file for file in kept if file.read_bytes() == hub.files[path]]


def test_list_of_a_repository_shows_what_its_manifest_holds(hub, files, tmp_path):
    manifest = json.loads(files["manifest.json"])
    manifest["suites"] = {SUITE: manifest["suites"][SUITE], "later-s0": manifest["suites"][OTHER]}
    manifest["suites"]["later-s0"]["files"] = {"suite.json": "0" * 64}
    hub.files["manifest.json"] = json.dumps(manifest).encode()
    done = run(tmp_path, hub.url, "reference", "list", "--repo", REPO)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()[1:]]
    assert [(row[0], row[-1]) for row in rows] == [(SUITE, "bundled"), ("later-s0", "Hub")]
    assert f"hf://{REPO}@" in done.stderr


def test_a_repository_without_a_manifest_is_said(hub, tmp_path):
    del hub.files["manifest.json"]
    done = run(tmp_path, hub.url, "reference", "list", "--revision", "main")
    assert done.returncode == 2
    assert "manifest.json" in done.stderr
