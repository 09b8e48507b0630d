"""Cosines with the supervised codes: planted dictionaries, random ones, and what must change nothing."""

from __future__ import annotations

import math
import sys

import pytest
import torch

from ioi_bench.errors import DictionaryError
from ioi_bench.metrics import geometry


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def every(rows):
    return torch.ones(len(rows), dtype=torch.bool)


def both(found):
    return found.codes_to_features, found.features_to_codes


def test_a_dictionary_of_the_codes_is_found_in_both_directions():
    codes = drawn(30, 16)
    lengths = torch.linspace(0.1, 9, 30)[:, None]
    order = torch.randperm(30, generator=torch.Generator().manual_seed(1))
    assert both(geometry((codes * lengths)[order], every(codes), codes)) == pytest.approx((1, 1))


def test_features_of_other_attributes_leave_the_codes_found():
    codes, others = torch.eye(16)[:8], torch.eye(16)[8:]
    directions = torch.cat([codes, others])
    assert both(geometry(directions, every(directions), codes)) == pytest.approx((1, 0.5))


def test_a_dictionary_that_has_half_the_codes():
    codes = torch.eye(16)[:8]
    assert both(geometry(codes[:4], every(codes[:4]), codes)) == pytest.approx((0.5, 1))


@pytest.mark.parametrize(("d_in", "d_sae", "values"), [(64, 512, 200), (32, 256, 50)])
def test_random_directions_come_as_near_as_the_best_of_so_many(d_in, d_sae, values):
    """(1 + cosine) / 2 of random directions is Beta((d−1)/2, (d−1)/2): the mean maximum of n is an integral."""
    from scipy import integrate, stats

    def expected(n):
        beta = stats.beta((d_in - 1) / 2, (d_in - 1) / 2)
        return 1 - 2 * integrate.quad(lambda x: beta.cdf(x) ** n, 0, 1)[0]

    found = geometry(drawn(d_sae, d_in), torch.ones(d_sae, dtype=torch.bool), drawn(values, d_in, seed=1))
    assert found.codes_to_features == pytest.approx(expected(d_sae), abs=0.01)
    assert found.features_to_codes == pytest.approx(expected(values), abs=0.01)


def test_the_opposite_direction_is_another_direction():
    code = torch.tensor([[3.0, 4.0]])
    assert both(geometry(-code, every(code), code)) == pytest.approx((-1, -1))


def test_dead_features_and_unseen_values_do_not_count(monkeypatch):
    codes, directions = drawn(12, 8), drawn(20, 8, seed=1)
    plain = both(geometry(directions, every(directions), codes))
    more = torch.cat([directions, codes, torch.zeros(1, 8)])
    alive = torch.tensor([True] * 20 + [False] * 12 + [True])
    assert both(geometry(more, alive, torch.cat([codes, torch.zeros(3, 8)]))) == pytest.approx(plain)
    monkeypatch.setattr(sys.modules[geometry.__module__], "_BLOCK_ELEMENTS", 30)  # two directions at a time
    assert both(geometry(directions, every(directions), codes)) == pytest.approx(plain)


def test_nothing_to_compare_is_undefined():
    rows = drawn(3, 4)
    for found in (geometry(rows, ~every(rows), rows), geometry(rows, every(rows), torch.zeros(2, 4))):
        assert all(math.isnan(value) for value in both(found))


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(DictionaryError, match="do not fit"):
        geometry(drawn(3, 4), torch.ones(3, dtype=torch.bool), drawn(3, 5))
    with pytest.raises(DictionaryError, match="do not fit"):
        geometry(drawn(3, 4), torch.ones(2, dtype=torch.bool), drawn(3, 4))
