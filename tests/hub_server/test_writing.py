"""What the Hub's own client writes to the loopback Hub: repositories, commits, pull requests, large files."""

from __future__ import annotations

import warnings

import pytest
from huggingface_hub import CommitOperationAdd as Add
from huggingface_hub import CommitOperationDelete as Delete
from huggingface_hub.errors import BadRequestError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

# huggingface_hub 2.4 sends files in a way that its HTTP library means to give up
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")


@pytest.mark.parametrize("kind", ["model", "dataset", "space"])
def test_repositories_are_made_once(hub, owner, kind):
    sdk = "static" if kind == "space" else None
    for _ in range(2):
        url = owner.create_repo("org/new", repo_type=kind, space_sdk=sdk, exist_ok=True)
        assert (url.repo_id, url.repo_type) == ("org/new", kind)
    assert [commit.title for commit in hub.commits("org/new", kind=kind)] == ["initial commit"]
    with pytest.raises(HfHubHTTPError) as caught:
        owner.create_repo("org/new", repo_type=kind, space_sdk=sdk)
    assert caught.value.response.status_code == 409


def test_repositories_of_others_are_not_made(stranger, reader):
    for visitor, name in ((stranger, "org/new"), (reader, "org/new"), (reader, "rob/new")):
        with pytest.raises(HfHubHTTPError) as caught:
            visitor.create_repo(name, exist_ok=True)
        assert caught.value.response.status_code == 403
    assert stranger.create_repo("sam/new").repo_id == "sam/new"


def test_a_commit_adds_replaces_and_removes(hub, owner):
    large = bytes(range(256)) * 20
    operations = [Add("a/x.json", b"[1]"), Add("w.safetensors", large), Delete("b.bin"), Add("empty", b"")]
    done = owner.create_commit("org/repo", operations, commit_message="three", commit_description="things")
    assert hub.files("org/repo") == {"a/x.json": b"[1]", "w.safetensors": large, "empty": b""}
    commit = hub.commits("org/repo")[0]
    assert (commit.oid, commit.title, commit.description, commit.author) == (done.oid, "three", "things", "ann")
    assert done.commit_url == f"{hub.url}/org/repo/commit/{done.oid}"
    assert [one.path.rsplit("/", 1)[1] for one in hub.asked("lfs-put")] == [commit.files["w.safetensors"].sha256]
    assert len(hub.asked("lfs-verify")) == 1
    assert {one.token for one in hub.asked("lfs-put")} == {None}  # the address is signed


def test_what_is_there_already_is_neither_sent_nor_committed(hub, owner):
    done = owner.create_commit("org/repo", [Add("copy.bin", bytes(5000)), Add("a/x.json", b"{}")], commit_message="m")
    assert hub.asked("lfs-put") == []  # the content is there under another name
    again = owner.create_commit("org/repo", [Add("copy.bin", bytes(5000)), Add("a/x.json", b"{}")], commit_message="m")
    assert again.oid == done.oid
    assert len(hub.asked("commit")) == 1


def test_the_same_history_has_the_same_hashes(hub):
    one, other = (hub.repository(f"{org}/r", files={"x": b"1"}) for org in ("org", "new"))
    assert one.at("main").files == other.at("main").files
    assert one.commits()[-1].oid == other.commits()[-1].oid
    assert one.head != other.head  # another author


def test_a_pull_request_leaves_the_branch_alone(hub, stranger, owner):
    head = hub.commits("org/repo")[0].oid
    done = stranger.create_commit(
        "org/repo", [Add("n.bin", b"new")], commit_message="mine", commit_description="please", create_pr=True
    )
    assert (done.pr_num, done.pr_revision, done.pr_url) == (1, "refs/pr/1", f"{hub.url}/org/repo/discussions/1")
    assert hub.commits("org/repo")[0].oid == head
    assert hub.files("org/repo", "refs/pr/1")["n.bin"] == b"new"
    (request,) = hub.pull_requests("org/repo")
    assert (request.title, request.description, request.author) == ("mine", "please", "sam")
    (shown,) = owner.get_repo_discussions("org/repo", discussion_type="pull_request", discussion_status="open")
    assert (shown.num, shown.title, shown.author, shown.is_pull_request) == (1, "mine", "sam", True)
    stranger.comment_discussion("org/repo", 1, "done?")
    details = owner.get_discussion_details("org/repo", 1)
    assert [event.type for event in details.events] == ["comment", "comment", "commit"]
    assert (details.target_branch, details.status) == ("refs/heads/main", "open")
    second = stranger.create_commit("org/repo", [Add("n", b"2")], commit_message="more", revision="refs/pr/1")
    assert hub.commits("org/repo", "refs/pr/1")[0].oid == second.oid
    hub.find("org/repo").merge(1)
    assert hub.files("org/repo")["n"] == b"2"
    assert owner.get_discussion_details("org/repo", 1).status == "merged"
    assert list(owner.get_repo_discussions("org/repo", discussion_status="open")) == []


def test_discussions_come_in_pages(hub, stranger):
    for number in range(12):
        stranger.create_commit("org/repo", [Add("n", b"%d" % number)], commit_message=f"m{number}", create_pr=True)
    assert [one.num for one in stranger.get_repo_discussions("org/repo")] == list(range(12, 0, -1))
    with pytest.raises(HfHubHTTPError):
        stranger.get_discussion_details("org/repo", 13)


def test_who_may_not_write(hub, api, reader, stranger):
    for visitor, status, proposed in ((reader, 403, False), (reader, 403, True), (stranger, 403, False)):
        with pytest.raises(HfHubHTTPError) as caught:
            visitor.create_commit("org/repo", [Add("n", b"1")], commit_message="m", create_pr=proposed)
        assert caught.value.response.status_code == status
    with pytest.raises(HfHubHTTPError, match="Invalid username"):
        api.create_commit("org/repo", [Add("n", b"1")], commit_message="m")
    assert len(hub.commits("org/repo")) == 2
    assert hub.pull_requests("org/repo") == []


def test_commits_that_do_not_fit(hub, owner):
    first = hub.commits("org/repo")[-1].oid
    with pytest.raises(HfHubHTTPError) as caught:
        owner.create_commit("org/repo", [Add("n", b"1")], commit_message="m", parent_commit=first)
    assert caught.value.response.status_code == 412
    with pytest.raises(RevisionNotFoundError):
        owner.create_commit("org/repo", [Add("n", b"1")], commit_message="m", revision="nope")
    with pytest.raises(BadRequestError, match="Only a branch"):
        owner.create_commit("org/repo", [Add("n", b"1")], commit_message="m", revision=first)
    with pytest.raises(RepositoryNotFoundError):
        owner.create_commit("org/nope", [Add("n", b"1")], commit_message="m")
    assert len(hub.commits("org/repo")) == 2


def test_a_large_file_that_did_not_arrive_is_not_committed(hub, owner):
    operation = Add("w.bin", b"never sent")
    owner.preupload_lfs_files("org/repo", [operation], free_memory=False)
    hub.find("org/repo").large.clear()
    with pytest.raises(BadRequestError, match="file that does not exist"):
        owner.create_commit("org/repo", [operation], commit_message="m")
    assert len(hub.commits("org/repo")) == 2


def test_metadata_are_checked_and_ignored_files_left_out(hub, owner):
    with pytest.raises(ValueError, match="Invalid metadata"):
        owner.create_commit("org/repo", [Add("README.md", b"---\nlicense mit\n---\n")], commit_message="m")
    hub.find("org/repo").write({".gitignore": b"*.log\n"})
    files = [Add("a.log", b"1"), Add("README.md", b"---\nlicense: mit\n---\n")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        owner.create_commit("org/repo", files, commit_message="m")
    assert "a.log" not in hub.files("org/repo")
    assert "README.md" in hub.files("org/repo")
