"""Threads: the same results in the same order, one torch thread each, and an end when something goes wrong."""

from __future__ import annotations

from threading import Event, get_ident

import pytest
import torch

from ioi_bench.threads import in_threads


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_results_come_in_order_from_threads_of_one_torch_thread():
    found = in_threads(lambda item: (item, get_ident(), torch.get_num_threads()), list(range(8)))
    assert [item for item, _, _ in found] == list(range(8))
    assert {n for _, _, n in found} == {1}
    assert get_ident() not in {ident for _, ident, _ in found}
    assert torch.get_num_threads() == 2


def test_one_thread_or_one_item_needs_no_pool():
    assert in_threads(lambda _: get_ident(), [1]) == [get_ident()]
    assert in_threads(lambda item: item, []) == []


@pytest.mark.usefixtures("two_threads")
def test_an_error_ends_the_work():
    begun, stop = [], Event()

    def work(item):
        begun.append(item)
        if item == 0:
            raise ValueError("no")
        stop.wait(5)

    with pytest.raises(ValueError, match="no"):
        in_threads(work, list(range(50)), stop=stop)
    assert stop.is_set()
    assert len(begun) <= 4
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_an_error_ends_work_that_began_before():
    stop = Event()

    def work(item):
        if item == 1:
            raise ValueError("no")
        assert stop.wait(30)

    with pytest.raises(ValueError, match="no"):
        in_threads(work, [0, 1, 2], stop=stop)
