"""Campaigns that atheris leads: it keeps what reaches new code of ioi-bench and its loaders, and mutates that on."""

from __future__ import annotations

import contextlib
import os
import pickle
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hostile_campaign import Bench, Figures
    from hostile_targets import Target

_BEGIN, _LENGTH = 200, 2048  # inputs to begin with, and their bytes
_EVERY = 20  # inputs between notes: atheris ends its process, and what was not noted is gone


@contextlib.contextmanager
def instrumented() -> Iterator[Any]:
    """What is imported inside tells atheris where it goes; None where atheris is not installed."""
    try:
        import atheris
    except ImportError:
        yield None
        return
    with atheris.instrument_imports(include=["ioi_bench"], enable_loader_override=False):
        yield atheris


def guided(target: Target, seconds: float, seed: int, atheris: Any) -> Figures:
    """Inputs until the time is over: led by atheris, or from seeds without it."""
    from hostile_campaign import Figures, bench

    with bench(target) as one:
        if atheris is not None:
            return _led(one, seconds, seed, atheris)
        figures, until = Figures(), time.monotonic() + seconds
        while time.monotonic() < until:
            key = seed + figures.inputs
            files = one.mutated(Random(f"{target.name} {key}"))
            figures.add(one.read(files), key, files)
        return figures


def _led(one: Bench, seconds: float, seed: int, atheris: Any) -> Figures:
    from hostile_campaign import Figures

    class Drawn(Random):
        """Draws from the fuzzer's bytes; zeros when they are used up."""

        def __init__(self, data: bytes) -> None:
            self.provider = atheris.FuzzedDataProvider(data)
            super().__init__(0)

        def random(self) -> float:
            return self.provider.ConsumeProbability() * (1 - 2**-53)

        def getrandbits(self, k: int) -> int:
            return int.from_bytes(self.provider.ConsumeBytes((k + 7) // 8), "little") & ((1 << k) - 1)

    figures = Figures()
    with tempfile.TemporaryDirectory() as folder:
        notes, corpus = Path(folder) / "notes", Path(folder) / "corpus"
        corpus.mkdir()
        for i in range(_BEGIN):
            (corpus / str(i)).write_bytes(Random(seed + i).randbytes(_LENGTH))

        def once(data: bytes) -> None:
            before = len(figures.examples)
            files = one.mutated(Drawn(data))
            figures.add(one.read(files), figures.inputs, files)
            if figures.inputs % _EVERY == 0 or len(figures.examples) > before:
                notes.write_bytes(pickle.dumps(figures))

        child = os.fork()
        if child == 0:
            told = [
                f"-max_total_time={int(seconds)}",
                f"-max_len={_LENGTH}",
                "-len_control=0",
                f"-seed={seed + 1}",
                "-verbosity=0",
            ]
            atheris.Setup(["fuzz", str(corpus), *told, "-timeout=120", "-rss_limit_mb=0"], once)
            atheris.Fuzz()
            os._exit(0)
        os.waitpid(child, 0)
        return pickle.loads(notes.read_bytes())
