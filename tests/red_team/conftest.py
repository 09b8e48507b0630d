"""What the zoo is judged on: few prompts of ioi-mini, gathered once."""

from __future__ import annotations

import pytest
from keeper import Keeper


@pytest.fixture(scope="session")
def keeper() -> Keeper:
    return Keeper.at_work()
