"""The command line: `ioi-bench`. No logic here, only reading options, talking and printing.

stdout carries data, stderr carries talk (progress, warnings, errors). Exit codes: 0 done, 1 failed, 2 bad input,
130 interrupted.
"""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line; Ctrl-C while Python is still importing ends it quietly too."""
    try:
        from ioi_bench.cli.app import app

        app()
    except KeyboardInterrupt:
        sys.exit(130)
