"""What the loopback Hub does wrong if told to, and what the Hub's own client makes of it."""

from __future__ import annotations

import time
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import CommitOperationAdd as Add
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError
from loopback import BROKEN, OUT_OF_ORDER, TOO_MANY

# huggingface_hub 2.4 sends files in a way that its HTTP library means to give up
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")

LARGE = bytes(range(256)) * 6 * 2**14  # the client keeps pieces of 10 MB


def test_a_download_cut_short_goes_on_where_it_stopped(hub, waited):
    hub.find("org/repo").write({"w.npz": LARGE})
    hub.fail("lfs-get", cut=len(LARGE) // 2, times=1)
    assert Path(hf_hub_download("org/repo", "w.npz")).read_bytes() == LARGE
    (asked,) = hub.ranges()
    assert 0 < int(asked.removeprefix("bytes=").removesuffix("-")) <= len(LARGE) // 2


def test_an_upload_cut_short_is_sent_again_whole(hub, owner, waited):
    hub.fail("lfs-put", cut=1000, times=1)
    owner.create_commit("org/repo", [Add("w.bin", LARGE)], commit_message="m")
    assert [one.size for one in hub.asked("lfs-put")] == [len(LARGE)] * 2
    assert hub.files("org/repo")["w.bin"] == LARGE
    assert len(waited) == 1


def test_an_answer_that_is_lost_does_not_undo(hub, owner):
    hub.fail("commit", lost=True, times=1)
    with pytest.raises(httpx2.TransportError):
        owner.create_commit("org/repo", [Add("n", b"1")], commit_message="m")
    assert hub.files("org/repo")["n"] == b"1"


def test_the_third_call_alone(hub, api):
    hub.fail("info", OUT_OF_ORDER, after=2, times=1)
    api.model_info("org/repo")
    api.model_info("org/repo")
    with pytest.raises(HfHubHTTPError):
        api.model_info("org/repo")
    api.model_info("org/repo")
    hub.fail("info", BROKEN)
    for _ in range(2):
        with pytest.raises(HfHubHTTPError):
            api.model_info("org/repo")
    hub.heal()
    api.model_info("org/repo")


def test_only_the_endpoint_named_fails(hub, api):
    hub.fail("tree", BROKEN)
    api.model_info("org/repo")
    with pytest.raises(HfHubHTTPError):
        list(api.list_repo_tree("org/repo"))
    hub.fail(None, TOO_MANY)
    with pytest.raises(HfHubHTTPError):
        api.model_info("org/repo")


def test_the_client_waits_as_long_as_it_is_told(hub, owner, waited):
    hub.fail("preupload", TOO_MANY, times=2)
    owner.create_commit("org/repo", [Add("n", b"1")], commit_message="m")
    assert waited == [8.0, 8.0]  # Retry-After is 7, and the client adds one


def test_a_slow_answer(hub, api):
    hub.fail("info", seconds=0.3)
    begin = time.monotonic()
    api.model_info("org/repo")
    assert time.monotonic() - begin >= 0.3
    with pytest.raises(httpx2.TimeoutException):
        api.model_info("org/repo", timeout=0.05)


def test_nobody_answers_afterwards(monkeypatch, tmp_path):
    from loopback import Hub, connect, serve

    hub = Hub()
    hub.repository("org/repo")
    with serve(hub):
        connect(monkeypatch, hub, tmp_path)
    from huggingface_hub import HfApi

    with pytest.raises(httpx2.ConnectError):
        HfApi(endpoint=hub.url, token=False).model_info("org/repo")
