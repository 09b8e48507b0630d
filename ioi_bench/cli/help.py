r"""Help texts that fit any terminal: paragraphs flow, and examples do not fold at 80 columns.

Typer prints a docstring's paragraphs, but for the first, with the line breaks of the source; ``\b`` marks what must
keep its lines.
"""

from __future__ import annotations

import re
from typing import Any

__all__ = ["reflow", "reflowed"]

_WIDTH = 78
"""What 80 columns leave between the margins."""

_KEPT = "\b\n"
_BEFORE_OPTION = re.compile(r" (?=--\w|\| )")


def reflow(command: Any) -> None:
    """Reflow the help of a command and, of a group, of all below it."""
    command.help = reflowed(command.help or "")
    for one in getattr(command, "commands", {}).values():
        reflow(one)


def reflowed(text: str) -> str:
    r"""Each paragraph on one line, which the terminal folds; those marked with ``\b`` line by line.

    >>> reflowed("In short.\n\nOne\nparagraph.\n\n\b\nExamples:\n  ioi-bench task show")
    'In short.\n\nOne paragraph.\n\nExamples:\n  ioi-bench task show'
    """
    first, *others = text.split("\n\n")
    told = [_kept(one) if one.startswith(_KEPT) else " ".join(one.split()) for one in others]
    if len(others) == 1 and others[0].startswith(_KEPT):
        told = [_KEPT + told[0]]  # Typer takes the indent of all lines but the first from what is below the first line
    return "\n\n".join([" ".join(first.split()), *told])


def _kept(paragraph: str) -> str:
    return "\n".join(_broken(line) for line in paragraph.removeprefix(_KEPT).split("\n"))


def _broken(line: str) -> str:
    """A long command line, broken as a shell reads it: before its last options, with a backslash."""
    if len(line) <= _WIDTH:
        return line
    places = [match.start() for match in _BEFORE_OPTION.finditer(line) if match.start() <= _WIDTH - 2]
    return line if not places else f"{line[: places[-1]]} \\\n      {line[places[-1] + 1 :]}"
