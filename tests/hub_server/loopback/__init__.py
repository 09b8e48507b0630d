"""A Hub on the loopback address: the endpoints that huggingface_hub uses, and what the real one answers if it refuses.

::

    hub = Hub()
    hub.repository("org/name", kind="dataset", files={"a.json": b"{}"})
    hub.tokens["hf_x"] = User("ann", orgs=("org",))
    hub.fail("commit", TOO_MANY, times=1)
    with serve(hub):
        ...  # a process with hub.environment(home, "hf_x"), or `connect` in this one
    hub.commits("org/name"), hub.files("org/name"), hub.pull_requests("org/name")

olah serves what goes well, of downloads; this serves uploads and what goes wrong. What endpoints answer is what the
client reads of it (huggingface_hub 2.4: hf_api.py, _commit_api.py, lfs.py, file_download.py, utils/_http.py).
"""

from loopback.client import connect
from loopback.hub import (
    BAD_TOKEN,
    BROKEN,
    FORBIDDEN,
    GATED,
    GATED_TO_NOBODY,
    NO_ENTRY,
    NO_REPOSITORY,
    NO_REVISION,
    NOT_NOW,
    OUT_OF_ORDER,
    TOO_MANY,
    Hub,
    User,
)
from loopback.repository import Commit, PullRequest, Repository
from loopback.server import serve

__all__ = [
    "BAD_TOKEN",
    "BROKEN",
    "FORBIDDEN",
    "GATED",
    "GATED_TO_NOBODY",
    "NOT_NOW",
    "NO_ENTRY",
    "NO_REPOSITORY",
    "NO_REVISION",
    "OUT_OF_ORDER",
    "TOO_MANY",
    "Commit",
    "Hub",
    "PullRequest",
    "Repository",
    "User",
    "connect",
    "serve",
]
