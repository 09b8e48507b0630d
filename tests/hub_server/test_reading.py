"""What the Hub's own client reads from the loopback Hub, endpoint by endpoint, and what it raises if refused."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import loopback
import pytest
from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile
from loopback import reading


def test_infos_and_refs(hub, api):
    head = hub.commits("org/repo")[0].oid
    assert api.model_info("org/repo").sha == api.model_info("org/repo", revision="v1").sha == head
    refs = api.list_repo_refs("org/repo", include_pull_requests=True)
    assert [(ref.name, ref.target_commit) for ref in (*refs.branches, *refs.tags)] == [("main", head), ("v1", head)]
    assert refs.pull_requests == []
    assert [commit.title for commit in api.list_repo_commits("org/repo")] == ["files", "initial commit"]


@pytest.mark.parametrize("kind", ["model", "dataset", "space"])
def test_repositories_of_all_kinds_and_of_the_same_name(hub, api, kind):
    hub.repository("org/same", kind, {"kind.txt": kind.encode()})
    hub.repository("org/same", "dataset" if kind == "model" else "model", {"kind.txt": b"other"})
    assert api.repo_info("org/same", repo_type=kind).sha == hub.commits("org/same", kind=kind)[0].oid
    path = hf_hub_download("org/same", "kind.txt", repo_type=kind)
    assert Path(path).read_bytes() == kind.encode()


def test_trees_list_files_and_folders(hub, api):
    hub.find("org/repo").write({"a/b/c.json": b"[]"})
    whole = {entry.path: entry for entry in api.list_repo_tree("org/repo", recursive=True)}
    assert sorted(whole) == [".gitattributes", "a", "a/b", "a/b/c.json", "a/x.json", "b.bin"]
    assert whole["b.bin"].lfs.sha256 == hashlib.sha256(bytes(5000)).hexdigest()
    assert whole["b.bin"].size == 5000
    assert whole["a/x.json"].lfs is None
    assert [entry.path for entry in api.list_repo_tree("org/repo", "a")] == ["a/b", "a/x.json"]
    with pytest.raises(EntryNotFoundError):
        list(api.list_repo_tree("org/repo", "nope"))


def test_the_hash_of_a_file_is_that_of_git(api, tmp_path):
    """Of the content, or of the pointer that git-lfs commits in place of a large file."""
    listed = {entry.path: entry for entry in api.get_paths_info("org/repo", ["a/x.json", "b.bin", "nope"])}
    assert sorted(listed) == ["a/x.json", "b.bin"]
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{listed['b.bin'].lfs.sha256}\nsize 5000\n"
    for name, content in (("a/x.json", b"{}"), ("b.bin", pointer.encode())):
        done = subprocess.run(["git", "hash-object", "--stdin"], input=content, capture_output=True, check=True)
        assert done.stdout.decode().strip() == listed[name].blob_id


def test_long_lists_come_in_pages(hub, api, monkeypatch):
    monkeypatch.setattr(reading, "PAGE", 3)
    hub.find("org/repo").write({f"many/{number}.json": b"{}" for number in range(8)})
    for number in range(4):
        hub.find("org/repo").write({"n": b"%d" % number})
    files = [entry.path for entry in api.list_repo_tree("org/repo", recursive=True) if isinstance(entry, RepoFile)]
    assert sorted(files) == sorted(hub.commits("org/repo")[0].files)
    assert len(hub.asked("tree")) == 5  # 12 files and 2 folders
    assert len(api.list_repo_commits("org/repo")) == 7


def test_small_files_are_there_and_large_ones_elsewhere(hub, owner):
    """As on the Hub: a link to another origin, which is not sent the token."""
    small, large = (hf_hub_download("org/repo", name, token="hf_owner0000") for name in ("a/x.json", "b.bin"))
    assert Path(small).read_bytes() == b"{}"
    assert Path(large).read_bytes() == bytes(5000)
    assert hub.fetched() == ["a/x.json", "b.bin"]
    assert {request.token for request in hub.asked("resolve")} == {"hf_owner0000"}
    assert {request.token for request in hub.asked("lfs-get")} == {None}
    found = get_hf_file_metadata(hf_hub_url("org/repo", "b.bin"))
    assert (found.size, found.etag) == (5000, hashlib.sha256(bytes(5000)).hexdigest())
    assert found.location.startswith(hub.storage)
    hub.redirects = False
    assert get_hf_file_metadata(hf_hub_url("org/repo", "b.bin")).location.startswith(hub.url)


def test_revisions_are_branches_tags_commits_and_pull_requests(hub, api, owner):
    first = hub.commits("org/repo")[0].oid
    hub.find("org/repo").write({"a/x.json": b"[]"})
    hub.find("org/repo").branch("side/branch", "v1")
    owner.create_commit("org/repo", [_add("a/x.json", b"7")], commit_message="seven", create_pr=True)
    read = {
        revision: Path(hf_hub_download("org/repo", "a/x.json", revision=revision)).read_bytes()
        for revision in ("main", "v1", first, "side/branch", "refs/pr/1")
    }
    assert read == {"main": b"[]", "v1": b"{}", first: b"{}", "side/branch": b"{}", "refs/pr/1": b"7"}


def test_snapshots(hub, api):
    folder = Path(snapshot_download("org/repo", allow_patterns=["a/*"]))
    assert folder.name == hub.commits("org/repo")[0].oid
    assert [path.name for path in folder.rglob("*.*")] == ["x.json"]


def test_private_repositories_are_shown_to_members_alone(hub, api, stranger, reader):
    hub.repository("org/secret", "dataset", {"x": b"1"}, private=True)
    for visitor in (api, stranger):
        with pytest.raises(RepositoryNotFoundError):
            visitor.dataset_info("org/secret")
    assert reader.dataset_info("org/secret").private


def test_gated_repositories_show_their_listing_and_keep_their_files(hub, api, stranger):
    gated = hub.repository("org/gated", files={"x": b"1"}, gated=True)
    assert api.model_info("org/gated").gated == "manual"
    for token, status in ((False, 401), ("hf_stranger0", 403)):
        with pytest.raises(GatedRepoError) as caught:
            hf_hub_download("org/gated", "x", token=token)
        assert caught.value.response.status_code == status
    gated.granted.add("sam")
    assert Path(hf_hub_download("org/gated", "x", token="hf_stranger0")).read_bytes() == b"1"


def test_who_one_is(owner, reader, api):
    assert owner.whoami()["name"] == "ann"
    assert [org["name"] for org in reader.whoami()["orgs"]] == ["org"]
    with pytest.raises(HfHubHTTPError, match="Invalid user token"):
        api.whoami(token="hf_nobody000")


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
        (loopback.BROKEN, HfHubHTTPError, 500),
        (loopback.OUT_OF_ORDER, HfHubHTTPError, 503),
    ],
)
def test_refusals_are_those_of_the_hub(hub, api, refusal, error, status):
    hub.fail("info", refusal)
    with pytest.raises(error) as caught:
        api.model_info("org/repo", revision="main")
    assert caught.value.response.status_code == status
    assert caught.value.request_id == "loopback-1"
    if error is HfHubHTTPError:
        assert not isinstance(caught.value, RepositoryNotFoundError)


def test_unknown_names(api):
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("org/nope")
    with pytest.raises(RepositoryNotFoundError):
        api.dataset_info("org/repo")
    with pytest.raises(RevisionNotFoundError):
        api.model_info("org/repo", revision="nope")
    with pytest.raises(EntryNotFoundError):
        hf_hub_download("org/repo", "nope.json")


def _add(name, data):
    from huggingface_hub import CommitOperationAdd

    return CommitOperationAdd(name, data)
