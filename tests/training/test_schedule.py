from __future__ import annotations

from itertools import pairwise

import pytest

from ioi_bench.training.schedule import learning_rate


def test_the_decay_is_linear_over_the_last_quarter():
    rates = [learning_rate(step, 400, [], 2.0) for step in range(400)]
    assert rates[:300] == [2.0] * 300
    assert rates[300] == 2.0
    drops = [a - b for a, b in zip(rates[300:], [*rates[301:], 0.0], strict=True)]
    assert drops == pytest.approx([0.02] * 100)
    assert {learning_rate(step, 400, [], 2.0, decay=False) for step in range(400)} == {2.0}


@pytest.mark.parametrize("start", [0, 100])
def test_a_warm_up_is_linear_from_a_tenth(start):
    rates = [learning_rate(start + step, 400, [(start, 10)], 2.0) for step in range(12)]
    assert rates[0] == pytest.approx(0.2)
    assert [b - a for a, b in pairwise(rates[:11])] == pytest.approx([0.18] * 10)
    assert rates[10] == 2.0
    assert learning_rate(start - 1, 400, [(start, 10)], 2.0) == 2.0


@pytest.mark.parametrize("steps", [1, 2, 3, 5])
def test_short_runs_have_positive_rates(steps):
    assert all(learning_rate(step, steps, [(0, 3)], 1.0) > 0 for step in range(steps))
