"""Which files of a repository are fetched."""

from __future__ import annotations

import pytest
from huggingface_hub.utils import filter_repo_objects

from ioi_bench.dictionaries.source import Source
from ioi_bench.errors import SuiteError, UnknownNameError
from ioi_bench.hub import HubAddress
from ioi_bench.hub.selection import patterns, select

NAMES = [
    "a/cfg.json",
    "a/w.safetensors",
    "a/b/ae.pt",
    "ab/cfg.json",
    "a/optimizer.pt",
    "a/lr_scheduler.bin",
    "top.json",
]


def chosen(folder, names=NAMES):
    return select(names, HubAddress("org/repo", None, folder))


def test_a_folder_is_taken_with_what_is_below_it_and_not_with_what_begins_alike():
    assert chosen("a") == ("a", ("a/b/ae.pt", "a/cfg.json", "a/w.safetensors"))


def test_the_whole_repository_is_taken_without_states_of_training():
    assert chosen("")[1] == ("a/b/ae.pt", "a/cfg.json", "a/w.safetensors", "ab/cfg.json", "top.json")


def test_a_file_is_taken_by_name_even_if_a_folder_would_leave_it_out():
    assert chosen("a/optimizer.pt") == ("a", ("a/optimizer.pt",))


def test_layer_1_does_not_bring_layer_10():
    names = ["L1.pt", "L1_cfg.json", "L1.json", "L10.pt", "L10_cfg.json", "L1_other.pt"]
    assert chosen("L1.pt", names) == ("", ("L1.json", "L1.pt", "L1_cfg.json"))


def test_near_misses_are_folders():
    with pytest.raises(UnknownNameError, match="did you mean 'a/b'"):
        chosen("a/c")
    with pytest.raises(UnknownNameError, match=r"expected one of: x\.pt"):
        chosen("folder", ["x.pt"])


def test_patterns_match_their_names_alone():
    names = ["a[1].json", "a1.json", "a*.json", "ab.json", "a?.json"]
    for name in names:
        assert list(filter_repo_objects(names, allow_patterns=patterns([name]))) == [name]


def test_a_source_with_names_hides_what_lies_beside_them(tmp_path):
    for name in ("b.json", "a.json", "old.json"):
        (tmp_path / name).write_text("{}")
    source = Source(tmp_path, "here", names=("b.json", "a.json"))
    assert source.files == ("a.json", "b.json")
    assert source.has("a.json", "b.json")
    assert not source.has("old.json")
    assert source.json("a.json") == {}
    with pytest.raises(SuiteError, match=r"no file 'old\.json': it holds a\.json, b\.json"):
        source.json("old.json")
