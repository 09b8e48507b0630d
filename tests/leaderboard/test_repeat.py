"""A card's settings, read back from the card."""

from __future__ import annotations

import pytest
from boards import changed

from ioi_bench.errors import InputError, UnknownNameError
from ioi_bench.leaderboard.repeat import MAX_BUDGET, Repeated, compare_made, load_options, require_repeatable
from ioi_bench.plugins.manager import Plugins
from ioi_bench.plugins.records import LoadOptions
from ioi_bench.sites import HookPoint

HASH = "0123456789abcdef" * 4


def with_options(card, options):
    return changed(card, "made", "options", to=options).made


@pytest.mark.parametrize(
    "given",
    [
        LoadOptions(),
        LoadOptions(hook=HookPoint.parse("blocks.3.attn.hook_z[1]"), arch="topk"),
        LoadOptions(scale=0.1 + 0.2),
        LoadOptions(scale="sqrt-d", settings={"k": "3", "arch": "mine"}),
    ],
)
def test_what_was_said_is_said_again(small_card, given):
    """The inverse of `LoadOptions.said`, with the model that the card names."""
    again = load_options(with_options(small_card.card, given.said | {"preflight": "no"}))
    assert again == LoadOptions(given.hook, given.arch, small_card.card.made.model, given.scale, dict(given.settings))


@pytest.mark.parametrize("options", [{"preflight": "maybe"}, {"cross-site": "yes"}, {"out": "/tmp"}])
def test_options_that_nobody_can_give_again(small_card, options):
    with pytest.raises(InputError, match=next(iter(options))):
        load_options(with_options(small_card.card, options))


def test_work_without_end_and_unknown_models_are_refused(small_card):
    plugins, made = Plugins.load(packages=False), small_card.card.made
    require_repeatable(made, plugins)
    with pytest.raises(InputError, match="budgets"):
        require_repeatable(made.model_copy(update={"budgets": (1, MAX_BUDGET + 1)}), plugins)
    with pytest.raises(UnknownNameError, match="ioi-mini"):
        require_repeatable(made.model_copy(update={"model": "ioi-mimi"}), plugins)


def test_a_hash_counts_where_it_is_of_weights(small_card):
    """Of behaviour it is told: its last bits are the machine's."""
    other = changed(small_card.card, "made", "suite_sha256", to=HASH)
    assert [check.passed for check in compare_made(other, Repeated(small_card.card, weighed=True))] == [False, True]
    told, _ = compare_made(other, Repeated(small_card.card, weighed=False))
    assert told.passed
    assert "last bits" in told.detail
    assert small_card.card.made.suite_sha256 in told.detail, "whole: it tells one suite under two hashes apart"


@pytest.mark.parametrize(
    ("steps", "value"),
    [
        (("track",), "gpt2"),
        (("made", "spec_sha256"), HASH),
        (("made", "model_sha256"), HASH),
        (("made", "circuit_sha256"), HASH),
        (("made", "n_prompts"), 99),
        (("made", "n_train_prompts"), 499),
        (("made", "seed"), 1),
        (("made", "plugins"), {"loader x": "x"}),
        (("made", "loader"), "saelens"),
        (("made", "suite"), "another"),
        (("made", "architectures"), ("quantum",)),
    ],
)
def test_settings_that_differ_are_named(small_card, steps, value):
    card = changed(small_card.card, *steps, to=value)
    _, settings = compare_made(card, Repeated(small_card.card, weighed=True))
    assert not settings.passed
    assert steps[-1] in settings.detail


def test_where_when_and_how_fast_are_not_compared(small_card):
    card = small_card.card
    for name, value in (("source", "elsewhere"), ("loader", None), ("hardware", {}), ("wall_seconds", 1.0)):
        card = changed(card, "made", name, to=value)
    assert all(check.passed for check in compare_made(card, Repeated(small_card.card, weighed=True)))
