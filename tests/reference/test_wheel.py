"""What a wheel carries: whoever installs ioi-bench has the suites of ioi-mini, without a checkout and a network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder
from reference_examples import sha256

from ioi_bench.errors import StorageError
from ioi_bench.reference import bundled, bundled_folder, bundled_manifest

ROOT = Path(__file__).parents[2]
INSIDE = "ioi_bench/reference/bundled"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    (path,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("dist")), versions=["standard"])
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_a_wheel_has_the_manifest_and_every_file_that_it_names(wheel):
    assert wheel.read(f"{INSIDE}/manifest.json") == (ROOT / "reference_saes" / "manifest.json").read_bytes()
    for suite in bundled_manifest().suites.values():
        for name, expected in suite.files.items():
            assert sha256(wheel.read(f"{INSIDE}/{suite.path}/{name}")) == expected


def test_a_wheel_has_nothing_else_of_the_checkout(wheel):
    assert not [name for name in wheel.namelist() if not name.startswith(("ioi_bench/", "ioi_bench-"))]
    carried = {name for name in wheel.namelist() if name.startswith(f"{INSIDE}/")}
    named = {f"{INSIDE}/{path}" for suite in bundled_manifest().suites.values() for path in suite.file_paths}
    assert carried == named | {f"{INSIDE}/manifest.json"}


def test_an_installed_wheel_finds_its_suites(wheel, tmp_path):
    site = tmp_path / "site"
    wheel.extractall(site)
    command = [sys.executable, "-c", "from ioi_bench.cli import main; main()", "reference", "list", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    rows = json.loads(done.stdout)
    assert [row["name"] for row in rows] == list(bundled_manifest().suites)
    assert all(row["bundled"].startswith(str(site / INSIDE)) for row in rows)


def test_a_checkout_has_them_at_its_root():
    assert bundled_folder() == ROOT / "reference_saes"


def test_an_installation_without_them_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(bundled, "_PACKAGED", tmp_path)
    monkeypatch.setattr(bundled, "_CHECKOUT", tmp_path)
    with pytest.raises(StorageError, match="no reference suites"):
        bundled_folder()
