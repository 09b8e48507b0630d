"""The site on one's own machine: served, built anew, and ended."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from queue import Queue
from threading import Event, Thread

import pytest
from page_examples import changed, submit, verify

from ioi_bench.errors import InputError
from ioi_bench.evaluation.card import Card
from ioi_bench.pages.serve import serve
from ioi_bench.pages.site import Built


@pytest.fixture
def one(cards, tmp_path):
    results = tmp_path / "results"
    card = changed(Card.read(cards["topk"]), name="one")
    return results, submit(results, card, cards["topk"] / "prompts.parquet", "lab/one")


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


def test_it_is_built_anew_when_a_submission_changes(one, page_cache):
    results, folder = one
    told, ready, stop = Queue(), Queue(), Event()
    arguments = {"ready": ready.put, "told": told.put, "stop": stop, "cache_dir": page_cache}
    thread = Thread(target=serve, args=(results,), kwargs=arguments)
    thread.start()
    try:
        url = ready.get(timeout=120)
        assert url.startswith("http://127.0.0.1:")
        assert told.get(timeout=1).suites == 1
        before = get(url + "live.txt")
        assert "live.js" in get(url)
        assert "connect-src &#39;self&#39;" in get(url)
        assert 'data-badge="self-reported"' in get(url)
        verify(folder, "reproduced")
        built = told.get(timeout=120)
        assert isinstance(built, Built)
        assert 'data-badge="reproduced"' in get(url)
        assert get(url + "live.txt") != before
        with pytest.raises(urllib.error.HTTPError) as refused:
            get(url + "../../etc/passwd")
        assert refused.value.code == 404
        refused.value.close()
    finally:
        stop.set()
        thread.join(timeout=30)
    assert not thread.is_alive()
    with pytest.raises(OSError, match="refused"):
        get(url)


def test_a_taken_port_is_named(one, page_cache):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} cannot be used"):
            serve(one[0], port=port, ready=print, told=print, cache_dir=page_cache)


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is a signal on POSIX")
def test_ctrl_c_ends_it_quietly(one, page_cache):
    command = [sys.executable, "-c", "from ioi_bench.cli import main; main()", "leaderboard", "serve"]
    command += ["--results", str(one[0]), "--port", "0"]
    environment = {**os.environ, "IOI_BENCH_CACHE": str(page_cache)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        said = ""
        while "serving" not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        said += process.communicate(timeout=60)[1]
    assert process.returncode == 0, said
    assert said.rstrip().endswith("stopped")
    assert "Traceback" not in said
