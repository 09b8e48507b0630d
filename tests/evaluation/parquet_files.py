"""Files of prompts as nobody's evaluation writes them, and the memory that reading one takes."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def repeat_string(path: Path, column: str, text: str) -> None:
    """Let every row have one string; the file holds it once."""
    table = pq.read_table(path)
    index = pa.array(np.zeros(len(table), dtype=np.int32))
    repeated = pa.DictionaryArray.from_arrays(index, pa.array([text]))
    table = table.set_column(table.column_names.index(column), column, repeated)
    # Without arrow's own schema the column is one of plain strings, as in an evaluation's file.
    with pq.ParquetWriter(path, table.schema, compression="zstd", store_schema=False) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({key.decode(): value.decode() for key, value in table.schema.metadata.items()})


@contextmanager
def bounded_memory(most: int) -> Iterator[None]:
    """What arrow, and what Python and numpy allocate within stays below so many bytes."""
    before, pool = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
    pa.set_memory_pool(pool)
    tracemalloc.start()
    try:
        yield
        python = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(before)
    assert 0 < pool.max_memory() < most
    assert python < most
