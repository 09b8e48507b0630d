"""The spec: what is drawn, from whom, and the same everywhere."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from ioi_bench.errors import InputError, UnknownNameError
from ioi_bench.task import IOI_V1, IOI_V1_MINI, SPLITS, task_spec

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "specs.json").read_text())


@pytest.mark.parametrize("spec", [IOI_V1, IOI_V1_MINI], ids=lambda spec: spec.name)
def test_spec_hash_is_locked(spec):
    assert spec.sha256 == GOLDEN[spec.name], "the prompts changed: that is a new spec version, not an edit"


@pytest.mark.parametrize("hash_seed", ["1", "777"])
def test_hash_seed_changes_nothing(hash_seed):
    code = "from ioi_bench.task import IOI_V1_MINI; print(IOI_V1_MINI.sha256)"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == GOLDEN["ioi-v1-mini"]


def test_word_lists_are_large_enough_and_distinct():
    for words, least in ((IOI_V1.names, 200), (IOI_V1.objects, 100), (IOI_V1.places, 60)):
        assert len(set(words)) == len(words) >= least


def test_names_are_cut_into_half_quarter_quarter():
    parts = (IOI_V1.base_names, IOI_V1.io_target_names, IOI_V1.s_target_names)
    assert [len(part) for part in parts] == [108, 54, 54]
    assert set().union(*parts) == set(IOI_V1.names)


@pytest.mark.parametrize("name", SPLITS)
def test_every_split_is_half_abb(name):
    split = IOI_V1_MINI.split(name)
    assert len(split) == (20_000 if name.endswith("train") else 5_000)
    assert Counter(p.pattern for p in split.prompts) == {"ABB": len(split) // 2, "BAB": len(split) // 2}


@pytest.mark.parametrize("name", ["validation", "test"])
def test_evaluation_splits_use_base_names_and_target_parts(name):
    split = IOI_V1.split(name)
    assert {n for p in split.prompts for n in (p.io, p.s)} <= set(IOI_V1.base_names)
    assert set(split.io_targets) <= set(IOI_V1.io_target_names)
    assert set(split.s_targets) <= set(IOI_V1.s_target_names)


def test_train_shows_every_name_in_both_parts():
    prompts = IOI_V1.split("train").prompts
    assert {p.io for p in prompts} == {p.s for p in prompts} == set(IOI_V1.names)


def test_no_prompt_is_in_two_splits():
    seen = [prompt for name in ("train", "validation", "test") for prompt in IOI_V1.split(name).prompts]
    assert len(set(seen)) == len(seen)


def test_held_out_template_and_names_are_absent_from_its_train_split():
    train, test = IOI_V1.split("held-out-train").prompts, IOI_V1.split("held-out-test").prompts
    assert not {p.template for p in train} & {p.template for p in test}
    assert not {n for p in train for n in (p.io, p.s)} & {n for p in test for n in (p.io, p.s)}


def test_unknown_names_are_refused_with_a_hint():
    with pytest.raises(UnknownNameError, match="did you mean 'ioi-v1'"):
        task_spec("ioi-v2")
    with pytest.raises(UnknownNameError, match="did you mean 'test'"):
        IOI_V1.split("tests")
    with pytest.raises(InputError, match="1 to 5000"):
        IOI_V1.split("test").head(5001)


def test_drawn_splits_are_new_prompts_of_the_same_kind():
    spec = IOI_V1_MINI
    public = {prompt for name in ("train", "validation", "test") for prompt in spec.split(name).prompts}
    one, other = spec.split("drawn:1"), spec.split("drawn:2")
    assert one.prompts != other.prompts
    assert one == spec.split("drawn:1")
    for split in (one, other):
        assert len(set(split.prompts)) == len(split) == 5_000
        assert not public & set(split.prompts)
        assert sum(prompt.pattern == "ABB" for prompt in split.prompts) == 2_500
        assert {name for prompt in split.prompts for name in (prompt.io, prompt.s)} <= set(spec.base_names)
        assert set(split.io_targets) <= set(spec.io_target_names)
        assert set(split.s_targets) <= set(spec.s_target_names)
    with pytest.raises(InputError, match="no key"):
        spec.split("drawn:")
