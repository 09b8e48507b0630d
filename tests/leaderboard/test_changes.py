"""What a pull request may do: add whole submissions."""

from __future__ import annotations

import pytest

from ioi_bench.errors import InputError
from ioi_bench.leaderboard.changes import changes, listing, require_plain

OLD = "results/gpt2/a__b/00"
NEW = "results/gpt2/a__b/11"
FILES = ("card.json", "prompts.parquet", "submission.toml")
BASE = {f"{OLD}/{name}": "1" for name in FILES} | {f"{OLD}/verdict.json": "1", "README.md": "1", "plugins.toml": "1"}


def added(folder=NEW, *more):
    return {f"{folder}/{name}": "2" for name in (*FILES, *more)}


@pytest.mark.parametrize("folder", [NEW, "results/ioi-mini/c__d/22", "results/gpt2/blocks.8.hook_resid_pre/a__b/33"])
def test_a_whole_submission_is_added(folder):
    found = changes(BASE, BASE | added(folder))
    assert ([path.as_posix() for path in found.added], found.faults) == ([folder], ())


@pytest.mark.parametrize(
    ("new", "gone", "says"),
    [
        ({}, f"{OLD}/card.json", "deletes"),
        ({f"{OLD}/card.json": "2"}, None, "changes"),
        ({f"{OLD}/verdict.json": "2"}, None, "changes"),
        ({"README.md": "2"}, None, "changes"),
        ({".github/workflows/verify.yml": "2"}, None, "no part of a submission"),
        ({f"{OLD}/card.png": "2"}, None, "no part of a submission"),
        (added(NEW, "verdict.json"), None, "no part of a submission"),
        ({"results/card.json": "2"}, None, "no part of a submission"),
        ({"seasons/2027-spring/commitment.json": "2"}, None, "no part of a submission"),
        ({"elsewhere/gpt2/a__b/11/card.json": "2"}, None, "no part of a submission"),
        (added("results/gpt2/x/y/a__b/11"), None, "no part of a submission"),
        (added() | {f"{NEW}/card.json": "a link"}, None, "which is a link"),
        ({f"{NEW}/card.json": "2", f"{NEW}/submission.toml": "2"}, None, "without prompts.parquet"),
    ],
)
def test_everything_else_is_a_fault(new, gone, says):
    found = changes(BASE, {name: value for name, value in (BASE | new).items() if name != gone})
    assert says in " ".join(found.faults)


@pytest.mark.parametrize(
    ("name", "spelling"),
    [("A__b", "a/b"), ("A__c", "a/c"), ("a__B", "a/b"), ("a__c", None), ("a-b__b", None), ("c__b", None)],
)
def test_capitals_make_no_other_name(name, spelling):
    """On any track, and by what the leaderboard has now: where a pull request begins is its author's choice."""
    new = added(f"results/ioi-mini/{name}/11")
    for found in (changes(BASE, BASE | new), changes({}, new, BASE)):
        assert [spelling in fault for fault in found.faults] == ([] if spelling is None else [True])


def test_a_file_is_not_slipped_into_a_submission_that_lacks_it():
    base = {name: value for name, value in BASE.items() if not name.endswith("prompts.parquet")}
    assert "to a submission that is there already" in changes(base, BASE).faults[0]


def test_a_listing_tells_content_apart_and_follows_no_link(tmp_path):
    for name, text in (("a/one", "1"), ("a/two", "2"), ("b/one", "1"), (".git/config", "secret")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "file").symlink_to(tmp_path / "a" / "one")
    (tmp_path / "folder").symlink_to(tmp_path / "a")
    found = listing(tmp_path)
    assert list(found) == ["a/one", "a/two", "b/one", "file", "folder"]
    assert found["a/one"] == found["b/one"] != found["a/two"]
    assert found["file"] == found["folder"] == "a link"
    with pytest.raises(InputError, match="no folder"):
        listing(tmp_path / "none")


def test_links_above_results_are_its_owners_affair(tmp_path):
    folder = tmp_path / "real" / "results" / "gpt2" / "a__b" / "00"
    folder.mkdir(parents=True)
    (tmp_path / "board").symlink_to(tmp_path / "real")
    require_plain(tmp_path / "board" / folder.relative_to(tmp_path / "real"))
    (folder.parents[1] / "c__d").symlink_to(folder.parent)
    with pytest.raises(InputError, match="is a link"):
        require_plain(folder.parents[1] / "c__d" / "00")
