"""Whatever the Hub, the cache or the disk hold: what `pull` returns is what the trusted manifest names."""

from __future__ import annotations

import pytest
from reference_examples import content, names_in, record, sha256, shelf

from ioi_bench.errors import HubUnavailableError, InputError, SuiteError, UnknownNameError
from ioi_bench.reference.hub_copy import all_names
from ioi_bench.reference.manifest import Manifest
from ioi_bench.reference.pull import pull

WEIGHTS = "mini/topk-s0/weights.safetensors"
GONE = HubUnavailableError("the Hub gives no answer")


@pytest.fixture
def published(bundle, hub, tmp_path):
    """On the Hub: the bundled suites, and ``gated-s1``, which came later."""
    names = ("topk-s0", "relu-s0", "gated-s1")
    hub.files = names_in(shelf(tmp_path / "published", {name: content(name) for name in names}))
    return hub


def run(*names, **options):
    return pull(names, repo="org/saes", **options)


def read(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_suite_is_fetched_with_nothing_else(published):
    (found,) = run("topk-s0")
    assert read(found.folder) == content("topk-s0")
    assert found.origin == f"hf://org/saes@{published.commit}/mini/topk-s0"
    assert not found.why_bundled
    assert sorted(published.fetched) == ["mini/topk-s0/suite.json", WEIGHTS]


def test_what_is_cached_is_not_fetched_again(published):
    run("topk-s0")
    published.fetched.clear()
    assert read(run("topk-s0")[0].folder) == content("topk-s0")
    assert not published.fetched


def test_a_swapped_suite_is_refused_and_not_kept(published, bundle):
    """Whoever owns the repository changes the weights, and the repository's own manifest with them."""
    swapped = content("topk-s0", "swapped")
    published.files |= {f"mini/topk-s0/{name}": data for name, data in swapped.items()}
    changed = Manifest.model_validate({"suites": {"topk-s0": record("topk-s0", swapped)}})
    changed.write(bundle.parent / "changed.json")
    published.files["manifest.json"] = (bundle.parent / "changed.json").read_bytes()
    with pytest.raises(SuiteError) as caught:
        run("topk-s0")
    expected = sha256(content("topk-s0")["weights.safetensors"])
    for said in (WEIGHTS, sha256(swapped["weights.safetensors"]), expected, "--revision", published.commit):
        assert said in str(caught.value)
    assert not (published.cache / "snapshots" / published.commit / WEIGHTS).exists()
    assert not (published.cache / "blobs" / sha256(swapped["weights.safetensors"])).exists()


def test_a_file_damaged_in_the_cache_is_fetched_again(published):
    run("topk-s0")
    published.blob(WEIGHTS).write_bytes(b"half a fi")
    published.fetched.clear()
    assert read(run("topk-s0")[0].folder) == content("topk-s0")
    assert published.fetched == [WEIGHTS]


def test_a_file_that_the_repository_lacks_is_named(published):
    del published.files[WEIGHTS]
    with pytest.raises(SuiteError, match=r"weights\.safetensors is missing"):
        run("topk-s0")


def test_the_bundled_suites_serve_where_the_hub_is_silent(published, bundle):
    published.silent = GONE
    found = run("relu-s0", "topk-s0")
    assert [one.folder for one in found] == [bundle / "mini" / "relu-s0", bundle / "mini" / "topk-s0"]
    assert all(one.origin is None and str(GONE) in one.why_bundled for one in found)


def test_a_damaged_cache_and_a_silent_hub_leave_the_bundled_suite(published, bundle):
    run("topk-s0")
    published.blob(WEIGHTS).write_bytes(b"half a fi")
    published.silent = GONE
    (found,) = run("topk-s0")
    assert found.folder == bundle / "mini" / "topk-s0"
    assert "no sound copy" in found.why_bundled
    assert published.blob(WEIGHTS).exists()  # it may be another version, which cannot be fetched again now


def test_the_cache_serves_where_the_hub_is_silent(published):
    run("topk-s0")
    published.silent = GONE
    assert run("topk-s0")[0].origin == f"hf://org/saes@{published.commit}/mini/topk-s0"


def test_a_damaged_bundled_suite_is_not_believed(published, bundle):
    published.silent = GONE
    (bundle / WEIGHTS).write_bytes(b"damaged")
    with pytest.raises(SuiteError, match="install ioi-bench again"):
        run("topk-s0")


def test_a_later_suite_is_checked_against_the_manifest_of_one_commit(published):
    """The manifest is read at the branch; files are then asked for at its commit, whatever the branch does."""
    (found,) = run("gated-s1")
    assert read(found.folder) == content("gated-s1")
    assert [revision for revision, _ in published.asked] == ["main", published.commit]
    published.files["mini/gated-s1/weights.safetensors"] = b"changed since"
    published.blob("mini/gated-s1/weights.safetensors").write_bytes(b"changed since")
    with pytest.raises(SuiteError, match="gated-s1/weights"):
        run("gated-s1")


def test_a_later_suite_is_not_bundled(published):
    published.silent = GONE
    with pytest.raises(HubUnavailableError, match="unknown bundled suite 'gated-s1'"):
        run("gated-s1")


def test_all_are_those_of_the_repository_or_the_bundled_ones(published):
    assert all_names("org/saes", "main") == ("topk-s0", "relu-s0", "gated-s1")
    published.silent, published.commit = GONE, "d" * 40
    assert all_names("org/saes", "main") == ("topk-s0", "relu-s0")


def test_an_unknown_name_has_near_misses_of_both(published):
    with pytest.raises(UnknownNameError, match="gated-s1"):
        run("gated-s2")
    with pytest.raises(UnknownNameError, match="topk-s0"):
        run("topk-s4")


def test_a_repository_that_is_not_there_is_said_with_the_bundled_copy(bundle, monkeypatch, hub):
    hub.silent = InputError("no model repository 'org/saes'")
    hub.files = {WEIGHTS: b""}
    with pytest.raises(InputError, match=r"no model repository .* is bundled too, in .*topk-s0"):
        run("topk-s0")


def test_copies_are_whole_and_are_found_again(published, tmp_path):
    out = tmp_path / "out"
    first, second = run("topk-s0", "relu-s0", out=out)
    assert first.folder == out / "topk-s0"
    assert read(second.folder) == content("relu-s0")
    assert not any(path.is_symlink() for path in out.rglob("*"))
    assert run("topk-s0", out=out)[0].folder == out / "topk-s0"
    assert sorted(path.name for path in out.iterdir()) == ["relu-s0", "topk-s0"]


def test_something_else_under_the_name_is_left_alone(published, tmp_path):
    mine = tmp_path / "out" / "topk-s0"
    mine.mkdir(parents=True)
    (mine / "suite.json").write_text("mine")
    with pytest.raises(InputError, match="exists already and is not topk-s0"):
        run("topk-s0", out=tmp_path / "out")
    assert read(mine) == {"suite.json": b"mine"}
