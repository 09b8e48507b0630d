"""`ioi-bench leaderboard`: the submissions of all."""

from __future__ import annotations

import typer

from ioi_bench.cli.leaderboard_pages import build, serve

app = typer.Typer(name="leaderboard", help="The leaderboard: its pages.", no_args_is_help=True)
app.command()(build)
app.command()(serve)
