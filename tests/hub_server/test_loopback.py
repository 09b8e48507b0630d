"""The loopback Hub is one to the Hub's own client: each refusal raises what huggingface_hub documents for it."""

from __future__ import annotations

from pathlib import Path

import loopback
import pytest
from huggingface_hub import HfApi, constants, hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)


@pytest.fixture
def hub():
    with loopback.serve(loopback.Hub({"a/x.json": b"{}", "b.bin": bytes(5000)})) as hub:
        yield hub


@pytest.fixture
def api(hub, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    return HfApi(endpoint=hub.url, token=False)


def test_it_lists_and_serves(hub, api, tmp_path):
    assert api.model_info("org/repo", revision="main").sha == loopback.COMMIT
    tree = api.list_repo_tree("org/repo", recursive=True, revision=loopback.COMMIT)
    assert {entry.path: entry.size for entry in tree} == {"a/x.json": 2, "b.bin": 5000}
    assert [ref.name for ref in api.list_repo_refs("org/repo").tags] == ["v1"]
    path = hf_hub_download("org/repo", "b.bin", endpoint=hub.url, cache_dir=tmp_path, token=False)
    assert Path(path).read_bytes() == bytes(5000)
    assert hub.fetched() == ["b.bin"]


@pytest.mark.parametrize(
    ("refusal", "error", "status"),
    [
        (loopback.GATED, GatedRepoError, 403),
        (loopback.GATED_TO_NOBODY, GatedRepoError, 401),
        (loopback.NO_REPOSITORY, RepositoryNotFoundError, 401),
        (loopback.NO_REVISION, RevisionNotFoundError, 404),
        (loopback.NO_ENTRY, EntryNotFoundError, 404),
        (loopback.BAD_TOKEN, HfHubHTTPError, 401),
        (loopback.FORBIDDEN, HfHubHTTPError, 403),
        (loopback.TOO_MANY, HfHubHTTPError, 429),
        (loopback.OUT_OF_ORDER, HfHubHTTPError, 503),
    ],
)
def test_refusals_are_those_of_the_hub(hub, api, refusal, error, status):
    hub.refusal = refusal
    with pytest.raises(error) as caught:
        api.model_info("org/repo", revision="main")
    assert caught.value.response.status_code == status
    if error is HfHubHTTPError:
        assert not isinstance(caught.value, RepositoryNotFoundError)


def test_unknown_names_and_the_port_afterwards(hub, api, tmp_path):
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("org/nope")
    with pytest.raises(RevisionNotFoundError):
        api.model_info("org/repo", revision="nope")
    with pytest.raises(EntryNotFoundError):
        hf_hub_download("org/repo", "nope.json", endpoint=hub.url, cache_dir=tmp_path, token=False)
