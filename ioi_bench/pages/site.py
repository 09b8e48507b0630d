"""A folder of submissions, built into a static site.

::

    index.html, compare.html    suites/<slug>.html    data/<slug>.js    assets/

Pages link by relative paths and load scripts, never data: the site works from a file as from a server. What did not
change since this `Site` built it last is not read again, and a file that would be the same is not written.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from ioi_bench.atomic import storage_errors
from ioi_bench.errors import InputError, IoiBenchError
from ioi_bench.evaluation.data import Progress, silent
from ioi_bench.leaderboard.results import (
    CARD,
    PROMPTS,
    SUBMISSION,
    VERDICT,
    entry_key,
    find_entries,
    leaderboard_of,
    read_entry,
)
from ioi_bench.leaderboard.seasons.standing import season_files
from ioi_bench.pages.chart import vega_script
from ioi_bench.pages.lines import compared_record
from ioi_bench.pages.render import licences, linked, render, script_json, static
from ioi_bench.pages.rows import Row, row_of
from ioi_bench.pages.seasons import season_lines
from ioi_bench.pages.shown import of_entry
from ioi_bench.pages.tables import Table, tables_of
from ioi_bench.uncertainty.draws import read_draws

__all__ = ["Built", "Site", "Stamp"]

_MARK = "site.json"
_FEW = 40  # so many are built before other processes have even begun
_MOST_PROCESSES = 8
_LINK = "suites/{slug}.html"
_SPACE = """---
title: ioi-bench leaderboard
sdk: static
app_file: index.html
pinned: false
---
The leaderboard of ioi-bench, as `ioi-bench leaderboard build` made it.
"""

Stamp = tuple[tuple[int, int] | None, ...]
"""Time and size of each file of a submission, and of those of the seasons; None for one that is not there."""


@dataclass(frozen=True)
class Built:
    """What a build did.

    Attributes:
        suites: how many stand on the site.
        refuted: how many of them were evaluated again with another result.
        contradicted: how many others are of files that do not agree with each other.
        unreadable: folders that could not be read, and why.
        fresh: how many were read anew.
    """

    suites: int
    refuted: int
    contradicted: int
    unreadable: tuple[tuple[str, str], ...]
    fresh: int
    seconds: float


class Site:
    """A site that can be built again and again.

    Args:
        results: the folder that holds ``<track>/<org>__<name>/<hash>``.
        out: where the site goes: a folder that is new, empty, or a site already.
        live: pages look whether they were built anew (for `ioi_bench.pages.serve`).
        cache_dir: where the script of the figures is kept between runs.
    """

    def __init__(self, results: Path, out: Path, *, live: bool = False, cache_dir: Path | None = None) -> None:
        self.results, self.out, self.live, self.cache_dir = results, out, live, cache_dir
        self._known: dict[Path, tuple[Stamp, Row | str]] = {}

    def stamps(self) -> dict[Path, Stamp]:
        """What tells whether a submission changed: time and size of each file that its page is made of."""
        return {folder: _stamp(folder) for folder in find_entries(self.results)}

    def build(self, progress: Progress | None = None) -> Built:
        """Write the site; a submission that cannot be read is listed, and does not stop the others.

        Raises:
            InputError: there are no results, or ``out`` holds something else.
            StorageError: ``out`` cannot be written.
        """
        started, tell = time.perf_counter(), progress or silent
        stamps = self.stamps()
        self._claim()
        fresh = [folder for folder, stamp in stamps.items() if self._known.get(folder, (None,))[0] != stamp]
        for done, (folder, found) in enumerate(self._digested(fresh), start=1):
            self._known[folder] = stamps[folder], found
            tell("suites", done, len(fresh))
        self._known = {folder: self._known[folder] for folder in stamps}
        rows = [found for _, found in self._known.values() if isinstance(found, Row)]
        bad = [(self._below(path), found) for path, (_, found) in self._known.items() if isinstance(found, str)]
        tell("pages", 0, 1)
        self._write_shared(rows, bad)
        self._clear({row.slug for row in rows})
        tell("pages", 1, 1)
        refuted = sum(row.badge == "refuted" for row in rows)
        contradicted = sum(bool(row.contradicted) for row in rows)
        return Built(len(rows), refuted, contradicted, tuple(bad), len(fresh), time.perf_counter() - started)

    def _below(self, folder: Path) -> str:
        return folder.relative_to(self.results).as_posix()

    def _claim(self) -> None:
        """Never mix with, or delete, what is not ours."""
        taken = self.out.exists() and (not self.out.is_dir() or any(self.out.iterdir()))
        if taken and not (self.out / _MARK).is_file():
            raise InputError(
                f"{str(self.out)!r} exists and is not a site of ioi-bench: choose another folder for --out"
            )
        _put(self.out / _MARK, b'{"made_by": "ioi-bench leaderboard build"}\n')

    def _digested(self, folders: Sequence[Path]) -> Iterator[tuple[Path, Row | str]]:
        work = partial(_digest, out=self.out, live=self.live)
        processes = min(os.cpu_count() or 1, _MOST_PROCESSES)
        if len(folders) <= _FEW or processes < 2:
            yield from zip(folders, map(work, folders), strict=True)
            return
        with _pool(processes) as pool:
            yield from zip(folders, pool.map(work, folders, chunksize=4), strict=True)

    def _write_shared(self, rows: Sequence[Row], unreadable: Sequence[tuple[str, str]]) -> None:
        tables = tables_of(rows, _LINK, compare=True, badges=True)
        apart = sorted((row for row in rows if row.apart), key=lambda row: row.name.lower())
        top = linked("", live=self.live)
        index = render(
            "index",
            top,
            tables=tables,
            total=sum(len(table.lines) for table in tables),
            architectures=sorted({row.architecture for row in rows if not row.apart}),
            refuted=[row for row in apart if row.badge == "refuted"],
            contradicted=[row for row in apart if row.contradicted],
            unreadable=unreadable,
        )
        files = {
            "index.html": index,
            "compare.html": render("compare", top),
            "data/index.js": f"ioiBench.suites({script_json(_listed(tables, rows))});\n".encode(),
            "assets/style.css": static("style.css").encode(),
            "assets/boot.js": static("boot.js").encode(),
            "assets/page.js": static("page.js").encode(),
            "assets/datatables.js": static("vendor/datatables.min.js").encode(),
            "assets/vega.js": vega_script(self.cache_dir).encode(),
            "assets/LICENSES.txt": licences().encode(),
            ".nojekyll": b"",  # GitHub Pages: serve the files as they are
            "README.md": _SPACE.encode(),  # a static Space reads its settings here
        }
        if self.live:
            files |= {"assets/live.js": static("live.js").encode(), "live.txt": f"{time.time_ns()}\n".encode()}
        for name, data in files.items():
            _put(self.out / name, data)

    def _clear(self, slugs: set[str]) -> None:
        """Take away the pages of suites that are gone."""
        kept = {"index", *slugs}
        for path in (*self.out.glob("suites/*.html"), *self.out.glob("data/*.js")):
            if path.stem not in kept:
                path.unlink()


def _listed(tables: Sequence[Table], rows: Sequence[Row]) -> list[list[str]]:
    """All suites for the page that compares: slug, name, where it stands."""
    found = [[row.slug, row.name, table.title] for table in tables for row in table.rows]
    return found + [[row.slug, row.name, "not ranked" if row.contradicted else "refuted"] for row in rows if row.apart]


@contextmanager
def _pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    """Processes of one thread each; none is left behind, whatever ends the work."""
    pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_one_thread)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def _digest(folder: Path, out: Path, live: bool) -> Row | str:
    """Write a suite's own files, and give its row; or the reason why it cannot be shown."""
    try:
        shown = of_entry(read_entry(folder))
    except IoiBenchError as error:
        return str(error).replace(str(folder), folder.name)
    draws, contradicted = None, ""
    try:
        draws = read_draws(shown.card, shown.folder)
    except InputError as error:
        if shown.badge == "self-reported":  # the files of others are those that a verdict names by their hashes
            contradicted = str(error).replace(str(folder), folder.name)
    top = linked("../", live=live)
    page = render(
        "suite",
        top,
        root="../",
        home="../index.html",
        shown=shown,
        seasons=list(season_lines(shown)),
        contradicted=contradicted,
    )
    _put(out / "suites" / f"{shown.slug}.html", page)
    record = script_json(compared_record(shown, draws))
    _put(out / "data" / f"{shown.slug}.js", f"ioiBench.suite({record});\n".encode())
    return row_of(shown, draws, contradicted)


def _stamp(folder: Path) -> Stamp:
    def one(path: Path) -> tuple[int, int] | None:
        try:
            found = path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size

    own = (folder / name for name in (CARD, PROMPTS, SUBMISSION, VERDICT))
    return tuple(map(one, (*own, *season_files(leaderboard_of(folder), entry_key(folder)))))


def _put(path: Path, data: bytes) -> None:
    """Write a file whole, if it would change; not forced to the disk, for a site is built again in a minute."""
    with storage_errors("write", path):
        if path.is_file() and path.read_bytes() == data:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            temporary.write_bytes(data)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
