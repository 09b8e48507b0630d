"""Peak resident memory of this process."""

from __future__ import annotations

import resource
from pathlib import Path


def peak_bytes() -> int:
    """Since the process began. On Linux from /proc: ``ru_maxrss`` also counts what a parent held when it forked."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
