"""A reference suite that animals are bred from."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from ioi_bench.dictionaries.suite import load_suite


@cache
def _suite():
    return load_suite(Path(__file__).parents[2] / "reference_saes" / "ioi-mini" / "topk-k3-s0")


def trained(site):
    return _suite().dictionaries[site]
