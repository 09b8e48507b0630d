"""Plugins to test with: files, and distributions that are found as installed ones are."""

from __future__ import annotations

import sys
import textwrap

import pytest


@pytest.fixture
def plugin_file(tmp_path):
    """Write a plugin of one file: ``plugin_file(code)``, ``plugin_file(code, "name")``."""

    def write(code, name="mine"):
        path = tmp_path / f"{name}.py"
        path.write_text(textwrap.dedent(code))
        return path

    return write


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Make a distribution with an entry point importable: ``installed("name", code)``."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    before = set(sys.modules)

    def install(name, code, *, version="1.2"):
        (folder / f"plugin_{name}.py").write_text(textwrap.dedent(code))
        info = folder / f"ioi_bench_{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: ioi-bench-{name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[ioi_bench]\n{name} = plugin_{name}\n")

    yield install
    for name in set(sys.modules) - before:
        if name.startswith("plugin_"):
            del sys.modules[name]
