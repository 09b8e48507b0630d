"""A console on which no figure of a table is cut, however narrow it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
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

    A column that does not wrap needs its longest line, another one at most 20 columns of the terminal. One that would
    take more than half of them wraps all the same. Nothing is cut, and no figure of at most 20 characters is folded.

    Args:
        width: columns of the terminal.
    """
    first, *others = (_Fitted(column, table, width) for column in table.columns)
    group = [first]
    for column in others:
        if len(group) > 1 and _needs([*group, column], table) > width:
            yield _with(table, group)
            group = [first]
        group.append(column)
    yield _with(table, group)


class _Fitted:
    """A column, how wide it has to be, and whether it stays whole."""

    def __init__(self, column: Column, table: Table, width: int) -> None:
        texts = [column.header, *column.cells] if table.show_header else list(column.cells)
        longest = max((cell_len(line) for text in texts for line in str(text).split("\n")), default=0)
        self.column = column
        _, right, _, left = table.padding
        self.whole = column.no_wrap and longest <= (width - 3) // 2 - left - right  # 3: between two columns, and edges
        self.width = longest if self.whole else min(longest, _TEXT if column.overflow == "fold" else _FOLDED)
        self.width = column.width or self.width


def _needs(columns: list[_Fitted], table: Table) -> int:
    _, right, _, left = table.padding
    between = len(columns) - 1 + 2 * table.show_edge if table.box else 0
    edges = 0 if table.pad_edge else left + right
    return sum(column.width + left + right for column in columns) + between - edges


def _with(table: Table, columns: list[_Fitted]) -> Table:
    """The same table, of these columns alone; a word that is too long is folded, not cut."""
    made = [replace(one.column.copy(), no_wrap=one.whole, overflow="fold") for one in columns]
    part = Table(*made) if table.show_header else Table.grid(*made)
    for name in ("box", "padding", "show_edge", "pad_edge", "collapse_padding", "title", "title_justify"):
        setattr(part, name, getattr(table, name))
    for row, *cells in zip(table.rows, *(one.column.cells for one in columns), strict=True):
        part.add_row(*cells, style=row.style)
    return part
