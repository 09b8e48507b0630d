"""``prompts.parquet``: results per prompt, written and read back whole.

Everything of a card that is a function of results per prompt can be computed again from it (`recompute`). Rows come in
blocks of one row a prompt, in the prompts' order. A column that does not belong to a block is null there; NaN is a
value that is not defined, such as a weight where the reconstruction has norm zero.

======================  ================================================================================
block                   columns that it has, beside what every row has
======================  ================================================================================
edit                    ``cell``, all of `COLUMNS` and ``metrics.NAME`` of plugins; the methods ``no-edit`` and
                        ``skyline`` come first
edit of random ones     ``cell``, `NULL_COLUMNS`; ``dictionary`` is ``random 0``, ``random 1``, …
cross-section           ``cross_section``, the logit differences and KL of `faithful.COLUMNS`; its method is
                        ``reconstruction``
site                    ``site``, `PARTS`; its method is ``reconstruction``
======================  ================================================================================

Every row has ``prompt`` (its index in the split), ``dictionary`` (``suite`` elsewhere), ``method``, ``budget`` and, of
the prompt, ``template``, ``prefix``, ``pattern``, ``io`` and ``s``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ioi_bench.evaluation import faithful
from ioi_bench.evaluation.runs import COLUMNS
from ioi_bench.evaluation.study import CellTable, FaithfulTable, Key, Tables
from ioi_bench.sites import Cell, Site

if TYPE_CHECKING:
    import pyarrow as pa

    from ioi_bench.task import Prompt

__all__ = [
    "FORMAT",
    "FORMAT_KEY",
    "IDENTITY",
    "NULL_COLUMNS",
    "PARTS",
    "PLACES",
    "RECONSTRUCTION",
    "SUITE",
    "TRUTHS",
    "Block",
    "Layout",
    "prompts_bytes",
    "schema",
    "to_tables",
]

FORMAT = "3"
"""Written into the file under the key ``ioi_bench_prompts``; files before it had the first kind of block alone."""

FORMAT_KEY = "ioi_bench_prompts"
SUITE, RECONSTRUCTION = "suite", "reconstruction"
PARTS = ("active", "residual", "variance")
"""Of one site: features that are active, ``‖a − â‖²`` and ``‖a − E[a]‖²``."""

NULL_COLUMNS = ("accuracy", "weight", "moved")
TRUTHS = ("accuracy", "accuracy_names")
PLACES = ("cell", "cross_section", "site")
IDENTITY = ("template", "prefix", "pattern", "io", "s")
"""What is said of each prompt."""

_REPEATED = ("distance_unedited", "n_removed", "n_added", "nan_share", "active")
"""Columns of few distinct values: a dictionary of them is smaller than their bytes are."""


@dataclass(frozen=True)
class Block:
    """Rows of one edit, of one cross-section or of one site: one row a prompt."""

    columns: tuple[str, ...]
    cell: str | None = None
    cross_section: str | None = None
    site: str | None = None
    dictionary: str = SUITE
    method: str = RECONSTRUCTION
    budget: int = 0


@dataclass(frozen=True)
class Layout:
    """Which blocks a file has.

    Attributes:
        n_prompts: rows of each block.
        edits: the edits of each cell.
        nulls: those that random dictionaries were given there; empty for cells without.
        seeds: random dictionaries a cell.
        sites: by cross-section, of all that have a cell.
        metrics: names of plugins' metrics.
    """

    n_prompts: int
    edits: Mapping[Cell, tuple[Key, ...]]
    nulls: Mapping[Cell, tuple[Key, ...]]
    seeds: int
    sites: Mapping[str, tuple[Site, ...]]
    metrics: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, tables: Tables, sites: Mapping[str, tuple[Site, ...]], metrics: tuple[str, ...], n_prompts: int
    ) -> Layout:
        """That of an evaluation's tables."""
        return cls(
            n_prompts=n_prompts,
            edits={cell: table.keys for cell, table in tables.cells.items()},
            nulls={cell: table.null_keys for cell, table in tables.cells.items()},
            seeds=max((table.null.shape[1] for table in tables.cells.values() if table.null_keys), default=0),
            sites={name: sites[name] for name in tables.faithful},
            metrics=metrics,
        )

    @property
    def measured(self) -> tuple[str, ...]:
        """Columns of the plugins' metrics."""
        return tuple(f"metrics.{name}" for name in self.metrics)

    @property
    def results(self) -> tuple[str, ...]:
        """All columns of results."""
        return (*COLUMNS, *self.measured, *faithful.COLUMNS, *PARTS)

    @property
    def distinct_sites(self) -> tuple[Site, ...]:
        """Each site once: what reconstructions are there is the same in every cross-section."""
        return tuple(dict.fromkeys(site for sites in self.sites.values() for site in sites))

    def of_cell(self, cell: Cell) -> Iterator[Block]:
        """The blocks of one cell: edits, then those of each random dictionary."""
        for method, budget in self.edits[cell]:
            yield Block((*COLUMNS, *self.measured), cell=str(cell), method=method, budget=budget)
        for seed in range(self.seeds if self.nulls[cell] else 0):
            for method, budget in self.nulls[cell]:
                yield Block(NULL_COLUMNS, cell=str(cell), dictionary=f"random {seed}", method=method, budget=budget)

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """All blocks in their order: cells, cross-sections, sites."""
        return (
            *(block for cell in self.edits for block in self.of_cell(cell)),
            *(Block(faithful.COLUMNS, cross_section=name) for name in self.sites),
            *(Block(PARTS, site=str(site)) for site in self.distinct_sites),
        )


def schema(metrics: Sequence[str] = ()) -> pa.Schema:
    """Columns and their types, for a file with these metrics of plugins."""
    import pandas as pd
    import pyarrow as pa

    layout = Layout(0, {}, {}, 0, {}, tuple(metrics))
    fields = [
        *((name, pa.string()) for name in (*PLACES, "dictionary", "method")),
        *((name, pa.int32()) for name in ("budget", "prompt")),
        *((name, pa.bool_() if name in TRUTHS else pa.float32()) for name in layout.results),
        *((name, pa.int32()) for name in ("template", "prefix")),
        *((name, pa.string()) for name in ("pattern", "io", "s")),
    ]
    found = pa.schema(fields)
    # For pandas: a column of truths that some rows lack would come back as objects.
    empty = found.empty_table().to_pandas().astype(dict.fromkeys(TRUTHS, pd.BooleanDtype()))
    known = pa.Schema.from_pandas(empty, preserve_index=False).metadata or {}
    return found.with_metadata({**known, FORMAT_KEY.encode(): FORMAT.encode()})


def prompts_bytes(layout: Layout, tables: Tables, prompts: Sequence[Prompt]) -> bytes:
    """The file: a row group for each cell, then one for the reconstructions."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer, found = BytesIO(), schema(layout.metrics)
    floats = [name for name in layout.results if name not in (*TRUTHS, *_REPEATED)]
    coded = [name for name in found.names if name not in floats and name not in TRUTHS]
    options: dict[str, Any] = {"compression": "zstd", "compression_level": 9}
    with pq.ParquetWriter(buffer, found, use_dictionary=coded, use_byte_stream_split=floats, **options) as writer:
        for blocks, values in _groups(layout, tables):
            columns = _columns(layout, blocks, values, prompts)
            arrays = [
                pa.array(data, type=field.type, mask=mask) for field, (data, mask) in zip(found, columns, strict=True)
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=found))
    return buffer.getvalue()


def _groups(layout: Layout, tables: Tables) -> Iterator[tuple[list[Block], list[Tensor]]]:
    """Blocks with their values, ``[prompt, column]`` each."""
    at = [COLUMNS.index(name) for name in NULL_COLUMNS]
    for cell, table in tables.cells.items():
        blocks = list(layout.of_cell(cell))
        nulls = table.null[..., at].flatten(1, 2).unbind(1) if table.null_keys else ()
        yield blocks, [*table.edits.unbind(1), *nulls]
    sections = [Block(faithful.COLUMNS, cross_section=name) for name in layout.sites]
    sites = {
        site: table.parts[:, i] for name, table in tables.faithful.items() for i, site in enumerate(layout.sites[name])
    }
    blocks = [*sections, *(Block(PARTS, site=str(site)) for site in layout.distinct_sites)]
    runs = [tables.faithful[name].runs for name in layout.sites]
    if blocks:
        yield blocks, [*runs, *(sites[site] for site in layout.distinct_sites)]


def _columns(
    layout: Layout, blocks: Sequence[Block], values: Sequence[Tensor], prompts: Sequence[Prompt]
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Each column of the schema, in its order, with a mask of what is null."""
    n = layout.n_prompts
    for name in (*PLACES, "dictionary", "method", "budget"):
        said = [getattr(block, name) for block in blocks]
        missing = np.repeat([one is None for one in said], n)
        yield np.repeat(np.array(["" if one is None else one for one in said]), n), missing
    yield np.tile(np.arange(n), len(blocks)), None
    for name in layout.results:
        has = np.array([name in block.columns for block in blocks])
        column = np.zeros((len(blocks), n), np.float32)
        for i, (block, of_block) in enumerate(zip(blocks, values, strict=True)):
            if has[i]:
                column[i] = of_block[:, block.columns.index(name)].numpy()
        yield (column != 0 if name in TRUTHS else column).reshape(-1), np.repeat(~has, n)
    for name in IDENTITY:
        yield np.tile(np.array([getattr(prompt, name) for prompt in prompts]), len(blocks)), None


def to_tables(layout: Layout, columns: Mapping[str, np.ndarray]) -> Tables:
    """Tables as they were before they were written.

    Args:
        layout: of the file.
        columns: every column of `Layout.results`, ``[block, prompt]``, NaN where a block lacks it.
    """

    def taken(names: Sequence[str], first: int, n: int) -> Tensor:
        return torch.from_numpy(np.stack([columns[name][first : first + n] for name in names], -1)).transpose(0, 1)

    at, cells = 0, {}
    for cell, keys in layout.edits.items():
        edits = taken((*COLUMNS, *layout.measured), at, len(keys))
        null_keys = layout.nulls[cell]
        nulls = taken(COLUMNS, at + len(keys), layout.seeds * len(null_keys))
        null = nulls.unflatten(1, (layout.seeds, len(null_keys))) if null_keys else edits[:, None, :0]
        cells[cell] = CellTable(keys, edits, null_keys, null)
        at += len(keys) + layout.seeds * len(null_keys)
    runs = {name: taken(faithful.COLUMNS, at + i, 1)[:, 0] for i, name in enumerate(layout.sites)}
    at += len(runs)
    parts = {site: taken(PARTS, at + i, 1)[:, 0] for i, site in enumerate(layout.distinct_sites)}
    return Tables(
        cells,
        {
            name: FaithfulTable(runs[name], torch.stack([parts[site] for site in sites], 1))
            for name, sites in layout.sites.items()
        },
    )
