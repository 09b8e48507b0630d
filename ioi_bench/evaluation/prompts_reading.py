"""Reading ``prompts.parquet`` from somebody else: sizes, columns and rows are compared with what must be there first.

Nothing that the file says of itself decides how much is read: the caller's `Layout` does. Strings come as their
distinct values and an index a row, so that one long string that every row repeats takes no more memory than it takes
in the file; only where no string has more than 100 bytes, and a row group no more than 4,096 different ones in a
column, are they written out row by row (`read_columns`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ioi_bench.bounded import stays_inside
from ioi_bench.errors import InputError
from ioi_bench.evaluation.faithful import KEPT, REMOVED
from ioi_bench.evaluation.prompts_file import (
    FORMAT,
    FORMAT_KEY,
    IDENTITY,
    PLACES,
    TRUTHS,
    Block,
    Layout,
    schema,
    to_tables,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from ioi_bench.evaluation.study import Tables
    from ioi_bench.task import Prompt

__all__ = ["most_bytes", "opened", "read_columns", "read_prompts"]

TEXTS = (*PLACES, "dictionary", "method", "pattern", "io", "s")
"""Columns of strings."""

_WIDTH = 256
"""Bytes a row may have, and may say that it has when unpacked: the numbers of all columns have 170, mostly null."""

_OVERHEAD = 1 << 20
_MAX_THRIFT = 1 << 22  # of one string or list in the footer

_LONGEST, _MOST_STRINGS = 100, 4096  # of names, sites and methods; ioi-bench's own are under 40 bytes

_UNDEFINED = {"weight", "moved", "weight_added", "weight_removed_paper", "weight_added_paper"}
_UNDEFINED |= {*KEPT.values(), *REMOVED.values()}
"""Columns in which a value may be undefined; in those of plugins' metrics, too."""


def most_bytes(layout: Layout) -> int:
    """How large a file of that layout can be."""
    return _OVERHEAD + _WIDTH * len(layout.blocks) * layout.n_prompts


def read_prompts(path: Path, layout: Layout, prompts: Sequence[Prompt]) -> Tables:
    """The tables in a file.

    Args:
        path: ``prompts.parquet``.
        layout: which rows it must have, and in which order.
        prompts: those that it must be about.

    Raises:
        InputError: it is missing, damaged, too large, of another format, or its rows or columns are others; also where
            a value is missing, infinite, or undefined in a column that always is.
    """
    if not stays_inside(path, path.parent):
        raise InputError(f"{str(path)!r} is a link that leaves its folder: put the table itself there")
    with _as_input_errors(path):
        _check_size(path, layout)
    with _as_input_errors(path), opened(path) as file:
        _check_form(path, layout, file)
        _check_keys(path, layout, prompts, file)
        blocks, n = layout.blocks, layout.n_prompts
        columns = {
            name: _values(path, name, blocks, n, read_columns(path, file, [name])[name]) for name in layout.results
        }
    return to_tables(layout, columns)


@contextmanager
def _as_input_errors(path: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:  # a damaged file shows as any of these
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{str(path)!r} cannot be read as a table of prompts: {reason[:200]}") from error


def _check_size(path: Path, layout: Layout) -> None:
    size, most = path.stat().st_size, most_bytes(layout)
    if not path.is_file():  # Arrow would wait for a pipe for ever
        raise InputError(f"{str(path)!r} is not a regular file")
    if size > most:
        raise InputError(f"{str(path)!r} has {size:,} bytes; the card's results have {most:,} at most")


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A file for `read_columns`; whatever columns it has."""
    import pyarrow.parquet as pq

    limits = {"thrift_string_size_limit": _MAX_THRIFT, "thrift_container_size_limit": _MAX_THRIFT}
    with pq.ParquetFile(path, **limits) as file:
        metadata = file.metadata
    there = {metadata.schema.column(i).path for i in range(metadata.num_columns)}
    # Arrow refuses the name of a column that is not there with a KeyError.
    texts = [name for name in TEXTS if name in there]
    with pq.ParquetFile(path, metadata=metadata, read_dictionary=texts, **limits) as file:
        yield file


def read_columns(path: Path, file: Any, names: Sequence[str]) -> pa.Table:
    """Columns of a file from `opened`; those of strings are dictionary-encoded.

    Raises:
        InputError: a column is neither of strings, if it is one of `TEXTS`, nor else of numbers or truths; it has more
            or fewer values than rows; a string has more than 100 bytes, or there are more than 4,096 different ones.
    """
    import pyarrow.compute as pc

    _check_columns(path, file, names)
    table = file.read(columns=list(names), use_threads=False)
    for name in set(names) & set(TEXTS):
        for chunk in table[name].chunks:
            longest, n = pc.max(pc.binary_length(chunk.dictionary)).as_py() or 0, len(chunk.dictionary)
            if longest > _LONGEST or n > _MOST_STRINGS:
                raise InputError(
                    f"the column {name!r} of {str(path)!r} has {n:,} different strings of up to {longest:,} bytes; at "
                    f"most {_MOST_STRINGS:,} of {_LONGEST} bytes are read"
                )
    return table


def _check_columns(path: Path, file: Any, names: Sequence[str]) -> None:
    """That reading columns takes a bounded number of bytes a row."""
    import pyarrow as pa

    for name in names:
        kind = file.schema_arrow.field(name).type
        text = pa.types.is_dictionary(kind) and pa.types.is_string(kind.value_type)
        if not (text if name in TEXTS else pa.types.is_primitive(kind)):
            raise InputError(f"the column {name!r} of {str(path)!r} is of type {str(kind)[:100]}, which it never is")
    groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
    values = [(group.column(i).num_values, group.num_rows) for group in groups for i in range(group.num_columns)]
    if sum(group.num_rows for group in groups) != file.metadata.num_rows or any(n != rows for n, rows in values):
        raise InputError(f"{str(path)!r} contradicts itself about how many rows it has")


def _check_form(path: Path, layout: Layout, file: Any) -> None:
    import pyarrow as pa

    metadata, wanted = file.metadata, schema(layout.metrics)
    written = (metadata.metadata or {}).get(FORMAT_KEY.encode(), b"1").decode(errors="replace")
    if written != FORMAT:
        raise InputError(
            f"{str(path)!r} is in format {written[:20]!r}, this version of ioi-bench reads {FORMAT}: evaluate again "
            "with this version"
        )
    found = file.schema_arrow
    if found.names != wanted.names:
        odd = sorted(set(found.names) ^ set(wanted.names)) or ["their order"]
        raise InputError(f"the columns of {str(path)!r} are not those of an evaluation: {', '.join(odd[:5])}")
    for own, right in zip(found, wanted, strict=True):
        kind = own.type.value_type if pa.types.is_dictionary(own.type) else own.type
        if kind != right.type:
            raise InputError(f"the column {own.name!r} of {str(path)!r} is of type {kind}, expected {right.type}")
    rows = len(layout.blocks) * layout.n_prompts
    if metadata.num_rows != rows:
        raise InputError(
            f"{str(path)!r} has {metadata.num_rows:,} rows; the card's cells, methods, budgets and "
            f"{layout.n_prompts:,} prompts make {rows:,}"
        )
    unpacked = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    if unpacked > most_bytes(layout):
        raise InputError(f"{str(path)!r} unpacks to {unpacked:,} bytes; its rows have {most_bytes(layout):,} at most")


def _check_keys(path: Path, layout: Layout, prompts: Sequence[Prompt], file: Any) -> None:
    """Every row is about the edit, cross-section or site and the prompt that belong in its place."""
    import pyarrow as pa

    blocks, n = layout.blocks, layout.n_prompts
    of_block, of_prompt = np.repeat(np.arange(len(blocks)), n), np.tile(np.arange(n), len(blocks))
    wanted: dict[str, tuple[list[Any], np.ndarray]] = {
        name: ([getattr(block, name) for block in blocks], of_block)
        for name in (*PLACES, "dictionary", "method", "budget")
    }
    wanted["prompt"] = list(range(n)), of_prompt
    wanted |= {name: ([getattr(prompt, name) for prompt in prompts], of_prompt) for name in IDENTITY}
    for name, (values, index) in wanted.items():
        found = read_columns(path, file, [name])[name].combine_chunks()
        if name in TEXTS:
            found = found.dictionary_decode()
        right = pa.array(values, type=found.type).take(pa.array(index))
        if not found.equals(right):
            row = _first_difference(found, right)
            raise InputError(
                f"row {row:,} of {str(path)!r} has {name} = {found[row].as_py()!r}, where "
                f"{right[row].as_py()!r} belongs (prompt {of_prompt[row]} of the split)"
            )


def _first_difference(found: pa.Array, right: pa.Array) -> int:
    import pyarrow.compute as pc

    same = pc.fill_null(pc.equal(found, right), False)
    both_null = pc.and_(found.is_null(), right.is_null())
    return int(np.argmin(pc.or_(same, both_null).to_numpy(zero_copy_only=False)))


def _values(path: Path, name: str, blocks: Sequence[Block], n: int, column: Any) -> np.ndarray:
    """A column of results, ``[block, prompt]``; NaN in the blocks that lack it."""
    has = np.array([name in block.columns for block in blocks])
    null = np.asarray(column.is_null()).reshape(len(blocks), n)
    if (null != ~has[:, None]).any():
        raise _bad(path, name, blocks, null != ~has[:, None], "is missing, or is where none belongs")
    if name in TRUTHS:
        column = column.cast("float32")
    values = np.array(column.to_numpy(), dtype=np.float32).reshape(len(blocks), n)
    if (infinite := np.isinf(values)).any():
        raise _bad(path, name, blocks, infinite, "is infinite")
    undefined = np.isnan(values) & has[:, None]
    if name not in _UNDEFINED and not name.startswith("metrics.") and undefined.any():
        raise _bad(path, name, blocks, undefined, "is NaN, which it never is")
    return values


def _bad(path: Path, name: str, blocks: Sequence[Block], where: np.ndarray, what: str) -> InputError:
    at, prompt = (int(i[0]) for i in np.nonzero(where))
    block = blocks[at]
    place = block.cell or block.cross_section or block.site
    return InputError(
        f"in {str(path)!r} a value of {name!r} {what}: {place}, {block.dictionary}, {block.method} {block.budget}, "
        f"prompt {prompt}"
    )
