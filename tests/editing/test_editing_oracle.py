"""Each edit method against a transcription of METHOD §5 in plain loops: the same picks, the same activations."""

from __future__ import annotations

import pytest
from edit_definitions import ORACLES, Prompt, distance, exchange, plus

from ioi_bench.editing import EDITS

CASES = range(200)


def case(inputs_of, seed):
    """Ties, inactive features, negative values, more rounds than active features, dense dictionaries: all come up."""
    return inputs_of(
        seed,
        prompts=1 + seed % 4,
        d_sae=(1, 3, 6, 12, 40)[seed % 5],
        d_in=1 + seed % 6,
        density=(0.2, 0.5, 1.0)[seed % 3],
        whole=seed % 4 < 2,
        negative=seed % 7 < 4,
        duplicates=seed % 8 < 5,
    ), ((1, 2, 4, 8, 16), (1,), (3, 5), (2, 7))[seed % 4]


def test_every_method_has_an_oracle():
    assert ORACLES.keys() == EDITS.keys()


@pytest.mark.parametrize("method", ORACLES)
def test_same_picks_and_activations_as_the_definition(method, inputs_of):
    for seed in CASES:
        inputs, budgets = case(inputs_of, seed)
        edit = EDITS[method](inputs, budgets)
        assert edit.budgets == budgets
        assert edit.removed.shape == edit.added.shape == (len(inputs), budgets[-1])
        assert edit.edited.shape == (len(budgets), *inputs.a_s.shape)
        for p in range(len(inputs)):
            rounds = ORACLES[method](Prompt(inputs, p), budgets[-1])
            assert [removed for removed, _, _ in rounds] == edit.removed[p].tolist(), f"case {seed}, prompt {p}"
            assert [added for _, added, _ in rounds] == edit.added[p].tolist(), f"case {seed}, prompt {p}"
            for b, k in enumerate(budgets):
                assert edit.edited[b, p].tolist() == pytest.approx(rounds[k - 1][2], rel=1e-9, abs=1e-9)
            for k in budgets:
                assert int(edit.n_removed(k)[p]) == sum(removed >= 0 for removed, _, _ in rounds[:k])
                assert int(edit.n_added(k)[p]) == sum(added >= 0 for _, added, _ in rounds[:k])


def test_the_cases_are_hard_enough(inputs_of):
    """The random cases do contain what the oracle is there for."""
    ties = idle = exhausted = replaced = 0
    for seed in CASES:
        inputs, budgets = case(inputs_of, seed)
        for p in range(len(inputs)):
            prompt = Prompt(inputs, p)
            changes = {j: prompt.f_t[j] - prompt.f_s[j] for j in range(len(prompt.d))}
            distances = [distance(plus(prompt.a_s, c, prompt.d[j]), prompt.a_t) for j, c in changes.items()]
            ties += sum(d <= min(distances) + prompt.tie for d in distances) > 1
            idle += any(removed == added == -1 for removed, added, _ in exchange(prompt, budgets[-1]))
            exhausted += budgets[-1] > len(prompt.d)
            replaced += any(removed == added >= 0 for removed, added, _ in exchange(prompt, budgets[-1]))
    assert min(ties, idle, exhausted, replaced) > 50
