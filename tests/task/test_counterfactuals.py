"""Counterfactuals change what they should and nothing else."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ioi_bench.errors import UnknownNameError
from ioi_bench.sites import Role
from ioi_bench.task import IOI_V1_MINI as SPEC
from ioi_bench.task import Prompt, counterfactual

names = st.lists(st.sampled_from(SPEC.names), min_size=4, max_size=4, unique=True)
edits = st.sampled_from([("io",), ("s",), ("pos",), ("pos", "s"), ("io", "pos", "s")])


@st.composite
def cases(draw):
    io, s, io_target, s_target = draw(names)
    template = draw(st.integers(0, len(SPEC.templates) - 1))
    has = SPEC.templates[template]
    prompt = Prompt(
        template,
        draw(st.integers(0, len(SPEC.prefixes) - 1)),
        draw(st.sampled_from(["ABB", "BAB"])),
        io,
        s,
        draw(st.sampled_from(SPEC.places)) if has.has_place else "",
        draw(st.sampled_from(SPEC.objects)) if has.has_object else "",
    )
    return prompt, io_target, s_target


@given(cases(), edits)
def test_only_the_named_attributes_change(case, attributes):
    prompt, io, s = case
    changed = counterfactual(prompt, attributes, io=io, s=s)
    for attribute in ("io", "s", "pos"):
        assert (changed.value([attribute]) != prompt.value([attribute])) == (attribute in attributes)
    assert replace(changed, io=prompt.io, s=prompt.s, pattern=prompt.pattern) == prompt


@given(cases(), edits)
def test_the_text_changes_in_name_slots_alone(case, attributes):
    prompt, io, s = case
    before = SPEC.text(prompt)
    after = SPEC.text(counterfactual(prompt, attributes, io=io, s=s))
    expected = {"io": {prompt.io: io}, "s": {prompt.s: s}}
    words = {old: new for a in attributes for old, new in expected.get(a, {}).items()}
    translated = [words.get(word.strip(".,"), word.strip(".,")) for word in before.split()]
    if "pos" in attributes:
        first = next(i for i, word in enumerate(translated) if word in words.values() or word in (prompt.io, prompt.s))
        translated[first], translated[first + 2] = translated[first + 2], translated[first]
    assert [word.strip(".,") for word in after.split()] == translated


@given(cases())
def test_swapping_twice_is_the_identity(case):
    prompt, io, s = case
    once = counterfactual(prompt, ("pos",), io=io, s=s)
    assert counterfactual(once, ("pos",), io=io, s=s) == prompt


@given(cases())
def test_spans_cut_out_the_roles_words(case):
    prompt, _, _ = case
    text, spans = SPEC.text(prompt), SPEC.spans(prompt)
    word = {role: text[start:stop] for role, (start, stop) in spans.items()}
    assert (word[Role.IO], word[Role.S1], word[Role.S2], word[Role.END]) == (prompt.io, prompt.s, prompt.s, "to")
    assert spans[Role.S1][0] < spans[Role.S2][0]
    assert (spans[Role.IO] < spans[Role.S1]) == (prompt.pattern == "ABB")
    assert text[spans[Role.S1][1] + 1 :].startswith(word[Role.S1_NEXT])


def test_an_unknown_attribute_is_refused():
    prompt = SPEC.split("test").prompts[0]
    with pytest.raises(UnknownNameError, match="expected one of: io, s, pos"):
        counterfactual(prompt, ("object",), io="x", s="y")
