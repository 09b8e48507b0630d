"""`upload`: one commit or a pull request, made once however often it is run."""

from __future__ import annotations

import hashlib

import pytest
from loopback import Hub, User, connect, serve

from ioi_bench.errors import InputError, UnknownNameError
from ioi_bench.hub import upload as module
from ioi_bench.hub.upload import upload

BOARD, SAY = "org/board", {"kind": "dataset", "message": "Add a"}
CARD = {"results/a/card.json": b"{}\n", "results/a/prompts.parquet": bytes(range(256)) * 9}
OWNER, READER, STRANGER = "hf_ownerSecret1", "hf_readerSecret2", "hf_strangerSecret3"


@pytest.fixture
def hub():
    hub = Hub()
    hub.tokens |= {OWNER: User("ann", orgs=("org",)), READER: User("rob", "read", ("org",)), STRANGER: User("sam")}
    hub.repository(BOARD, "dataset", {"README.md": b"# board"})
    with serve(hub):
        yield hub


@pytest.fixture
def be(hub, monkeypatch, tmp_path):
    """``be(token)``: whose token is sent from now on."""
    return lambda token: connect(monkeypatch, hub, tmp_path / "hf", token)


def test_one_commit_of_files_and_contents(hub, be, tmp_path, capfd):
    be(OWNER)
    (tmp_path / "card.json").write_bytes(CARD["results/a/card.json"])
    told = []
    done = upload(
        {**CARD, "results/a/card.json": tmp_path / "card.json", "empty": b""},
        BOARD,
        description="by ann",
        progress=lambda *one: told.append(one),
        **SAY,
    )
    assert hub.files(BOARD) == {"README.md": b"# board", "empty": b"", **CARD}
    commit = hub.commits(BOARD)[0]
    assert (commit.title, commit.description, commit.author) == ("Add a", "by ann", "ann")
    assert (done.commit, done.pull_request, done.new) == (commit.oid, None, True)
    assert done.url == f"{hub.url}/datasets/{BOARD}/commit/{commit.oid}"
    what, first, total = told[0]
    assert "3 files, 0.0 MB, to hf://datasets/org/board" in what
    assert (first, told[-1]) == (0, (what, total, total))
    assert "%" not in capfd.readouterr().err  # the client's own bars are off


def test_the_same_again_makes_no_second_commit(hub, be):
    be(OWNER)
    first = upload(CARD, BOARD, **SAY)
    sent = len(hub.asked("lfs-put"))
    again = upload(CARD, BOARD, **SAY)
    assert (again.commit, again.url, again.new) == (first.commit, first.url, False)
    assert len(hub.commits(BOARD)) == 3
    assert len(hub.asked("lfs-put")) == sent == 1
    changed = upload({**CARD, "results/a/card.json": b"[]"}, BOARD, **SAY)
    assert changed.new
    assert changed.commit == hub.commits(BOARD)[0].oid != first.commit
    assert len(hub.asked("lfs-put")) == sent


def test_who_may_not_write_opens_a_pull_request(hub, be):
    be(STRANGER)
    with pytest.raises(InputError, match="open a pull request instead"):
        upload(CARD, BOARD, **SAY)
    head = hub.commits(BOARD)[0].oid
    done = upload(CARD, BOARD, description="please", pull_request=True, **SAY)
    assert hub.commits(BOARD)[0].oid == head
    assert (done.pull_request, done.url, done.new) == (1, f"{hub.url}/datasets/{BOARD}/discussions/1", True)
    (request,) = hub.pull_requests(BOARD)
    assert (request.title, request.description, request.author) == ("Add a", "please", "sam")
    assert hub.commits(BOARD, "refs/pr/1")[0].oid == done.commit
    assert hub.files(BOARD, "refs/pr/1") == {"README.md": b"# board", **CARD}


def test_the_same_pull_request_is_opened_once(hub, be):
    be(STRANGER)
    first = upload(CARD, BOARD, pull_request=True, **SAY)
    again = upload(CARD, BOARD, pull_request=True, **SAY)
    assert (again.commit, again.url, again.pull_request, again.new) == (first.commit, first.url, 1, False)
    other = upload({**CARD, "results/a/card.json": b"[]"}, BOARD, pull_request=True, **SAY)
    large = upload({**CARD, "results/a/prompts.parquet": bytes(2304)}, BOARD, pull_request=True, **SAY)
    more = upload({**CARD, "results/a/more": b""}, BOARD, pull_request=True, **SAY)
    assert [one.pull_request for one in (other, large, more)] == [2, 3, 4]
    assert other.new
    assert large.new
    assert more.new


def test_what_the_branch_has_needs_no_pull_request(hub, be):
    be(STRANGER)
    upload(CARD, BOARD, pull_request=True, **SAY)
    hub.find(BOARD).merge(1)
    again = upload(CARD, BOARD, pull_request=True, **SAY)
    assert (again.commit, again.pull_request, again.new) == (hub.commits(BOARD)[0].oid, None, False)
    assert len(hub.pull_requests(BOARD)) == 1


def test_a_closed_pull_request_is_opened_anew(hub, be):
    be(STRANGER)
    upload(CARD, BOARD, pull_request=True, **SAY)
    hub.pull_requests(BOARD)[0].status = "closed"
    assert upload(CARD, BOARD, pull_request=True, **SAY).pull_request == 2


@pytest.mark.parametrize("kind", ["model", "dataset", "space"])
def test_a_repository_is_made_if_it_is_to_be(hub, be, kind):
    be(OWNER)
    with pytest.raises(InputError, match=f"shows no {kind} repository 'org/new'"):
        upload({"a.parquet": b"1"}, "org/new", kind=kind, message="m")
    for content in (b"1", b"2"):
        upload({"a.parquet": content}, "org/new", kind=kind, message="m", create=True)
    assert hub.files("org/new") == {"a.parquet": b"2"}
    assert [commit.title for commit in hub.commits("org/new", kind=kind)] == ["m", "m", "initial commit"]


def test_no_repository_of_others_is_made(hub, be):
    be(STRANGER)
    with pytest.raises(InputError, match=r"forbids writing to hf://datasets/org/new .*rights to create a dataset"):
        upload(CARD, "org/new", create=True, **SAY)
    assert upload(CARD, BOARD, create=True, pull_request=True, **SAY).pull_request == 1  # it is there


def test_branches(hub, be):
    be(OWNER)
    hub.find(BOARD).branch("side/one")
    done = upload(CARD, BOARD, revision="side/one", **SAY)
    assert hub.commits(BOARD, "side/one")[0].oid == done.commit
    assert "results/a/card.json" not in hub.files(BOARD)
    with pytest.raises(UnknownNameError, match="did you mean 'side/one'"):
        upload(CARD, BOARD, revision="side/on", **SAY)


def test_large_files_go_in_groups_each_once(hub, be, monkeypatch):
    monkeypatch.setattr(module, "_GROUP_FILES", 3)
    be(OWNER)
    files = {f"{number}.npz": b"%d" % number for number in range(7)}
    upload(files, BOARD, **SAY)
    assert len(hub.asked("lfs-batch")) == 3
    sent = [one.path.rsplit("/", 1)[1] for one in hub.asked("lfs-put")]
    assert sorted(sent) == sorted(hashlib.sha256(data).hexdigest() for data in files.values())
    assert len(hub.commits(BOARD)) == 3


def test_groups_by_size(hub, be, monkeypatch):
    monkeypatch.setattr(module, "_GROUP_BYTES", 2500)
    be(OWNER)
    told = []
    files = {f"{number}.npz": bytes([number]) * 1000 for number in range(4)} | {"9.npz": bytes(9000)}
    upload(files, BOARD, progress=lambda *one: told.append(one[1:]), **SAY)
    assert len(hub.asked("lfs-batch")) == 3
    assert hub.files(BOARD).keys() >= files.keys()
    assert told == [(0, 1), (0, 1), (0, 1), (1, 1)]


@pytest.mark.parametrize("name", ["/etc/passwd", "../a", "a/../b", "a//b", ".", "a/", ".git/config", "a\\b", ""])
def test_names_that_are_none(hub, be, name):
    be(OWNER)
    with pytest.raises(InputError, match=r"no name of a file|nothing"):
        upload({name: b"1"}, BOARD, **SAY)
    assert hub.requests == []


def test_what_cannot_be_uploaded_is_refused_before_anything_is_sent(hub, be, tmp_path):
    be(OWNER)
    with pytest.raises(InputError, match=r"cannot upload 'a'.*missing\.json"):
        upload({"a": tmp_path / "missing.json"}, BOARD, **SAY)
    with pytest.raises(InputError, match="there is no file"):
        upload({"a": tmp_path}, BOARD, **SAY)
    with pytest.raises(InputError, match="nothing to upload"):
        upload({}, BOARD, **SAY)
    with pytest.raises(InputError, match="not an address on the Hub"):
        upload(CARD, "board", **SAY)
    assert hub.requests == []


def test_what_the_hub_refuses_in_words(hub, be):
    be(OWNER)
    with pytest.raises(InputError, match=r"refuses what was sent.*bad indentation"):
        upload({"README.md": b"---\nlicense mit\n---\n"}, BOARD, **SAY)
    hub.find(BOARD).write({".gitignore": b"*.log *.parquet"})
    head = hub.commits(BOARD)[0].oid
    with pytest.raises(InputError, match=r"leaves out results/a/prompts\.parquet"):
        upload(CARD, BOARD, **SAY)  # rather than a commit without it
    assert hub.commits(BOARD)[0].oid == head
