"""Work on parts in threads of one torch thread each: many small operations split poorly among torch's own threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from threading import Event
from typing import TypeVar

import torch

__all__ = ["in_threads"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(work: Callable[[Item], Result], items: Sequence[Item], *, stop: Event | None = None) -> list[Result]:
    """``[work(item) for item in items]``, in as many threads as torch was given.

    The first exception is raised as soon as it happens, Ctrl-C among them: what has not begun by then never does, and
    ``stop`` is set, for long work to look at.
    """
    before = torch.get_num_threads()
    if min(before, len(items)) < 2:
        return [work(item) for item in items]
    pool = ThreadPoolExecutor(min(before, len(items)), initializer=torch.set_num_threads, initargs=(1,))
    try:
        futures = [pool.submit(work, item) for item in items]
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        for future in done:  # the one that failed, before the result of one that stopped for it
            future.result()
        return [future.result() for future in futures]
    except BaseException:
        if stop is not None:
            stop.set()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)
