"""SIGKILL at random moments: nothing that was finished is lost, and nothing half-written is believed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
KILLS = {"train": 3, "save": 3, "pull": 3, "cache": 2, "evaluate": 2}
"""How many here; `make kills` does 20 of each, and of select."""


@pytest.mark.parametrize("work", KILLS)
def test_killed_work_is_gone_on_with(tmp_path, work):
    command = [sys.executable, HERE / "hostile_kills.py", work, str(KILLS[work]), "0", tmp_path / "place"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout
    found = json.loads(done.stdout)
    assert found["kills"] >= KILLS[work]
    assert (found["lost"], found["wrong"]) == ([], [])
