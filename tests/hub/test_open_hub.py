"""`open_hub` with the Hub's own client: what is fetched, pinned and kept, and what is said when it fails."""

from __future__ import annotations

import json
from pathlib import Path

import loopback
import pytest
from loopback import serve

from ioi_bench.dictionaries.suite import load_suite

FOLDER = "hf://org/repo/saes/layer_8"
WEIGHTS = "sae_weights.safetensors"


def cached(home):
    """Names of the files in the cache of the repository, by commit."""
    snapshots = home / "hub" / "models--org--repo" / "snapshots"
    return {
        commit.name: sorted(path.relative_to(commit).as_posix() for path in commit.rglob("*.*"))
        for commit in snapshots.iterdir()
    }


# On olah: a real mirror, on a real git repository


def test_a_branch_is_pinned_to_its_commit_and_only_the_folder_is_fetched(run, mirror, tmp_path):
    (source,) = run(mirror.url, FOLDER)
    assert source.revision == mirror.second
    assert source.origin == f"hf://org/repo@{mirror.second}/saes/layer_8"
    assert source.files == ["cfg.json", WEIGHTS]
    assert source.sizes == {"cfg.json": 14, WEIGHTS: 256 * 1500}
    assert cached(tmp_path / "hf") == {mirror.second: ["saes/layer_8/cfg.json", f"saes/layer_8/{WEIGHTS}"]}


def test_tags_and_commits_are_revisions(run, mirror):
    by_tag, by_commit = run(mirror.url, "hf://org/repo@v1/saes/layer_8", f"hf://org/repo@{mirror.first}/saes/layer_8")
    assert by_tag.revision == by_commit.revision == mirror.first != mirror.second
    assert by_tag.sizes["cfg.json"] == 13
    assert by_tag.origin == by_commit.origin


def test_what_the_origin_says_opens_the_same(run, mirror):
    (source,) = run(mirror.url, FOLDER)
    (again,) = run(mirror.url, source.origin)
    assert (again.path, again.origin, again.files) == (source.path, source.origin, source.files)


def test_unknown_repositories_revisions_and_folders(run, mirror):
    repo, revision, folder, file = run(
        mirror.url,
        "hf://org/nope/saes",
        "hf://org/repo@maim/saes",
        "hf://org/repo/saes/layer_88",
        "hf://org/repo/saes/layer_8/cfg.jsn",
    )
    assert (repo.error, repo.exit_code) == ("InputError", 2)
    assert "'org/nope'" in repo.message
    assert "HF_TOKEN" in repo.message
    assert (revision.error, revision.exit_code) == ("UnknownNameError", 2)
    assert "did you mean 'main'" in revision.message
    assert folder.error == file.error == "UnknownNameError"
    assert "'saes/layer_8'" in folder.message
    assert "org/repo" in folder.message


# On the loopback Hub: the cache, and what goes wrong


def test_the_second_run_needs_no_server(run, hub):
    with serve(hub):
        (first,) = run(hub.url, FOLDER)
    (second,) = run(hub.url, FOLDER)
    assert (second.path, second.origin, second.revision, second.files) == (
        first.path, first.origin, first.revision, first.files,
    )  # fmt: skip
    assert "from the cache" in second.warnings[0]
    (offline,) = run(hub.url, FOLDER, HF_HUB_OFFLINE="1")
    assert offline.origin == first.origin
    pinned, other = run(hub.url, first.origin, "hf://org/repo/saes/layer_9")
    assert (pinned.files, pinned.warnings) == (first.files, [])  # a commit cannot have moved: nothing to warn of
    assert other.error == "HubUnavailableError"


def test_a_cache_that_holds_it_all_is_not_fetched_again(run, hub):
    with serve(hub):
        run(hub.url, FOLDER)
        hub.requests.clear()
        (source,) = run(hub.url, FOLDER)
    assert hub.fetched() == []
    assert source.progress == []


def test_without_server_and_without_cache(run):
    (result,) = run("http://127.0.0.1:9", FOLDER)
    assert (result.error, result.exit_code) == ("HubUnavailableError", 1)
    for word in ("http://127.0.0.1:9", "HF_ENDPOINT", "HF_HOME", FOLDER):
        assert word in result.message


def test_half_a_folder_in_the_cache_is_not_taken_for_a_whole_one(run, hub, tmp_path):
    with serve(hub):
        run(hub.url, FOLDER)
    next((tmp_path / "hf").rglob(WEIGHTS)).unlink()
    (result,) = run(hub.url, FOLDER)
    assert result.error == "HubUnavailableError"
    assert "not whole" in result.message


def test_progress_says_the_size_and_ends_at_the_total(run, hub):
    with serve(hub):
        (source,) = run(hub.url, FOLDER)
    what, done, total = source.progress[0]
    assert "2 files, 0.4 MB" in what
    assert FOLDER in what
    assert done == 0
    assert source.progress[-1] == [what, total, total]
    assert all(0 <= done <= total for _, done, total in source.progress)
    assert "%" not in source.stderr  # the client's own bars are off


def test_only_what_loaders_read_is_fetched(run, hub):
    with serve(hub):
        run(hub.url, FOLDER)
        assert hub.fetched() == ["saes/layer_8/cfg.json", f"saes/layer_8/{WEIGHTS}"]


def test_a_file_comes_with_the_json_that_continues_its_name(run, hub):
    with serve(hub):
        (source,) = run(hub.url, "hf://org/repo/heads/L1_v5.pt")
        assert hub.fetched() == ["heads/L1_v5.pt", "heads/L1_v5_cfg.json"]
    assert source.files == ["L1_v5.pt", "L1_v5_cfg.json"]
    assert source.origin == f"hf://org/repo@{hub.find('org/repo').head}/heads/L1_v5.pt"


def test_a_suite_on_the_hub_is_the_suite_on_the_disk(run, hub):
    folder = Path(__file__).parents[2] / "reference_saes" / "ioi-mini" / "topk-k3-s0"
    hub.find("org/repo").write({f"topk/{path.name}": path.read_bytes() for path in folder.iterdir()})
    with serve(hub):
        (source,) = run(hub.url, "hf://org/repo/topk")
    assert load_suite(source.path).sha256 == load_suite(folder).sha256


def test_names_as_the_public_releases_have_them(run, hub):
    new = {"group_24576:v1/cfg.json": b"{}", "L0_l11.80e+00_v9.pt": b"w", "L0_l11.80e+00_v9_cfg.json": b"{}"}
    hub.find("org/repo").write(new)
    with serve(hub):
        folder, file = run(hub.url, "hf://org/repo/group_24576:v1", "hf://org/repo/L0_l11.80e+00_v9.pt")
    assert folder.files == ["cfg.json"]
    assert file.files == ["L0_l11.80e+00_v9.pt", "L0_l11.80e+00_v9_cfg.json"]
    assert file.origin == f"hf://org/repo@{hub.find('org/repo').head}/L0_l11.80e+00_v9.pt"


def test_a_file_alone_is_given_as_a_local_one_is(run, hub):
    with serve(hub):
        (source,) = run(hub.url, "hf://org/repo/saes/layer_9/" + WEIGHTS)
    assert Path(source.path).read_bytes() == hub.files("org/repo")["saes/layer_9/" + WEIGHTS]
    assert source.files == [WEIGHTS]


def test_a_source_shows_only_what_was_asked_for(run, hub):
    with serve(hub):
        run(hub.url, "hf://org/repo/heads")
        (source,) = run(hub.url, "hf://org/repo/heads/L11_v5.pt")
    assert source.files == ["L11_v5.pt", "L11_v5_cfg.json"]


def test_a_broken_download_goes_on_where_it_stopped(run, hub):
    data = bytes(range(256)) * 6 * 2**14  # the client keeps pieces of 10 MB
    hub.find("org/repo").write({"large/w.npz": data})
    hub.fail("lfs-get", cut=len(data) // 2, times=1)
    with serve(hub):
        (source,) = run(hub.url, "hf://org/repo/large")
    (asked,) = hub.ranges()
    assert 0 < int(asked.removeprefix("bytes=").removesuffix("-")) <= len(data) // 2
    assert (Path(source.path) / "w.npz").read_bytes() == data


def test_after_an_interruption_whole_files_are_kept(run, hub):
    hub.fail("resolve", loopback.NOT_NOW)
    with serve(hub):
        (broken,) = run(hub.url, FOLDER)
        assert (broken.error, broken.exit_code) == ("HubUnavailableError", 1)
        assert "run again" in broken.message
        hub.heal()
        run(hub.url, "hf://org/repo/saes/layer_8/cfg.json")
        hub.requests.clear()
        run(hub.url, FOLDER)
        assert hub.fetched() == [f"saes/layer_8/{WEIGHTS}"]


TOKEN = "hf_" + "secret" * 6


@pytest.mark.parametrize(
    ("refusal", "error", "words"),
    [
        (loopback.GATED, "AccessError", ("gated", "/org/repo", "a token was sent")),
        (loopback.GATED_TO_NOBODY, "AccessError", ("gated", "/org/repo")),
        (loopback.BAD_TOKEN, "AccessError", ("refuses the token", "HF_TOKEN")),
        (loopback.FORBIDDEN, "AccessError", ("forbids", "rights")),
        (loopback.TOO_MANY, "HubUnavailableError", ("too many requests", "7 seconds")),
        (loopback.OUT_OF_ORDER, "HubUnavailableError", ("out of order", "503")),
    ],
    ids=["gated", "gated-to-nobody", "bad-token", "forbidden", "too-many", "out-of-order"],
)
def test_refusals_are_explained_and_the_token_is_not_told(run, hub, refusal, error, words):
    hub.fail(None, refusal)
    with serve(hub):
        (result,) = run(hub.url, FOLDER, HF_TOKEN=TOKEN)
    assert result.error == error
    for word in words:
        assert word in result.message
    assert {request.token for request in hub.requests if "org/repo" in request.path} == {TOKEN}
    assert TOKEN not in result.message + result.stderr


def test_gated_files_behind_a_public_listing(run, hub):
    hub.fail("resolve", loopback.GATED)
    with serve(hub):
        (result,) = run(hub.url, FOLDER)
    assert result.error == "AccessError"
    assert "gated" in result.message
    assert "none was sent" in result.message


def test_a_busy_hub_is_replaced_by_the_cache_and_a_closed_one_is_not(run, hub):
    with serve(hub):
        run(hub.url, FOLDER)
        hub.fail(None, loopback.TOO_MANY)
        (busy,) = run(hub.url, FOLDER)
        hub.heal()
        hub.fail(None, loopback.GATED)
        (closed,) = run(hub.url, FOLDER)
    assert busy.revision == hub.find("org/repo").head
    assert closed.error == "AccessError"


def test_sizes_are_checked_before_the_download(run, hub):
    name = f"saes/layer_8/{WEIGHTS}"
    hub.find("org/repo").claimed[name] = 8 * 2**30 + 1
    with serve(hub):
        (large,) = run(hub.url, FOLDER)
        hub.find("org/repo").claimed = dict.fromkeys(hub.files("org/repo"), 8 * 2**30)
        (many,) = run(hub.url, "hf://org/repo")
        assert hub.fetched() == []
    assert large.error == many.error == "SuiteError"
    assert name in large.message
    assert "name a folder" in many.message


def test_a_password_in_the_endpoint_is_not_told(run):
    (result,) = run("http://me:geheim@127.0.0.1:9", FOLDER)
    assert result.error == "HubUnavailableError"
    assert "geheim" not in json.dumps(vars(result))


def test_a_cache_that_cannot_be_written(run, hub, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with serve(hub):
        (result,) = run(hub.url, FOLDER, home=blocked)
    assert result.error == "StorageError"
    assert str(blocked) in result.message
