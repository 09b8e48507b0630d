from __future__ import annotations

import pytest
from typer.testing import CliRunner, Result

from ioi_bench.cli.app import app


@pytest.fixture
def cli(monkeypatch):
    """Run a command line in this process: ``cli("task", "show")``; stdout and stderr come apart."""
    for name in ("FORCE_COLOR", "NO_COLOR", "TERMINAL_WIDTH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "100")

    def run(*args: object) -> Result:
        return CliRunner().invoke(app, [str(arg) for arg in args], catch_exceptions=False)

    return run
