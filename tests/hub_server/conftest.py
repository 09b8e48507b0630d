"""The Hub's own client in this process, on a loopback Hub."""

from __future__ import annotations

import pytest
from huggingface_hub import HfApi
from loopback import Hub, User, connect, serve

TOKENS = {
    "hf_owner0000": User("ann", orgs=("org",)),
    "hf_reader000": User("rob", role="read", orgs=("org",)),
    "hf_stranger0": User("sam"),
}


@pytest.fixture
def hub():
    """``org/repo``, a model repository of two files, one large, with a tag; and those who hold tokens."""
    hub = Hub()
    hub.repository("org/repo", files={"a/x.json": b"{}", "b.bin": bytes(5000)}).tag("v1")
    hub.tokens |= TOKENS
    with serve(hub):
        yield hub


@pytest.fixture
def waited(hub, monkeypatch, tmp_path):
    """The client is connected without a token; the seconds that it did not wait."""
    return connect(monkeypatch, hub, tmp_path / "hf")


@pytest.fixture
def api(hub, waited):
    return HfApi(endpoint=hub.url, token=False)


@pytest.fixture
def owner(hub, waited):
    return HfApi(endpoint=hub.url, token="hf_owner0000")


@pytest.fixture
def stranger(hub, waited):
    return HfApi(endpoint=hub.url, token="hf_stranger0")


@pytest.fixture
def reader(hub, waited):
    return HfApi(endpoint=hub.url, token="hf_reader000")
