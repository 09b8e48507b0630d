from __future__ import annotations

import importlib

import pytest
from reference_examples import FakeHub, content, shelf

from ioi_bench.reference import bundled


@pytest.fixture
def bundle(tmp_path, monkeypatch):
    """The bundled suites are ``topk-s0`` and ``relu-s0``, in this folder."""
    folder = shelf(tmp_path / "bundled", {name: content(name) for name in ("topk-s0", "relu-s0")})
    monkeypatch.setattr(bundled, "_PACKAGED", folder)
    bundled.bundled_manifest.cache_clear()
    yield folder
    bundled.bundled_manifest.cache_clear()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A Hub whose repository ``org/saes`` is empty at first."""
    fake = FakeHub(tmp_path / "cache")
    monkeypatch.setattr(importlib.import_module("ioi_bench.hub.snapshot"), "snapshot", fake)
    return fake
