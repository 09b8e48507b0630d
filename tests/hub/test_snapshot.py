"""`snapshot`: repositories of every kind as folders, from a mirror, from the loopback Hub, and from the cache."""

from __future__ import annotations

import loopback
import pytest
from huggingface_hub import constants
from loopback import Hub, connect, serve

from ioi_bench.errors import HubUnavailableError, InputError, StorageError, SuiteError, UnknownNameError
from ioi_bench.hub.snapshot import snapshot

FILES = {"README.md": b"# board", "results/a/card.json": b"{}", "results/a/prompts.parquet": bytes(range(256)) * 20}
BOARD = "org/board"


@pytest.fixture
def hub():
    hub = Hub()
    hub.repository(BOARD, "dataset", FILES).tag("v1")
    with serve(hub):
        yield hub


@pytest.fixture
def waited(hub, monkeypatch, tmp_path):
    return connect(monkeypatch, hub, tmp_path / "hf")


def read(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
    return {name: data for name, data in found.items() if name != ".gitattributes"}


# On olah: a real mirror, on a real git repository


def test_a_dataset_of_a_mirror(mirror, monkeypatch, tmp_path):
    connect(monkeypatch, mirror, tmp_path / "hf")
    told = []
    some = snapshot(BOARD, kind="dataset", patterns=["results/*/card.json"], progress=lambda *one: told.append(one))
    assert (some.commit, some.from_cache) == (mirror.board.second, False)
    assert read(some.folder) == {
        "results/t/org__a/1/card.json": b'{"score": 1}',
        "results/t/org__b/2/card.json": b"[]",
    }
    assert set(read(some.folder)) < set(some.names), "names are of all files, fetched or not"
    assert "2 files" in told[0][0]
    whole = snapshot(BOARD, kind="dataset", revision="v1")
    assert whole.commit == mirror.board.first
    assert len(read(whole.folder)) == 4
    assert set(read(whole.folder)) == set(whole.names)
    assert read(whole.folder)["results/t/org__a/1/card.json"] == b"{}"
    assert snapshot(BOARD, kind="dataset", revision=mirror.board.first) == whole


def test_what_a_mirror_has_not(mirror, monkeypatch, tmp_path):
    connect(monkeypatch, mirror, tmp_path / "hf")
    with pytest.raises(InputError, match="no model repository 'org/board'"):
        snapshot(BOARD, kind="model")
    with pytest.raises(UnknownNameError, match="did you mean 'main'"):
        snapshot(BOARD, kind="dataset", revision="maim")


# On the loopback Hub


@pytest.mark.parametrize("kind", ["model", "dataset", "space"])
def test_all_kinds(hub, waited, kind):
    hub.repository("org/other", kind, {"a.txt": kind.encode()})
    found = snapshot("org/other", kind=kind)
    assert (found.commit, read(found.folder)) == (hub.find("org/other").head, {"a.txt": kind.encode()})


def test_the_files_of_a_pull_request(hub, waited):
    board = hub.find(BOARD)
    new = {"results/b/card.json": loopback.repository.File(b"[]", large=False)}
    board.commit(new, title="b", author="sam", pull_request=True)
    found = snapshot(BOARD, kind="dataset", revision="refs/pr/1")
    assert found.commit == board.at("refs/pr/1").oid != board.head
    assert read(found.folder) == {**FILES, "results/b/card.json": b"[]"}


def test_without_an_answer_the_cache_serves_and_says_so(hub, waited):
    first = snapshot(BOARD, kind="dataset")
    hub.fail(None, loopback.OUT_OF_ORDER)
    with pytest.warns(UserWarning, match="from the cache"):
        again = snapshot(BOARD, kind="dataset")
    assert (again.folder, again.commit, first.from_cache, again.from_cache) == (first.folder, first.commit, False, True)
    assert snapshot(BOARD, kind="dataset", revision=first.commit).from_cache  # it cannot have moved: no warning
    with pytest.raises(HubUnavailableError, match="not whole in the cache"):
        snapshot(BOARD, kind="dataset", revision="v1")


def test_offline(hub, waited, monkeypatch):
    first = snapshot(BOARD, kind="dataset")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.warns(UserWarning, match="from the cache"):
        assert snapshot(BOARD, kind="dataset").folder == first.folder
    with pytest.raises(HubUnavailableError, match="HF_HUB_OFFLINE"):
        snapshot("org/other", kind="dataset")


def test_a_part_in_the_cache_is_not_taken_for_the_whole(hub, waited):
    part = snapshot(BOARD, kind="dataset", patterns=["*.json"])
    hub.fail(None, loopback.OUT_OF_ORDER)
    with pytest.raises(HubUnavailableError, match="not whole in the cache"):
        snapshot(BOARD, kind="dataset")
    with pytest.warns(UserWarning, match="from the cache"):
        assert snapshot(BOARD, kind="dataset", patterns=["*.json"]).folder == part.folder


def test_an_interrupted_download_goes_on(hub, waited):
    """What is whole is kept; a second run fetches only what is missing."""
    large = bytes(range(256)) * 6 * 2**14
    hub.find(BOARD).write({"results/b/prompts.parquet": large, "results/c/prompts.parquet": large[::-1]})
    hub.fail("lfs-get", loopback.NOT_NOW, after=2)
    with pytest.raises(HubUnavailableError, match=r"broke off .* run again, the files that are whole are kept"):
        snapshot(BOARD, kind="dataset")
    kept = len(hub.asked("lfs-get"))
    hub.heal()
    found = snapshot(BOARD, kind="dataset")
    assert read(found.folder) == hub.files(BOARD)
    assert len(hub.asked("lfs-get")) - kept <= 2 < len(hub.files(BOARD))


@pytest.mark.parametrize("cuts", [1, 3])
def test_a_connection_that_breaks_goes_on_where_it_stopped(hub, waited, cuts):
    large = bytes(range(256)) * 6 * 2**14
    hub.find(BOARD).write({"large/prompts.parquet": large})
    hub.fail("lfs-get", cut=12 * 10**6, times=cuts)
    found = snapshot(BOARD, kind="dataset", patterns=["large/"])
    assert read(found.folder) == {"large/prompts.parquet": large}
    begins = [int(asked.removeprefix("bytes=").removesuffix("-")) for asked in hub.ranges()]
    assert begins == sorted(begins)
    assert len(set(begins)) == len(begins) > 0


def test_no_file_that_matches(hub, waited):
    with pytest.raises(InputError, match=r"no file that matches 'card.jsn'"):
        snapshot(BOARD, kind="dataset", patterns=["card.jsn"])


@pytest.mark.parametrize("repo", ["board", "org/board/results", "org/board@v1", "org/../board", "hf://org/board", ""])
def test_names_that_are_none(hub, waited, repo):
    with pytest.raises(InputError, match="hf://datasets/org/repo"):
        snapshot(repo, kind="dataset")
    assert hub.requests == []


def test_sizes_are_checked_first(hub, waited):
    hub.find(BOARD).claimed["results/a/card.json"] = 9 * 2**30
    with pytest.raises(SuiteError, match=r"card\.json"):
        snapshot(BOARD, kind="dataset")
    assert hub.fetched() == []


def test_a_cache_that_cannot_be_written(hub, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    connect(monkeypatch, hub, tmp_path / "file")
    with pytest.raises(StorageError, match="HF_HOME"):
        snapshot(BOARD, kind="dataset")


def test_private_and_gated_repositories(hub, waited, monkeypatch):
    hub.tokens["hf_member1234"] = loopback.User("ann", "read", ("org",))
    hub.repository("org/private", "dataset", {"a": b"1"}, private=True)
    hub.repository("org/gated", "dataset", {"a": b"1"}, gated=True)
    with pytest.raises(InputError, match=r"shows no dataset repository 'org/private'.*none was sent"):
        snapshot("org/private", kind="dataset")
    with pytest.raises(InputError, match=r"gated: .* Ask at http://127.0.0.1:\d+/datasets/org/gated"):
        snapshot("org/gated", kind="dataset")
    monkeypatch.setenv("HF_TOKEN", "hf_member1234")
    assert read(snapshot("org/private", kind="dataset").folder) == {"a": b"1"}
    assert read(snapshot("org/gated", kind="dataset").folder) == {"a": b"1"}
    monkeypatch.setenv("HF_TOKEN", "hf_nobody1234")
    with pytest.raises(InputError, match="refuses the token"):
        snapshot(BOARD, kind="dataset")
