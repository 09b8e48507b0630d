"""One process after another."""

from __future__ import annotations

import subprocess
import sys
from threading import Barrier, Thread

import pytest

from ioi_bench.atomic import locked
from ioi_bench.errors import StorageError

pytest.importorskip("fcntl", reason="the system has no such locks")

HOLD = """
import sys
from pathlib import Path
from ioi_bench.atomic import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_text("0")
    return path


def test_who_reads_and_writes_under_the_lock_loses_nothing(file):
    together = Barrier(8)

    def add():
        together.wait()
        for _ in range(25):
            with locked(file):
                file.write_text(str(int(file.read_text()) + 1))

    threads = [Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert file.read_text() == "200"


def test_a_process_that_is_killed_holds_nothing(file):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        entered = []

        def wait():
            with locked(file):
                entered.append(holder.poll())

        waiting = Thread(target=wait)
        waiting.start()
        waiting.join(0.5)
        assert entered == []
        holder.kill()
        waiting.join(60)
        assert len(entered) == 1
    assert file.read_text() == "0"


def test_an_error_inside_gives_it_back(file):
    with pytest.raises(ValueError, match="inside"), locked(file):
        raise ValueError("inside")
    with locked(file):
        pass


def test_what_is_not_there_cannot_be_locked(tmp_path):
    with pytest.raises(StorageError, match="cannot lock"), locked(tmp_path / "nothing"):
        pass
