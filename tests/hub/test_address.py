"""Addresses on the Hub: read, printed, refused."""

from __future__ import annotations

import pytest
from huggingface_hub import HfFileSystem
from hypothesis import given
from hypothesis import strategies as st

from ioi_bench.errors import InputError
from ioi_bench.hub import HubAddress

NAMES = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9_]{0,8}[A-Za-z0-9])?", fullmatch=True)
REVISIONS = st.none() | st.sampled_from(["main", "v1.0", "refs/pr/3", "feature/new one", "a@b", "0" * 40, "100%"])
FOLDERS = st.lists(st.text("ab01.:@ _[]*%é", min_size=1, max_size=8).filter(lambda s: s not in (".", "..")), max_size=3)


@given(org=NAMES, repo=NAMES, revision=REVISIONS, folder=FOLDERS)
def test_what_is_printed_is_read_back(org, repo, revision, folder):
    address = HubAddress(f"{org}/{repo}", revision, "/".join(folder))
    assert HubAddress.parse(str(address)) == address


@pytest.mark.parametrize(
    ("text", "repo", "revision", "folder"),
    [
        ("hf://org/repo", "org/repo", None, ""),
        ("hf://org/repo/", "org/repo", None, ""),
        ("hf://org/repo@v1/a/b", "org/repo", "v1", "a/b"),
        ("hf://org/repo/a/b/", "org/repo", None, "a/b"),
        ("hf://org/repo/a@b/c", "org/repo", None, "a@b/c"),
        ("hf://org/repo@refs/pr/12/a", "org/repo", "refs/pr/12", "a"),
        ("hf://org/repo@refs%2Fpr%2F12/a", "org/repo", "refs/pr/12", "a"),
        ("hf://org/repo/x_24576:v1", "org/repo", None, "x_24576:v1"),
    ],
)
def test_it_is_read_as_the_hub_reads_it(text, repo, revision, folder, monkeypatch):
    address = HubAddress.parse(text)
    assert (address.repo, address.revision, address.folder) == (repo, revision, folder)
    filesystem = HfFileSystem()
    monkeypatch.setattr(filesystem, "_repo_and_revision_exist", lambda *_: (True, None))  # no network
    theirs = filesystem.resolve_path(text)
    assert (theirs.repo_id, theirs.path_in_repo) == (repo, folder)
    if revision is not None:
        assert theirs.revision == revision


@pytest.mark.parametrize(
    "text",
    [
        "hf://",
        "hf://org",
        "hf://org/",
        "hf:/org/repo",
        "hf://org/@main",
        "hf://org/repo@/a",
        "hf://org/repo@refs/heads",
        "hf://org/repo@..%2F..%2Fetc/a",
        "hf://org/repo/../other",
        "hf://org/repo//a",
        "hf://org/repo/a/./b",
        "hf://org/repo\\a",
        "hf://org/repo/a\nb",
        "hf://../repo",
        "hf://org/re po",
        "hf://datasets/org/repo",
        "https://huggingface.co/org/repo",
    ],
)
def test_what_is_no_address_is_refused_with_the_form(text):
    with pytest.raises(InputError, match="hf://org/repo@revision/sub/folder"):
        HubAddress.parse(text)


def test_only_a_whole_commit_is_pinned():
    address = HubAddress.parse("hf://org/repo/a")
    assert not address.pinned
    assert not address.at("abc1234").pinned
    assert address.at("a" * 40).pinned
