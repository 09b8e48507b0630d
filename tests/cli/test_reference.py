"""`ioi-bench reference`: what is said, where, and how it ends; the Hub is one on the loopback address."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from loopback import NOT_NOW, Hub, User, connect, serve

from ioi_bench.cli.reference import hint_for
from ioi_bench.dictionaries.suite import load_suite
from ioi_bench.reference import REPO, bundled_folder, bundled_manifest
from ioi_bench.reference.verify import Rescored

SUITE, OTHER = "topk-k3-s0", "gated-s0"


@pytest.fixture(autouse=True)
def _empty_cache(monkeypatch, tmp_path):
    """What the developer has pulled is nothing to a test."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))


# Without a network


def test_list_shows_every_bundled_suite_with_its_scores(cli):
    done = cli("reference", "list")
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["suite", "exchange", "aware", "universal", "L0"]
    assert "all bundled" in done.stderr  # where they lie is a column if it differs
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


@pytest.mark.parametrize(("worst", "code", "said"), [(0.0, 0, "the same"), (3e-4, 1, "differ: at most 0.0003 apart")])
def test_verify_compares_scores_where_it_is_asked_to(cli, monkeypatch, worst, code, said):
    found = Rescored({"exchange": 1e-9, "aware": worst})
    monkeypatch.setattr("ioi_bench.reference.verify.evaluate_again", lambda *args: found)
    done = cli("reference", "verify", SUITE, "--evaluate")
    assert done.exit_code == code
    assert said in done.stdout
    (row,) = json.loads(cli("reference", "verify", SUITE, "--evaluate", "--json").stdout)
    assert row["scores"] == {"worst": {"exchange": 1e-9, "aware": worst}, "same": code == 0}


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


@pytest.fixture(scope="module")
def published():
    """What `push` would send of two suites."""
    paths = [path for name in (SUITE, OTHER) for path in bundled_manifest().suite(name).file_paths]
    return {path: (bundled_folder() / path).read_bytes() for path in ("manifest.json", *paths)}


@pytest.fixture
def hub(published, tmp_path, monkeypatch):
    """The default repository with these files; the client in this process talks to it, with a cache of its own."""
    hub = Hub()
    hub.repository(REPO, files=published)
    hub.tokens["hf_owner0000"] = User("ann", orgs=("ioi-bench",))
    with serve(hub):
        connect(monkeypatch, hub, tmp_path / "hf", token="hf_owner0000")
        yield hub


def row_of(cli, name):
    return next(row for row in json.loads(cli("reference", "list", "--json").stdout) if row["name"] == name)


def test_pull_prints_the_folder_and_does_not_fetch_twice(cli, hub, tmp_path):
    assert row_of(cli, SUITE)["cached"] is None
    done = cli("reference", "pull", SUITE)
    assert done.exit_code == 0, done.stderr
    folder = Path(done.stdout.strip())
    suite = bundled_manifest().suite(SUITE)
    assert {path.name for path in folder.iterdir()} == set(suite.files)
    assert folder.is_relative_to(tmp_path / "hf")
    assert hub.fetched() == sorted(suite.file_paths)
    assert load_suite(folder).sha256 == suite.suite_sha256  # a cache's links are a suite like any other
    hub.requests.clear()
    assert cli("reference", "pull", SUITE).stdout == done.stdout
    assert not hub.fetched()
    assert row_of(cli, SUITE)["cached"] == str(folder)
    verified = cli("reference", "verify", SUITE)
    assert [line.split() for line in verified.stdout.splitlines()[1:]] == [
        [SUITE, "bundled", "sound"],
        [SUITE, "cached", "sound"],
    ]


def test_an_interrupted_pull_goes_on(cli, hub):
    hub.fail("lfs-get", cut=200_000)
    done = cli("reference", "pull", SUITE)
    assert "not from the Hub" in done.stderr  # as of one that is silent: the bundled suite serves
    hub.heal()
    hub.requests.clear()
    done = cli("reference", "pull", SUITE)
    assert done.exit_code == 0, done.stderr
    weights = next(path for path in bundled_manifest().suite(SUITE).file_paths if path.endswith(".safetensors"))
    assert hub.fetched() == [weights]  # what was whole is kept
    assert load_suite(done.stdout.strip()).sha256 == bundled_manifest().suite(SUITE).suite_sha256


def test_a_silent_hub_leaves_the_bundled_suites_and_says_so(cli, hub):
    hub.fail(None, NOT_NOW)
    done = cli("reference", "pull", SUITE, OTHER)
    assert done.exit_code == 0, done.stderr
    root = bundled_folder()
    assert done.stdout.split() == [str(root / bundled_manifest().suite(name).path) for name in (SUITE, OTHER)]
    assert "not from the Hub, but bundled" in done.stderr


def test_a_swapped_file_is_refused(cli, hub, published, tmp_path):
    path = next(path for path in bundled_manifest().suite(SUITE).file_paths if path.endswith(".safetensors"))
    swapped = published[path][:-1] + b"?"
    hub.find(REPO).write({path: swapped})
    done = cli("reference", "pull", SUITE)
    assert done.exit_code == 2
    assert not done.stdout
    assert path in done.stderr
    assert "--revision" in done.stderr
    assert not [file for file in (tmp_path / "hf").rglob("*") if file.is_file() and file.read_bytes() == swapped]


def test_all_of_a_repository_are_copied(cli, hub, published, tmp_path):
    manifest = json.loads(published["manifest.json"])
    manifest["suites"] = {SUITE: manifest["suites"][SUITE], "later-s0": manifest["suites"][OTHER]}
    hub.find(REPO).write({"manifest.json": json.dumps(manifest).encode()})
    done = cli("reference", "pull", "--all", "--out", tmp_path / "suites", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout) == [
        {
            "name": name,
            "folder": str(tmp_path / "suites" / name),
            "origin": f"hf://{REPO}@{hub.find(REPO).head}/{bundled_manifest().suite(source).path}",
        }
        for name, source in ((SUITE, SUITE), ("later-s0", OTHER))
    ]


def test_list_of_a_repository_shows_what_its_manifest_holds(cli, hub, published):
    manifest = json.loads(published["manifest.json"])
    manifest["suites"] = {SUITE: manifest["suites"][SUITE], "later-s0": manifest["suites"][OTHER]}
    manifest["suites"]["later-s0"]["files"] = {"suite.json": "0" * 64}
    hub.find(REPO).write({"manifest.json": json.dumps(manifest).encode()})
    done = cli("reference", "list", "--repo", REPO)
    assert done.exit_code == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()[1:]]
    assert [(row[0], row[-1]) for row in rows] == [(SUITE, "bundled"), ("later-s0", "Hub")]
    assert f"hf://{REPO}@{hub.find(REPO).head}" in done.stderr


def test_a_repository_without_a_manifest_is_said(cli, hub):
    hub.repository("org/other", files={"a.txt": b"a"})
    done = cli("reference", "list", "--repo", "org/other")
    assert done.exit_code == 2
    assert "manifest.json" in done.stderr


def test_what_is_pushed_can_be_pulled_and_verified(cli, hub, tmp_path):
    """A repository of one's own, made by the push, in one commit beside the Hub's own first one."""
    done = cli("reference", "push", "--repo", "ioi-bench/mine", "--create")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.strip().startswith(hub.url)
    assert len(hub.commits("ioi-bench/mine")) == 2
    sent = hub.files("ioi-bench/mine")
    sizes = json.loads(cli("reference", "push", "--dry-run", "--json", "--repo", "ioi-bench/mine").stdout)["files"]
    assert {name: len(data) for name, data in sent.items()} == sizes
    pulled = cli("reference", "pull", OTHER, "--repo", "ioi-bench/mine", "--out", tmp_path / "suites")
    assert pulled.exit_code == 0, pulled.stderr
    assert cli("reference", "verify", pulled.stdout.strip()).exit_code == 0
    assert cli("reference", "push", "--repo", "ioi-bench/mine").exit_code == 0
    assert len(hub.commits("ioi-bench/mine")) == 2  # it was all there


def test_a_pull_request_leaves_the_branch_as_it_is(cli, hub):
    before = hub.commits(REPO)
    done = cli("reference", "push", "--pull-request", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["pull_request"] == 1
    assert hub.commits(REPO) == before
    assert "README.md" in hub.files(REPO, "refs/pr/1")


def test_a_push_without_the_right_is_said(cli, hub):
    hub.tokens["hf_owner0000"] = User("rob", role="read", orgs=("ioi-bench",))
    done = cli("reference", "push")
    assert done.exit_code == 2
    assert "hf_owner0000" not in done.stderr
    assert len(hub.commits(REPO)) == 2
