"""A season's prompts: what they are drawn from, and that nobody has seen them."""

import hashlib
from collections import Counter

import pytest

from ioi_bench.errors import InputError
from ioi_bench.task import IOI_V1, IOI_V1_MINI
from ioi_bench.task.season import GENERATOR, season_split, season_words

KEY = hashlib.sha256(b"a key").hexdigest()
OTHER = hashlib.sha256(b"another").hexdigest()
EDITS = (("io",), ("s",), ("pos",), ("pos", "s"), ("io", "pos", "s"))


@pytest.fixture(scope="module", params=[IOI_V1, IOI_V1_MINI], ids=lambda spec: spec.name)
def spec(request):
    return request.param


@pytest.fixture(scope="module")
def split(spec):
    return season_split(spec, "season:some", KEY, 5_000)


def test_the_generator_is_locked():
    found = season_split(IOI_V1_MINI, "season:some", KEY, 5_000).sha256, season_split(IOI_V1, "x", KEY, 5_000).sha256
    assert (GENERATOR, *(one[:16] for one in found)) == ("season-prompts-1", "18f5334036a2a7ff", "9de4683836b3504f"), (
        "other prompts are drawn: raise GENERATOR, or no season of the past can be verified"
    )


def test_names_are_cut_into_parts_of_their_own(spec):
    words, others = season_words(spec, KEY), season_words(spec, OTHER)
    parts = (words.base, words.io_targets, words.s_targets)
    assert [len(part) for part in parts] == [108, 54, 54]
    assert set().union(*parts) == set(spec.names)
    for mine, yours in ((words.base, others.base), (words.base, spec.base_names), (words.places, others.places)):
        assert set(mine) != set(yours)
    assert set(words.places) < set(spec.places)
    assert set(words.objects) < set(spec.objects)
    assert (len(words.places), len(words.objects)) == (len(spec.places) // 2, len(spec.objects) // 2)


def test_prompts_use_their_parts_of_the_words_and_every_template(spec, split):
    words = season_words(spec, KEY)
    assert {name for p in split.prompts for name in (p.io, p.s)} == set(words.base)
    assert set(split.io_targets) == set(words.io_targets)
    assert set(split.s_targets) == set(words.s_targets)
    assert {p.place for p in split.prompts} - {""} == set(words.places)
    assert {p.object for p in split.prompts} - {""} == set(words.objects)
    assert all((p.template == 0) == (p.place == p.object == "") for p in split.prompts)
    assert Counter(p.pattern for p in split.prompts) == {"ABB": 2_500, "BAB": 2_500}
    expected = len(split) / len(spec.templates)
    assert all(abs(n - expected) < 5 * expected**0.5 for n in Counter(p.template for p in split.prompts).values())


def test_no_prompt_or_counterfactual_is_public_or_there_twice(spec, split):
    public = {p for name in ("train", "validation", "test") for p in spec.split(name).prompts}
    assert len(set(split.prompts)) == len(split)
    assert not public & set(split.prompts)
    for edit in EDITS:
        changed = split.counterfactual(edit)
        assert not public & set(changed), edit
        assert all(a != b for a, b in zip(split.prompts, changed, strict=True))


def test_fewer_are_the_first_of_more(spec, split):
    assert season_split(spec, "season:some", KEY, 37) == split.head(37)


def test_another_key_gives_other_prompts(spec, split):
    other = season_split(spec, "season:some", OTHER, 5_000)
    assert len(set(split.prompts) & set(other.prompts)) < 0.05 * len(split)
    assert split.sha256 != other.sha256


@pytest.mark.parametrize("n", [0, 5_001])
def test_there_is_a_least_and_a_most(n):
    with pytest.raises(InputError, match=f"{n} prompts were asked for"):
        season_split(IOI_V1, "season:some", KEY, n)


def test_the_hash_of_a_split_is_over_prompts_patterns_and_targets(split):
    text = "".join(
        f"{split.spec.text(p)}\t{p.pattern}\t{io}\t{s}\n"
        for p, io, s in zip(split.prompts, split.io_targets, split.s_targets, strict=True)
    )
    assert split.sha256 == hashlib.sha256(text.encode()).hexdigest()
