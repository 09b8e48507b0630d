"""This process's huggingface_hub, turned to a loopback Hub: it reads its settings when it is imported."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from loopback.hub import Hub


def connect(monkeypatch: pytest.MonkeyPatch, hub: Hub, home: Path, token: str | None = None) -> list[float]:
    """Until the test ends, the client talks to this Hub, with a cache, a token and a log of its own.

    Returns:
        The seconds that it would have waited before it tried again; it does not wait.
    """
    from huggingface_hub import close_session, constants, file_download
    from huggingface_hub.utils import _http

    close_session()  # its connections are to the Hub of another test
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_OIDC_RESOURCE"):
        monkeypatch.delenv(name, raising=False)
    if token is not None:
        monkeypatch.setenv("HF_TOKEN", token)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    settings = {
        "ENDPOINT": hub.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": hub.url + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HOME": str(home),
        "HF_HUB_CACHE": str(home / "hub"),
        "HF_TOKEN_PATH": str(home / "token"),
        "HF_STORED_TOKENS_PATH": str(home / "stored_tokens"),
        "HF_HUB_DISABLE_XET": True,
        "HF_HUB_OFFLINE": False,
    }
    for name, value in settings.items():
        monkeypatch.setattr(constants, name, value)
    waited: list[float] = []
    clock = SimpleNamespace(sleep=waited.append, time=time.time, monotonic=time.monotonic)
    for module in (_http, file_download):
        monkeypatch.setattr(module, "time", clock)
    return waited
