"""A token is in nothing that anybody sees: messages, tracebacks, logs, warnings, what is printed, what is kept."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
import traceback
import warnings

import loopback
import pytest
from huggingface_hub.utils import logging as hub_logging
from loopback import Hub, User, connect, serve

from ioi_bench.errors import InputError, IoiBenchError
from ioi_bench.hub import open_hub
from ioi_bench.hub.snapshot import snapshot
from ioi_bench.hub.tokens import check_token, guarded_logs, shown, without_secrets
from ioi_bench.hub.upload import upload

TOKEN = "hf_geheimesWort123"
ECHO = {"X-Error-Message": f"the token {TOKEN} will not do"}
FILES = {"a.json": b"{}", "w.npz": bytes(5000)}

DOINGS = {
    "upload": lambda: upload(FILES, "org/repo", kind="model", message="m"),
    "request": lambda: upload(FILES, "org/repo", kind="model", message="m", pull_request=True),
    "create": lambda: upload(FILES, "org/new", kind="model", message="m", create=True),
    "snapshot": lambda: snapshot("org/repo", kind="model"),
    "open": lambda: open_hub("hf://org/repo"),
}
FAULTS = {
    "401": {"answer": (401, ECHO)},
    "403": {"answer": (403, ECHO)},
    "gated": {"answer": (403, {"X-Error-Code": "GatedRepo", **ECHO})},
    "no-repository": {"answer": (404, {"X-Error-Code": "RepoNotFound", **ECHO})},
    "no-revision": {"answer": (404, {"X-Error-Code": "RevisionNotFound", **ECHO})},
    "400": {"answer": (400, ECHO)},
    "429": {"answer": (429, ECHO)},
    "500": {"answer": (500, ECHO)},
    "cut": {"lost": True},
}


@pytest.fixture
def hub():
    hub = Hub()
    hub.tokens[TOKEN] = User("ann", orgs=("org",))
    hub.repository("org/repo", files={"cfg.json": b"{}", "w.bin": bytes(5000)})
    with serve(hub):
        yield hub


@pytest.fixture
def said():
    """What the client logs at its most talkative."""
    text = io.StringIO()
    handler, before = logging.StreamHandler(text), hub_logging.get_verbosity()
    logging.getLogger("huggingface_hub").addHandler(handler)
    hub_logging.set_verbosity_debug()
    yield text
    hub_logging.set_verbosity(before)
    logging.getLogger("huggingface_hub").removeHandler(handler)


@pytest.mark.parametrize("endpoint", [None, "preupload", "commit", "resolve", "lfs-put", "lfs-get"])
@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_goes_wrong(hub, monkeypatch, tmp_path, said, capfd, fault, endpoint):
    connect(monkeypatch, hub, tmp_path / "hf", TOKEN)
    hub.fail(endpoint, **FAULTS[fault])
    failed, seen = 0, []
    for do in DOINGS.values():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                seen += [repr(do())]
            except IoiBenchError as error:
                failed += 1
                seen += [repr(error), repr(error.__dict__), *traceback.format_exception(error)]
        seen += [str(warning.message) for warning in caught]
    assert failed > 0, "the fault strikes nobody: nothing is tested"
    assert {request.token for request in hub.requests if request.endpoint in ("info", "preupload")} == {TOKEN}
    out, err = capfd.readouterr()
    assert TOKEN not in "\n".join([out, err, said.getvalue(), *seen])
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]


def test_a_traceback_of_the_command_line(hub, tmp_path):
    """With all logs of the client on, and ``--debug``, which shows the causes of an error."""
    hub.fail("tree", **FAULTS["500"])
    own = {**hub.environment(tmp_path / "hf", TOKEN), "HF_HUB_VERBOSITY": "debug", "HF_DEBUG": "1"}
    command = [sys.executable, "-c", "from ioi_bench.cli import main; main()", "inspect", "hf://org/repo", "--debug"]
    done = subprocess.run(command, env={**os.environ, **own}, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert TOKEN not in done.stdout + done.stderr
    assert hub.requests[-1].token == TOKEN


def test_the_client_would_have_told_it(hub, monkeypatch, tmp_path):
    """Without our care the answer's words, and with them the token, are in the error: the tests above can fail."""
    from huggingface_hub import HfApi

    connect(monkeypatch, hub, tmp_path / "hf", TOKEN)
    hub.fail("info", (500, ECHO))
    with pytest.raises(Exception, match=TOKEN) as caught:
        HfApi().model_info("org/repo")
    assert shown(caught.value) is None
    assert shown(ValueError("nothing to hide")) is not None
    assert TOKEN not in without_secrets(f"{TOKEN} in the middle of {TOKEN}s")
    assert "hf_otherToken999" not in without_secrets("one that is not ours: hf_otherToken999")


def test_what_the_client_logs(said, monkeypatch):
    """It logs addresses that it tries again, which may hold a password, and words of answers."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    log = logging.getLogger("huggingface_hub.utils._http")
    with guarded_logs():
        log.warning("%s thrown while requesting GET http://me:geheim@127.0.0.1/%s", 503, TOKEN)
    assert said.getvalue() == "503 thrown while requesting GET http://127.0.0.1/***\n"
    log.warning("after %s", TOKEN)
    assert TOKEN in said.getvalue()  # ours alone, and only meanwhile


def test_a_cause_far_down_is_found():
    error, inner = RuntimeError("outer"), ValueError("hf_innermost12345")
    inner.__cause__ = None
    error.__cause__ = KeyError("middle")
    error.__cause__.__context__ = inner
    assert shown(error) is None


def test_a_token_that_cannot_be_sent_is_refused_unseen(monkeypatch):
    """The HTTP library shows in its error the header that it cannot send."""
    monkeypatch.setenv("HF_TOKEN", "hf_geheim\x01es")
    with pytest.raises(InputError, match="copy it again") as caught:
        check_token()
    assert "geheim" not in str(caught.value)
    for do in DOINGS.values():
        with pytest.raises(InputError, match="copy it again"):
            do()
    monkeypatch.setenv("HF_TOKEN", f"  {TOKEN}\n")  # the client strips it
    check_token()


def test_what_the_loopback_hub_prints_of_itself(hub):
    request = loopback.hub.Request("GET", "/", "info", TOKEN, None, 0)
    assert TOKEN not in repr(request)
