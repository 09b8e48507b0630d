"""`ioi-bench leaderboard build` and `serve`: the pages."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ioi_bench.cli.console import cache_folder, progress, say

if TYPE_CHECKING:
    from ioi_bench.errors import IoiBenchError
    from ioi_bench.pages.site import Built

__all__ = ["build", "serve"]

Results = Annotated[
    Path, typer.Option("--results", help="The folder of submissions: it holds <track>/<org>__<name>/<hash>.")
]
_RESULTS = Path("leaderboard/results")


def build(
    results: Results = _RESULTS,
    folder: Annotated[Path, typer.Option("--out", "-o", help="Where the site goes.")] = Path("site"),
) -> None:
    """Build the leaderboard's pages: a static site that needs no server.

    \b
    Examples:
      ioi-bench leaderboard build
      ioi-bench leaderboard build --results my/results --out public
    """
    from ioi_bench.pages import Site

    with progress() as told:
        _say(Site(results, folder, cache_dir=cache_folder()).build(told))
    say(f"wrote {folder}/: open {folder}/index.html")


def serve(
    results: Results = _RESULTS,
    port: Annotated[int, typer.Option("--port", help="0 takes a free one.", min=0, max=65535)] = 8800,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Show the leaderboard's pages on this machine, and build them anew when a submission changes; Ctrl-C ends it.

    \b
    Examples:
      ioi-bench leaderboard serve --open
      ioi-bench leaderboard serve --results my/results --port 0
    """
    from ioi_bench.pages.serve import serve as run

    def ready(url: str) -> None:
        say(f"serving {url} (Ctrl-C ends it)")
        if open_browser:
            typer.launch(url)

    with suppress(KeyboardInterrupt), progress() as report:
        run(results, port=port, ready=ready, told=_say, cache_dir=cache_folder(), progress=report)
    say("stopped")


def _say(found: Built | IoiBenchError) -> None:
    if isinstance(found, Exception):
        say(f"error: {found}", style="red")
        return
    for folder, why in found.unreadable:
        say(f"warning: not shown: {folder}: {why}", style="yellow")
    refuted = f", {found.refuted} of them refuted" if found.refuted else ""
    contradicted = f", {found.contradicted} not ranked: their files do not agree" if found.contradicted else ""
    suites = "1 suite" if found.suites == 1 else f"{found.suites} suites"
    say(f"built {suites}{refuted}{contradicted} ({found.fresh} read anew) in {found.seconds:.1f} s")
