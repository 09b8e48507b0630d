"""A console on which no figure of a table is cut, however narrow it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Column, Table

__all__ = ["FittingConsole", "parts"]

_FOLDED = 20
"""What a column that may fold needs at least."""


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
    first where it is longer than half of them. Nothing of at most 20 characters is folded, and nothing is cut.

    Args:
        width: columns of the terminal.
    """
    first, *others = table.columns
    if _width(first, table) > width // 2:
        first.no_wrap = False
    for column in table.columns:
        column.overflow = "fold"
    if _needs(table.columns, table) <= width:
        yield table
        return
    group: list[Column] = []
    for column in others:
        if group and _needs([first, *group, column], table) > width:
            yield _with(table, [first, *group])
            group = []
        group.append(column)
    yield _with(table, [first, *group])


def _needs(columns: list[Column], table: Table) -> int:
    _, right, _, left = table.padding
    between = len(columns) - 1 + 2 * table.show_edge if table.box else 0
    return sum(_width(column, table) for column in columns) + between - (0 if table.pad_edge else left + right)


def _width(column: Column, table: Table) -> int:
    texts = [column.header, *column.cells] if table.show_header else list(column.cells)
    longest = max((cell_len(line) for text in texts for line in str(text).split("\n")), default=0)
    _, right, _, left = table.padding
    return (longest if column.no_wrap else min(longest, _FOLDED)) + left + right


def _with(table: Table, columns: list[Column]) -> Table:
    """The same table, of these columns alone."""
    part = Table.grid() if not table.show_header else Table()
    for name in ("box", "padding", "show_edge", "pad_edge", "collapse_padding", "title", "title_justify"):
        setattr(part, name, getattr(table, name))
    for column in columns:
        part.add_column(column.header, justify=column.justify, no_wrap=column.no_wrap, overflow=column.overflow)
    for row, *cells in zip(table.rows, *(column.cells for column in columns), strict=True):
        part.add_row(*cells, style=row.style)
    return part
