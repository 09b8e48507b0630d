"""Single dictionaries at any hook point: which track they get, and a card for each kind of hook."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from ioi_bench.dictionaries.nulls import Linear, codebook
from ioi_bench.dictionaries.suite import Suite
from ioi_bench.errors import SuiteError
from ioi_bench.evaluation.choices import load_track
from ioi_bench.evaluation.evaluate import evaluate
from ioi_bench.evaluation.hooks import suites_by_hook, track_of
from ioi_bench.lm.circuit import hook_circuit
from ioi_bench.plugins import Plugins
from ioi_bench.plugins.records import LoadOptions
from ioi_bench.sites import ATTRIBUTES, HookPoint, Role, Site

SMALL = {"prompts": 40, "train_prompts": 400, "budgets": (1, 2), "methods": ("exchange", "universal")}


def identity(width):
    return Linear(torch.eye(width), torch.zeros(width))


def test_a_hook_at_each_role_by_each_attribute_makes_the_cells():
    circuit = hook_circuit("m", HookPoint.parse("z.1.2"), "ioi-v1-mini")
    assert [str(cell) for cell in circuit.headline] == [f"{a}@{role}" for role in Role for a in ATTRIBUTES]
    assert {site.head for site in circuit.sites} == {2}
    assert circuit.ranked is None


def test_a_suite_with_a_site_of_the_circuit_stays_on_it(tiny_circuit):
    sites = {Site.parse("z.1.0@end"): identity(8), Site.parse("resid_pre.1@end"): identity(32)}
    assert track_of(Suite("s", "tiny", sites), tiny_circuit, "tiny") is tiny_circuit


def test_one_hook_outside_the_circuit_is_its_own_track(tiny_circuit):
    suite = Suite.at_hook("s", "tiny", HookPoint.parse("resid_pre.1"), identity(32))
    assert track_of(suite, tiny_circuit, "tiny") == hook_circuit("tiny", suite.hooks[0], tiny_circuit.task)


def test_several_hooks_outside_the_circuit_are_told_to_come_one_by_one(tiny_circuit):
    hooks = [HookPoint.parse("resid_pre.1"), HookPoint.parse("mlp_out.0")]
    suite = Suite("s", "tiny", {hook.at(Role.END): identity(32) for hook in hooks})
    with pytest.raises(SuiteError, match=r"one at a time.*--hook blocks\.0\.hook_mlp_out"):
        track_of(suite, tiny_circuit, "tiny")
    parts = suites_by_hook(suite)
    assert {hook: part.hooks for hook, part in parts.items()} == {hook: (hook,) for hook in hooks}
    assert track_of(parts[hooks[0]], tiny_circuit, "tiny").track == "tiny/blocks.1.hook_resid_pre"


def test_the_hook_option_chooses_among_several(tiny_model):
    hooks = [HookPoint.parse("resid_pre.1"), HookPoint.parse("mlp_out.0")]
    suite = Suite("s", "tiny", {hook.at(role): identity(32) for hook in hooks for role in Role})
    card = evaluate(
        suite, options=LoadOptions(hook=hooks[1]), model=tiny_model, circuit=hooks[1], **{**SMALL, "prompts": 10}
    )
    assert card.made.suite == "s/blocks.0.hook_mlp_out"


def test_an_explicit_hook_overrules_the_circuit(tiny_model):
    suite = Suite("s", "ioi-mini", {Site.parse("z.4.0@end"): identity(8)})
    plugins = Plugins.load(packages=False)
    hook = HookPoint.parse("z.4.0")
    assert load_track("ioi-mini", None, "cpu", plugins, suite)[1].track == "ioi-mini"
    assert load_track("ioi-mini", hook, "cpu", plugins, suite)[1].track == "ioi-mini/blocks.4.attn.hook_z[0]"


@pytest.mark.parametrize(
    "hook",
    ["resid_pre.0", "resid_pre.1", "resid_mid.0", "resid_post.1", "attn_out.1", "mlp_out.0", "z.1", "z.0.3", "q.1.0"],
)
def test_every_kind_of_hook_gets_a_card_of_its_own_track(tiny_model, tiny_circuit, hook):
    """The identity reconstructs everything, at every role."""
    point = HookPoint.parse(hook)
    suite = Suite.at_hook("identity", "tiny", point, identity(tiny_model.width(point.at(Role.END))))
    card = evaluate(suite, model=tiny_model, circuit=track_of(suite, tiny_circuit, "tiny"), **SMALL)
    assert card.track == f"tiny/{point}"
    assert len(card.cells) == len(Role) * len(ATTRIBUTES)
    assert all(cell.headline for cell in card.cells)
    assert all(cell.reason for cell in card.cells if not cell.ranked)
    for cell in card.cells:
        if cell.faithfulness.fvu.value is not None:
            assert cell.faithfulness.fvu.value == pytest.approx(0, abs=1e-5)


def test_what_cannot_move_is_unranked_with_the_reason(tiny_model, tiny_circuit):
    """At layer 0 the stream at END is the same whatever the names: no edit of it can do anything."""
    suite = Suite.at_hook("identity", "tiny", HookPoint.parse("resid_pre.0"), identity(32))
    card = evaluate(suite, model=tiny_model, circuit=track_of(suite, tiny_circuit, "tiny"), **SMALL)
    for attribute in ATTRIBUTES:
        cell = card.cell(f"{attribute}@end")
        assert cell.no_edit.value == 1
        assert not cell.ranked
        assert "gains only 0.000" in cell.reason


def test_what_is_edited_at_the_hook_is_ranked_and_scored(tiny_model, tiny_circuit, tiny_inputs):
    """The tiny model says the name that it has seen most: the stream at END carries it in its last layer."""
    hook = HookPoint.parse("resid_post.1")
    track = hook_circuit("tiny", hook, tiny_circuit.task)
    width = tiny_model.width(hook.at(Role.END))
    g = torch.Generator().manual_seed(0)
    memory = codebook(torch.randn(300, width, generator=g), 200, 0)
    suite = Suite.at_hook("memory", "tiny", hook, memory)
    settings = {**SMALL, "prompts": 120, "train_prompts": 1500}
    card = evaluate(suite, model=tiny_model, circuit=track, **settings)
    ranked = [cell for cell in card.cells if cell.ranked]
    assert {cell.cross_section for cell in ranked} <= {"end"}  # after the last layer no other position is read
    assert [cell.name for cell in ranked] == ["s@end"]
    assert card.headline["exchange"].n_cells == 1
    assert ranked[0].skyline["mean"].accuracy.value > ranked[0].no_edit.value + 0.1


def test_roles_without_a_dictionary_count_as_missing(tiny_model, tiny_circuit):
    hook = HookPoint.parse("resid_pre.1")
    whole = Suite.at_hook("s", "tiny", hook, identity(32))
    part = replace(whole, dictionaries={hook.at(Role.END): identity(32)})
    card = evaluate(part, model=tiny_model, circuit=track_of(part, tiny_circuit, "tiny"), **SMALL)
    assert card.cell("io@s2").missing_sites == ("resid_pre.1@s2",)
    assert card.cell("io@end").missing_sites == ()


def test_a_hook_of_a_gpt2_directory(tiny_gpt2):
    hook = HookPoint.parse("resid_pre.2")
    suite = Suite.at_hook("identity", "gpt2-tiny", hook, identity(32))
    settings = {**SMALL, "prompts": 6, "train_prompts": 60, "methods": ("exchange",)}
    card = evaluate(suite, model=tiny_gpt2, **settings)
    assert card.track == f"{tiny_gpt2.name}/{hook}"
    assert card.made.spec == "ioi-v1"
