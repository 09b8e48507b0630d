"""Every reader on hostile inputs: our errors or a sound result; no code, no file outside, bounded memory and time."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import pytest
import torch
from hostile_campaign import Bench, bench
from hostile_files import Folder, Link, Pipe
from hostile_mutations import Payload
from hostile_targets import TARGETS, Target
from hostile_watch import Outside, watch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ioi_bench.errors import SuiteError

INPUTS = 25
"""Of each target, times its share; `python tests/hostile` runs many thousands."""

_BENCHES: dict[str, Bench] = {}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_breaks_a_reader(name):
    target = TARGETS[name]
    with bench(target) as one:

        @settings(
            max_examples=max(5, round(INPUTS * target.share)),
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(st.integers(0, 2**32))
        def unbroken(seed):
            seen = one.read(one.mutated(Random(f"{name} {seed}")))
            assert not seen.faults

        unbroken()


KINDS = {
    "a missing file": None,
    "a folder": Folder(),
    "a pipe": Pipe(),
    "a device": Link("/dev/zero"),
    "a link outside": Link("{outside}/secret"),
    "a loop of links": Link("."),
    "no bytes": b"",
    "a mark": b"\xef\xbb\xbf{}",
    "no UTF-8": b"\xff\xfe\xed\xa0\x80",
    "depth": b"[" * 200_000,
}


@pytest.mark.parametrize("name", ["native-folder", "saelens", "openai", "card", "submission", "plugins-toml", "recipe"])
def test_every_kind_of_file_in_every_place(name):
    target = TARGETS[name]
    with bench(target) as one:
        for files in one.seeds[:2]:
            for place in files:
                for kind, entry in KINDS.items():
                    if target.named and kind == "a link outside":
                        continue
                    changed = {**files, place: entry}
                    seen = one.read({key: value for key, value in changed.items() if value is not None})
                    assert not seen.faults, (place, kind)


# -- the watch itself --------------------------------------------------------------------------------------------------


def watched(tmp_path, read, **files):
    (tmp_path / "in").mkdir()
    for name, data in files.items():
        (tmp_path / "in" / name).write_bytes(data)
    outside = Outside(tmp_path / "outside")
    (outside.folder / "secret").write_bytes(b"x")
    outside.opened()
    return watch(read, tmp_path / "in", outside, tmp_path / "canary", reserve=True, writes=False)


def refuse(_):
    raise SuiteError("no")


FAULTY = {
    "an error of Python's": lambda folder: {}["a"],
    "a file outside": lambda folder: (folder.parent / "outside" / "secret").read_bytes(),
    "a file of the system": lambda folder: Path("/etc/passwd").read_bytes(),
    "a command": lambda folder: os.system("true"),
    "a folder made": lambda folder: (folder / "new").mkdir(),
    "memory used": lambda folder: torch.ones(100 * 2**20),
    "memory asked for": lambda folder: torch.empty(2**34),
    "a library's open": lambda folder: torch.from_file(
        str(folder.parent / "outside" / "secret"), size=1, dtype=torch.uint8
    ),
}


@pytest.mark.parametrize("what", FAULTY)
def test_the_watch_sees(tmp_path, what):
    assert watched(tmp_path, FAULTY[what]).faults


def test_the_watch_sees_code_that_ran(tmp_path):
    import pickle

    data = pickle.dumps(Payload(tmp_path / "canary"))
    assert "code in the input ran" in watched(tmp_path, lambda folder: pickle.loads(data)).faults


def test_the_watch_is_silent_where_nothing_is_wrong(tmp_path):
    seen = watched(tmp_path, lambda folder: (folder / "a").read_bytes(), a=b"x")
    assert (seen.faults, seen.error) == ([], None)


def test_our_own_error_is_no_fault(tmp_path):
    seen = watched(tmp_path, refuse)
    assert seen.faults == []
    assert str(seen.error) == "no"


def test_a_seed_that_is_refused_is_a_mistake_of_the_campaign():
    with (
        pytest.raises(AssertionError, match="a valid input of x was refused: no"),
        bench(Target("x", lambda: [{"a": b""}], refuse)),
    ):
        pass
