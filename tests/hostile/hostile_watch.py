"""Watching a reader: what it opens, runs and allocates, how long it takes, and how it ends.

One audit hook (PEP 578) sees everything that Python opens and runs; what libraries open beneath Python is seen by
inotify on the one folder outside that links lead to. Memory is bounded twice: the resident set's peak, which Linux lets
a process set back, and the address space, so that what is asked for and never touched is seen, too.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ioi_bench.errors import IoiBenchError, PluginError

MB = 2**20
SLOW, HANGS = 10.0, 60.0
"""Seconds of the processor's time, and of the clock's, that a reader may take over one input."""

ROOMY, PER_BYTE, RESERVED = 256 * MB, 64, 1024 * MB
"""A reader may hold `ROOMY` + `PER_BYTE` × the input's bytes, and reserve `RESERVED` + that of the address space."""

_RUNS = {
    "os.system",
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.spawn",
    "os.startfile",
    "subprocess.Popen",
    "pty.spawn",
    "pickle.find_class",
    "code.__new__",
    "ctypes.dlopen",
    "webbrowser.open",
    "urllib.Request",
}
_WRITES = {
    "os.chmod",
    "os.chown",
    "os.link",
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.symlink",
    "os.truncate",
    "shutil.rmtree",
    "shutil.move",
    "shutil.copyfile",
}
_OURS = Path(__file__).parents[2]
_LIBRARIES = tuple(
    os.path.realpath(path)
    for path in (*sysconfig.get_paths().values(), sys.prefix, sys.base_prefix, *sys.path, _OURS / "ioi_bench")
    if path
)
_SYSTEM = ("/proc/self/", "/sys/", "/dev/null", "/etc/localtime", "/usr/share/zoneinfo")


class Hang(BaseException):
    """The reader took longer than `HANGS`; no `Exception`, so that no reader takes it for damage."""


@dataclass
class Seen:
    """What one reading did.

    Attributes:
        faults: what it must not have done; empty for a sound reader.
        error: our error, where it ended with one.
        held, took: peak of the resident set above where it began, in bytes; seconds.
    """

    faults: list[str] = field(default_factory=list)
    error: IoiBenchError | None = None
    held: int = 0
    took: float = 0.0


class _Hook:
    """The process's only audit hook: it cannot be removed, so it is switched."""

    def __init__(self) -> None:
        self.folder: str | None = None
        self.writes = False
        self.faults: list[str] = []
        sys.addaudithook(self)

    def __call__(self, event: str, args: tuple) -> None:
        if self.folder is None:
            return
        folder, self.folder = self.folder, None  # what is done here is not the reader's
        try:
            fault = self._fault(event, args, folder)
            if fault:
                self.faults.append(fault)
        finally:
            self.folder = folder

    def _fault(self, event: str, args: tuple, folder: str) -> str | None:
        if event in _WRITES | {"open"} and _passing(args[0]):
            return None
        if event in _RUNS or event.startswith("socket."):
            return f"it ran {event}{args[:2]!r}"
        if event in _WRITES:
            path = os.path.realpath(os.path.join(folder, os.fsdecode(args[0])))  # noqa: PTH118 (may be bytes)
            if self.writes and _below(path, (folder,)):
                return None
            return f"it wrote: {event}{args[:2]!r}"
        if event == "exec":
            name = getattr(args[0], "co_filename", "?")
            return None if name.startswith("<") or _below(name, _LIBRARIES) else f"it ran code of {name!r}"
        if event == "open" and isinstance(args[0], (str, bytes)):
            path = os.path.realpath(os.fsdecode(args[0]))
            writing = args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and path != "/dev/null"
            if writing and not (self.writes and _below(path, (folder,))):
                return f"it opened {path!r} to write"
            if not _below(path, (folder, *_LIBRARIES)) and not path.startswith((*_SYSTEM, f"/proc/{os.getpid()}/")):
                return f"it opened {path!r}, outside the folder"
        return None


def _passing(path: object) -> bool:
    """An empty folder that `tempfile` makes and takes away: torch asks so for a place when it is first used."""
    text = os.fsdecode(path) if isinstance(path, (str, bytes)) else ""
    return os.path.dirname(text) == tempfile.gettempdir() and len(os.path.basename(text)) == 11  # noqa: PTH119, PTH120


def _below(path: str, folders: tuple[str, ...]) -> bool:
    return any(path == folder or path.startswith(folder.rstrip("/") + "/") for folder in folders)


_HOOK: _Hook | None = None


def _hook() -> _Hook:
    global _HOOK
    if _HOOK is None:
        _HOOK = _Hook()
    return _HOOK


class Outside:
    """A folder beside the input that no reader may open a file of, whoever opens it: Python, Rust or C++."""

    def __init__(self, folder: Path) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.inotify_init1(os.O_NONBLOCK)
        folder.mkdir(parents=True, exist_ok=True)
        access, opened = 0x1, 0x20
        if self._fd < 0 or self._libc.inotify_add_watch(self._fd, os.fsencode(folder), access | opened) < 0:
            raise OSError(ctypes.get_errno(), "inotify is needed to see what is opened outside")
        self.folder = folder

    def opened(self) -> list[str]:
        """Names of the files that were opened there since the last call."""
        names = []
        with contextlib.suppress(BlockingIOError):
            while True:
                data = os.read(self._fd, 1 << 16)
                while data:
                    length = int.from_bytes(data[12:16], sys.byteorder)
                    name = data[16 : 16 + length].rstrip(b"\0")
                    names += [os.fsdecode(name)] if name else []  # without a name: the folder itself was listed
                    data = data[16 + length :]
        return names


def watch(
    read: Callable[[Path], object], folder: Path, outside: Outside, canary: Path, *, reserve: bool, writes: bool
) -> Seen:
    """Run a reader on the input in a folder, and see what it does.

    Args:
        read: the reader.
        folder: which it may open files of.
        outside: which it may not.
        canary: made by the code that hostile inputs carry.
        writes: whether it may write into the folder.
        reserve: bound the address space, too; not where the input is larger than its blocks on the disk.
    """
    seen, hook = Seen(), _hook()
    size = sum(path.lstat().st_size for path in folder.rglob("*") if path.lstat().st_size < 2**30)
    most = ROOMY + PER_BYTE * size
    outside.opened()
    before = _peak(reset=True)
    hook.faults = []
    started = time.process_time()
    try:
        with _limits(RESERVED + PER_BYTE * size if reserve else None):
            hook.folder, hook.writes = os.path.realpath(folder), writes
            try:
                read(folder)
            finally:
                hook.folder = None
    except PluginError as error:
        seen.faults.append(f"the loader broke: {error}")
    except IoiBenchError as error:
        seen.error = error
        seen.faults += [
            f"it asked for more memory than there may be: {one!r}" for one in _chain(error) if _starved(one)
        ]
        seen.faults += _unprintable(error)
    except Hang:
        seen.faults.append(f"it hung: more than {HANGS:g} s")
    except Exception as error:
        seen.faults.append(f"{type(error).__name__}: {str(error)[:300]}{_place(error)}")
    seen.took = time.process_time() - started
    if seen.took > SLOW:
        seen.faults.append(f"it took {seen.took:.0f} s")
    seen.held = max(0, _peak() - before)
    seen.faults += hook.faults
    seen.faults += [f"it opened {name!r} outside the folder" for name in outside.opened()]
    if seen.held > most:
        seen.faults.append(f"it held {seen.held / MB:.0f} MB, at most {most / MB:.0f} are allowed")
    if canary.exists():
        canary.rmdir()
        seen.faults.append("code in the input ran")
    return seen


@contextlib.contextmanager
def _limits(reserved: int | None) -> Iterator[None]:
    """No more address space than now and so much, and no more time than `HANGS`."""

    def ring(*_: object) -> None:
        raise Hang

    kept = signal.signal(signal.SIGALRM, ring)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    if reserved is not None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + reserved, hard))
    signal.setitimer(signal.ITIMER_REAL, HANGS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.signal(signal.SIGALRM, kept)


def _peak(*, reset: bool = False) -> int:
    if reset:
        Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak begins anew
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no VmHWM: Linux is needed to measure memory")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _starved(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or "allocate memory" in str(error).lower()


def _unprintable(error: IoiBenchError) -> list[str]:
    """A message that a terminal cannot show is a crash of the command line, and one of a megabyte is none."""
    try:
        long = len(str(error).encode()) > 64 << 10
    except UnicodeEncodeError as wrong:
        return [f"its message cannot be printed: {wrong}"]
    return ["its message has more than 64 KB"] if long else []


def _place(error: BaseException) -> str:
    trace, last = error.__traceback__, ""
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if "/ioi_bench" in name:
            last = f" at {Path(name).name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return last
