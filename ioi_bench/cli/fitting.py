"""A console on which no figure of a table is cut, however narrow it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Column, Table

__all__ = ["FittingConsole", "parts"]

_FOLDED = 20
"""What a column that may wrap needs at least: a figure with its interval is not longer."""

_TEXT = 12
"""The same for a column of texts, whose words may be folded (``overflow="fold"``)."""


class FittingConsole(Console):
    """Prints a table that is too wide in parts, one below the other, each with the first column."""

    def print(self, *objects: Any, **settings: Any) -> None:
        """As `Console.print`; a table that is printed alone, in parts."""
        if len(objects) != 1 or not isinstance(objects[0], Table):
            super().print(*objects, **settings)
            return
        for number, part in enumerate(parts(objects[0], self.width)):
            super().print(*([""] if number else []), part, sep="\n", **settings)


def parts(table: Table, width: int) -> Iterator[Table]:
    """The table, or its columns in turn, where they do not fit beside each other: as many at once as do.

    A column that does not wrap needs its longest line, another one at most 20 columns of the terminal; so does the
    first where it is longer than half of them. Nothing is cut, and no figure of at most 20 characters is folded.

    Args:
        width: columns of the terminal.
    """
    first, *others = table.columns
    wraps = _longest(first, table) > width // 2
    group = [first]
    for column in others:
        if len(group) > 1 and _needs([*group, column], table, wraps) > width:
            yield _with(table, group, wraps)
            group = [first]
        group.append(column)
    yield _with(table, group, wraps)


def _needs(columns: list[Column], table: Table, first_wraps: bool) -> int:
    _, right, _, left = table.padding
    between = len(columns) - 1 + 2 * table.show_edge if table.box else 0
    edges = 0 if table.pad_edge else left + right
    widths = [
        _width(column, table, column.no_wrap and not (index == 0 and first_wraps))
        for index, column in enumerate(columns)
    ]
    return sum(widths) + len(columns) * (left + right) + between - edges


def _width(column: Column, table: Table, whole: bool) -> int:
    longest = _longest(column, table)
    return longest if whole else min(longest, _TEXT if column.overflow == "fold" else _FOLDED)


def _longest(column: Column, table: Table) -> int:
    texts = [column.header, *column.cells] if table.show_header else list(column.cells)
    return max((cell_len(line) for text in texts for line in str(text).split("\n")), default=0)


def _with(table: Table, columns: list[Column], first_wraps: bool) -> Table:
    """The same table, of these columns alone; a word that is too long is folded, not cut."""
    part = Table() if table.show_header else Table.grid()
    for name in ("box", "padding", "show_edge", "pad_edge", "collapse_padding", "title", "title_justify"):
        setattr(part, name, getattr(table, name))
    for index, column in enumerate(columns):
        whole = column.no_wrap and not (index == 0 and first_wraps)
        part.add_column(column.header, justify=column.justify, no_wrap=whole, overflow="fold")
    for row, *cells in zip(table.rows, *(column.cells for column in columns), strict=True):
        part.add_row(*cells, style=row.style)
    return part
