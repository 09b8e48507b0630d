"""Uploads that go wrong: what is said, that nothing is lost, and that a repeat goes on where it stopped."""

from __future__ import annotations

import loopback
import pytest
from huggingface_hub import constants
from loopback import Hub, User, connect, serve

from ioi_bench.errors import HubUnavailableError, InputError
from ioi_bench.hub import upload as module
from ioi_bench.hub.upload import upload

BOARD, SAY = "org/board", {"kind": "dataset", "message": "Add a"}
FILES = {"results/a/card.json": b"{}\n"} | {f"results/a/{n}.parquet": bytes([n]) * 5000 for n in range(6)}
OWNER, READER = "hf_ownerSecret1", "hf_readerSecret2"


@pytest.fixture
def hub():
    hub = Hub()
    hub.tokens |= {OWNER: User("ann", orgs=("org",)), READER: User("rob", "read", ("org",))}
    hub.repository(BOARD, "dataset", {"README.md": b"# board"})
    with serve(hub):
        yield hub


@pytest.fixture
def waited(hub, monkeypatch, tmp_path):
    """Connected as the owner; what the client would have waited."""
    return connect(monkeypatch, hub, tmp_path / "hf", OWNER)


def sent(hub):
    """Hashes of the large files that have been sent, with repeats."""
    return [one.path.rsplit("/", 1)[1] for one in hub.asked("lfs-put")]


def is_whole(hub, revision="main"):
    return hub.files(BOARD, revision) == {"README.md": b"# board", **FILES}


@pytest.mark.parametrize("pull_request", [False, True])
@pytest.mark.parametrize(
    ("endpoint", "answer"),
    [
        (endpoint, answer)
        for endpoint in ("info", "preupload", "lfs-batch", "lfs-put", "lfs-verify", "commit")
        for answer in (loopback.BROKEN, loopback.OUT_OF_ORDER)
    ],
    ids=lambda value: value if isinstance(value, str) else str(value[0]),
)
def test_a_hub_out_of_order_in_the_middle(hub, waited, endpoint, answer, pull_request):
    hub.fail(endpoint, answer)
    with pytest.raises(HubUnavailableError) as caught:
        upload(FILES, BOARD, pull_request=pull_request, **SAY)
    message = str(caught.value)
    assert f"status {answer[0]}" in message
    assert "run again" in message
    assert ("may or may not" if endpoint == "commit" else "Nothing was committed") in message
    assert len(hub.commits(BOARD)) == 2
    assert hub.pull_requests(BOARD) == []
    hub.heal()
    done = upload(FILES, BOARD, pull_request=pull_request, **SAY)
    assert done.new
    assert is_whole(hub, "refs/pr/1" if pull_request else "main")


def test_large_files_that_arrived_are_not_sent_again(hub, waited, monkeypatch):
    monkeypatch.setattr(module, "_GROUP_FILES", 2)
    hub.fail("lfs-put", loopback.NOT_NOW, after=4)
    with pytest.raises(HubUnavailableError, match="large files that have arrived are kept and not sent twice"):
        upload(FILES, BOARD, **SAY)
    arrived = set(hub.find(BOARD).large)
    assert len(arrived) == 4
    assert len(hub.commits(BOARD)) == 2
    hub.heal()
    before = len(sent(hub))
    upload(FILES, BOARD, **SAY)
    assert is_whole(hub)
    again = sent(hub)[before:]
    assert len(again) == 2
    assert arrived.isdisjoint(again)


def test_a_connection_that_breaks_in_the_middle_of_a_file(hub, waited):
    """Once: the client sends it again by itself. For good: nothing is committed, and a repeat sends it."""
    hub.fail("lfs-put", cut=2000, times=1)
    upload(FILES, BOARD, **SAY)
    assert is_whole(hub)
    assert waited == [1.0]
    large = {"large.npz": bytes(range(256)) * 2**14}  # 4 MB: more than the sockets take
    hub.fail("lfs-put", cut=10**6)
    with pytest.raises(HubUnavailableError, match=r"gives no answer .* Nothing was committed: run again"):
        upload(large, BOARD, **SAY)
    assert len(hub.commits(BOARD)) == 3
    hub.heal()
    upload(large, BOARD, **SAY)
    assert hub.files(BOARD)["large.npz"] == large["large.npz"]


def test_a_commit_whose_answer_is_lost_is_not_made_twice(hub, waited):
    hub.fail("commit", lost=True, times=1)
    with pytest.raises(HubUnavailableError, match=r"may or may not have been made: run again"):
        upload(FILES, BOARD, **SAY)
    again = upload(FILES, BOARD, **SAY)
    assert (again.commit, again.new) == (hub.commits(BOARD)[0].oid, False)
    assert len(hub.commits(BOARD)) == 3


def test_a_pull_request_whose_answer_is_lost_is_not_opened_twice(hub, waited):
    hub.fail("commit", lost=True, times=1)
    with pytest.raises(HubUnavailableError, match=r"may or may not have been made: run again"):
        upload(FILES, BOARD, pull_request=True, **SAY)
    again = upload(FILES, BOARD, pull_request=True, **SAY)
    assert (again.pull_request, again.new) == (1, False)
    assert len(hub.pull_requests(BOARD)) == 1


def test_too_many_requests(hub, waited):
    """Where the client tries again by itself it waits as it is told; where it does not, we say how long to wait."""
    hub.fail("commit", loopback.TOO_MANY)
    with pytest.raises(HubUnavailableError, match=r"too many requests: try again in 7 seconds"):
        upload(FILES, BOARD, **SAY)
    assert waited == []
    hub.heal()
    hub.fail("lfs-batch", loopback.TOO_MANY, times=2)
    assert upload(FILES, BOARD, **SAY).new
    assert waited == [8.0, 8.0]


def test_the_wait_that_the_real_hub_tells(hub, waited):
    """A header of the draft "RateLimit header fields for HTTP", as huggingface_hub reads it."""
    hub.fail("commit", (429, {"RateLimit": '"api";r=0;t=55', "RateLimit-Policy": '"fixed window";"api";q=500;w=300'}))
    with pytest.raises(HubUnavailableError, match=r"try again in 55 seconds"):
        upload(FILES, BOARD, **SAY)


@pytest.mark.parametrize("pull_request", [False, True])
@pytest.mark.parametrize(
    ("token", "words"),
    [
        (None, ["only with a token", "HF_TOKEN", "hf auth login", "/settings/tokens"]),
        ("hf_expired12345", ["refuses the token", "a token was sent"]),
        (READER, ["forbids writing to hf://datasets/org/board", "has no right to do this", "a token was sent"]),
    ],
    ids=["none", "wrong", "reader"],
)
def test_tokens_that_do_not_do(hub, monkeypatch, tmp_path, token, words, pull_request):
    connect(monkeypatch, hub, tmp_path / "hf", token)
    with pytest.raises(InputError) as caught:
        upload(FILES, BOARD, pull_request=pull_request, **SAY)
    for word in words:
        assert word in str(caught.value)
    assert ("open a pull request instead" in str(caught.value)) == (token == READER and not pull_request)
    assert sent(hub) == []
    assert len(hub.commits(BOARD)) == 2


@pytest.mark.parametrize("token", ["hf_ab cd", "hf_abc\x01d", "hf_abcé", "hf_ab\tcd"])
def test_tokens_that_cannot_be_sent(hub, monkeypatch, tmp_path, token):
    connect(monkeypatch, hub, tmp_path / "hf", token)
    with pytest.raises(InputError, match="copy it again") as caught:
        upload(FILES, BOARD, **SAY)
    assert token[3:] not in str(caught.value)
    assert hub.requests == []


@pytest.mark.parametrize("name", ["large.npz", "small.json"])
def test_a_file_that_vanishes_meanwhile(hub, waited, tmp_path, name):
    file = tmp_path / name
    file.write_bytes(b"soon gone")
    with pytest.raises(InputError, match=rf"cannot read '{file}' \(No such file or directory\)"):
        upload({name: file}, BOARD, progress=lambda *_: file.unlink(missing_ok=True), **SAY)
    assert len(hub.commits(BOARD)) == 2


def test_a_branch_that_moved(hub, waited):
    hub.fail("commit", (412, {"X-Error-Message": "A commit has happened since. Please refresh and try again."}))
    with pytest.raises(HubUnavailableError, match=r"changed while it was written to \(A commit has happened since"):
        upload(FILES, BOARD, **SAY)


def test_without_a_network(monkeypatch, tmp_path):
    nowhere = Hub()
    nowhere.url = "http://me:geheim@127.0.0.1:9"
    connect(monkeypatch, nowhere, tmp_path / "hf", OWNER)
    with pytest.raises(HubUnavailableError, match=r"gives no answer .* connect, and run again") as caught:
        upload(FILES, BOARD, **SAY)
    assert "geheim" not in str(caught.value)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubUnavailableError, match="unset HF_HUB_OFFLINE"):
        upload(FILES, BOARD, **SAY)
