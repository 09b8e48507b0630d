"""The site on one's own machine, built anew whenever a submission changes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

from ioi_bench.errors import InputError, IoiBenchError
from ioi_bench.evaluation.data import Progress
from ioi_bench.pages.site import Built, Site, Stamp

__all__ = ["serve"]

_HOST = "127.0.0.1"
_LOOK_EVERY_SECONDS = 0.5
_SETTLES_SECONDS = 0.1  # the files of one submission are written one after the other


class _Handler(SimpleHTTPRequestHandler):
    """Quiet, and nothing is kept by the browser."""

    def log_message(self, *_: Any) -> None:
        """Requests are no news."""

    def end_headers(self) -> None:
        """Every answer is asked for anew."""
        self.send_header("Cache-Control", "no-store")
        super().end_headers()


def serve(
    results: Path,
    *,
    port: int = 0,
    ready: Callable[[str], None],
    told: Callable[[Built | IoiBenchError], None],
    stop: Event | None = None,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
) -> None:
    """Build into a temporary folder, serve it on this machine alone, and build again on every change until stopped.

    Args:
        port: 0 takes a free one.
        ready: given the address, once the first build is there.
        told: given what each build did, or why it failed; then the pages stay as they were.
        stop: ends it, as Ctrl-C does.

    Raises:
        InputError: there are no results, or the port is taken.
    """
    stop = stop or Event()
    with tempfile.TemporaryDirectory(prefix="ioi-bench-pages-") as folder:
        site = Site(results, Path(folder), live=True, cache_dir=cache_dir)
        before = site.stamps()
        try:
            server = ThreadingHTTPServer((_HOST, port), partial(_Handler, directory=folder))
        except OSError as error:
            raise InputError(f"port {port} cannot be used: {error.strerror}; choose another with --port") from error
        thread = Thread(target=server.serve_forever, daemon=True)
        with server:
            told(site.build(progress))
            thread.start()
            try:
                ready(f"http://{_HOST}:{server.server_address[1]}/")
                _watch(site, before, told, stop)
            finally:
                server.shutdown()
                thread.join()


def _watch(site: Site, before: dict[Path, Stamp], told: Callable[[Built | IoiBenchError], None], stop: Event) -> None:
    failed = ""
    while not stop.wait(_LOOK_EVERY_SECONDS):
        try:
            if site.stamps() == before:
                continue
            time.sleep(_SETTLES_SECONDS)
            before = site.stamps()
            told(site.build())
            failed = ""
        except IoiBenchError as error:
            if str(error) != failed:  # what lasts is said once
                told(error)
            failed = str(error)
