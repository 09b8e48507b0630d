"""Finished rows of a selection, kept on disk so that work which was cut off goes on."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from ioi_bench.atomic import storage_errors, write_file
from ioi_bench.bounded import stays_inside

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from ioi_bench.evaluation.finished_run import RunMember

__all__ = ["COLUMNS", "Finished"]

COLUMNS = (
    "variant",
    "sparsity",
    "seed",
    "site",
    "epoch",
    "sha256",
    "l0",
    "dead_share",
    "l2",
    "fvu",
    "ld_recovered",
    "ld_reliable",
    "problem",
    "budget",
    "prompts",
    "train_prompts",
    "attribute",
    "method",
    "distance",
    "distance_relative",
)
"""Columns of a table of candidates.

What the dictionary is (``sha256``: of its weights), what it is like (``l2``: mean ``‖x − x̂‖²`` in the SAE's units;
``ld_recovered``: with its reconstructions alone, signed, and whether its denominator is large enough), why it could not
be judged, on what it was judged, and its mean edit distance for one attribute and method, absolute and as a share of
the unedited distance.
"""

_TEXTS = {"variant", "site", "sha256", "problem", "attribute", "method"}
_WHOLE = {"seed", "epoch", "budget", "prompts", "train_prompts"}
_LONGEST = 4096  # bytes of a text
_MOST_BYTES = 1 << 28  # millions of rows
_MOST_THRIFT = 1 << 22  # of one string or list in the footer
_SAVE_SECONDS = 30.0
_DICTIONARY = ["variant", "sparsity", "seed", "site", "epoch"]
_ORDER = ["variant", "seed", "site", "sparsity", "epoch"]
_KEY, _CHECKSUM = b"ioi_bench_candidates", b"ioi_bench_checksum"

Identity = tuple[str, float, int, str, int]
Row = tuple[Any, ...]
"""Values in the order of `COLUMNS`: a sweep has hundreds of thousands of rows, too many for dictionaries."""


class Finished:
    """Rows by dictionary, and the parquet file that keeps them: named by the hash of what they were made with.

    A file that is damaged (it has a checksum), of other columns or of another hash is not taken up. Safe to use from
    threads.
    """

    def __init__(self, folder: Path | None, key: str) -> None:
        self._path = None if folder is None else folder / f"candidates-{key[:16]}.parquet"
        self._key, self._lock, self._saved, self._unsaved = key, Lock(), time.monotonic(), False
        self._rows: dict[Identity, list[Row]] = {}
        if self._path is not None and self._path.is_file():
            self._read(self._path)

    def has(self, member: RunMember, epoch: int, content: str | None = None) -> bool:
        """Whether a dictionary is finished; and, where ``content`` is given, has these very weights."""
        rows = self._rows.get((member.variant, float(member.sparsity), member.seed, str(member.site), epoch))
        return rows is not None and content in (None, rows[0][COLUMNS.index("sha256")])

    @property
    def rows(self) -> Mapping[Identity, Sequence[Row]]:
        """By dictionary."""
        return self._rows

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Take all rows of some dictionaries; written to disk now and then.

        Raises:
            StorageError: the file cannot be written.
        """
        with self._lock:
            made: dict[Identity, list[Row]] = {}
            for row in rows:
                made.setdefault(_identity(row), []).append(tuple(row[name] for name in COLUMNS))
            self._rows |= made
            self._unsaved = True
            late = time.monotonic() - self._saved > _SAVE_SECONDS
        if late:
            self.save()

    def save(self) -> None:
        """Write the file, whole or not at all, if anything is new.

        Raises:
            StorageError: no permission, no space.
        """
        import pyarrow as pa
        from pyarrow import parquet

        with self._lock:
            if self._path is None or not self._unsaved:
                return
            columns = zip(*(row for rows in self._rows.values() for row in rows), strict=True)
            table = pa.table(dict(zip(COLUMNS, map(list, columns), strict=True)), schema=_schema())
            data = io.BytesIO()
            parquet.write_table(table.replace_schema_metadata(_signed(self._key, table.to_pylist())), data)
            write_file(self._path, data.getvalue())
            self._saved, self._unsaved = time.monotonic(), False

    def table(self, wanted: Collection[Identity], methods: Sequence[str]) -> pd.DataFrame:
        """The rows of these dictionaries, in the order that `candidates_table` states."""
        import pandas as pd

        table = pd.DataFrame([row for one in wanted for row in self._rows[one]], columns=list(COLUMNS))
        # attributes stay in the order of the site's cells, which is that of the rows
        place = table["method"].map({name: i for i, name in enumerate(methods)})
        rank = table.groupby([*_DICTIONARY, "method"]).cumcount()
        ordered = table.assign(rank=rank, place=place).sort_values([*_ORDER, "rank", "place"], kind="stable")
        return ordered.drop(columns=["rank", "place"]).reset_index(drop=True)

    def _read(self, path: Path) -> None:
        import pyarrow as pa

        if not stays_inside(path, path.parent):
            return
        with storage_errors("read", path):
            if path.stat().st_size > _MOST_BYTES:
                return
            data = path.read_bytes()
        try:
            rows = _rows(data, self._key)
        except (pa.ArrowException, OSError, ValueError):  # a damaged file shows as any of these
            return
        for row in rows:
            self._rows.setdefault(_identity(row), []).append(tuple(row[name] for name in COLUMNS))


def _rows(data: bytes, key: str) -> list[dict[str, Any]]:
    """Rows of a file; none where it is not one that `Finished` wrote for this key."""
    import pyarrow.compute as pc
    from pyarrow import parquet

    limits = {"thrift_string_size_limit": _MOST_THRIFT, "thrift_container_size_limit": _MOST_THRIFT}
    with parquet.ParquetFile(io.BytesIO(data), **limits) as file:
        metadata, schema = file.metadata, file.schema_arrow
    # Hardly a distance is there twice, so that a row takes its eight bytes.
    if metadata.num_rows > len(data) or not schema.remove_metadata().equals(_schema()):
        return []
    with parquet.ParquetFile(io.BytesIO(data), metadata=metadata, read_dictionary=sorted(_TEXTS), **limits) as file:
        table = file.read(use_threads=False)
    for name in _TEXTS:
        for chunk in table[name].chunks:
            if (pc.max(pc.binary_length(chunk.dictionary)).as_py() or 0) > _LONGEST:
                return []
    rows: list[dict[str, Any]] = table.to_pylist()
    signed = {name: (schema.metadata or {}).get(name) for name in (_KEY, _CHECKSUM)}
    return rows if signed == _signed(key, rows) else []


def _signed(key: str, rows: Sequence[Mapping[str, Any]]) -> dict[bytes, bytes | None]:
    """What a file says beside its rows: Parquet has no checksum that covers all of them."""
    checksum = hashlib.sha256()
    for row in rows:
        checksum.update(repr([row[name] for name in COLUMNS]).encode("utf-8", "surrogatepass"))
    return {_KEY: key.encode(), _CHECKSUM: checksum.hexdigest().encode()}


def _schema() -> pa.Schema:
    import pyarrow as pa

    def kind(name: str) -> pa.DataType:
        if name == "ld_reliable":
            return pa.bool_()
        return pa.string() if name in _TEXTS else pa.int64() if name in _WHOLE else pa.float64()

    return pa.schema([(name, kind(name)) for name in COLUMNS])


def _identity(row: Mapping[str, Any]) -> Identity:
    return (row["variant"], row["sparsity"], row["seed"], row["site"], row["epoch"])
