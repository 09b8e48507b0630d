"""The manifest is read without trusting it, and written as it was read."""

from __future__ import annotations

import json

import pytest
from reference_examples import content, record

from ioi_bench.errors import InputError, StorageError, UnknownNameError
from ioi_bench.reference import bundled_folder, bundled_manifest
from ioi_bench.reference.manifest import Manifest


def written(tmp_path, **changes):
    path = tmp_path / "manifest.json"
    suites = {"topk-s0": record("topk-s0", content("topk-s0"), **changes)}
    path.write_text(json.dumps({"schema_version": 2, "suites": suites}))
    return path


def test_the_bundled_manifest_is_written_as_it_is(tmp_path):
    """Byte for byte: no figure is rounded, nothing is added."""
    bundled_manifest().write(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (bundled_folder() / "manifest.json").read_bytes()


def test_an_unknown_suite_has_near_misses(tmp_path):
    with pytest.raises(UnknownNameError, match="topk-s0"):
        Manifest.read(written(tmp_path)).suite("topk-s1")


@pytest.mark.parametrize("path", ["../topk", "/etc", "mini/..", "mini//topk", "", "mini\\topk", "mini/.hidden", "C:/x"])
def test_a_path_that_leaves_the_folder_is_refused(tmp_path, path):
    with pytest.raises(InputError, match=r"suites\.topk-s0\.path"):
        Manifest.read(written(tmp_path, path=path))


@pytest.mark.parametrize("name", ["../weights", "a/b", "", ".gitattributes"])
def test_a_file_is_a_plain_name(tmp_path, name):
    with pytest.raises(InputError, match=r"topk-s0\.files"):
        Manifest.read(written(tmp_path, files={name: "0" * 64}))


@pytest.mark.parametrize(
    "changes",
    [
        {"files": {}},
        {"files": {"suite.json": "0" * 63}},
        {"scores": {}},
        {"prompts": 0},
        {"suite_sha256": "x" * 64},
        {"more": 1},
    ],
)
def test_what_cannot_be_checked_against_is_refused(tmp_path, changes):
    with pytest.raises(InputError, match="no manifest that this version"):
        Manifest.read(written(tmp_path, **changes))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema_version": 3, "suites": {}}', '{"suites": {"../x": {}}}'])
def test_another_file_is_no_manifest(tmp_path, text):
    path = tmp_path / "manifest.json"
    path.write_text(text)
    with pytest.raises(InputError, match="no manifest that this version"):
        Manifest.read(path, "hf://org/saes@main/manifest.json")


def test_a_huge_file_is_not_read(tmp_path):
    path = tmp_path / "manifest.json"
    with path.open("wb") as file:
        file.truncate(17 << 20)
    with pytest.raises(InputError, match="17,825,792 bytes"):
        Manifest.read(path)


def test_a_missing_one_is_said(tmp_path):
    with pytest.raises(StorageError, match=r"manifest\.json"):
        Manifest.read(tmp_path / "manifest.json")
