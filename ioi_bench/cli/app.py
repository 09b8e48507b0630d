"""The application: the root command, and how errors end it."""

from __future__ import annotations

import errno
import traceback
import warnings
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ioi_bench.cli import leaderboard, model, plugins, reference, season, study, task
from ioi_bench.cli.anchors import anchors
from ioi_bench.cli.audit import audit
from ioi_bench.cli.calibrate import calibrate
from ioi_bench.cli.compare import compare
from ioi_bench.cli.console import say
from ioi_bench.cli.evaluate import evaluate
from ioi_bench.cli.help import reflow
from ioi_bench.cli.inspect import inspect
from ioi_bench.cli.releases import releases
from ioi_bench.cli.report import report
from ioi_bench.cli.select import select
from ioi_bench.cli.skyline import skyline
from ioi_bench.cli.submit import submit
from ioi_bench.cli.train import train
from ioi_bench.errors import IoiBenchError

__all__ = ["app"]

_INTERRUPTED = 130


class _Root(TyperGroup):
    """Ends with our exit codes, reads ``--debug`` wherever it stands, and has help that fits the terminal."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        reflow(self)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        rest = [arg for arg in args if arg != "--debug"]
        return super().parse_args(ctx, ["--debug", *rest] if len(rest) < len(args) else rest)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            say("interrupted")
            raise typer.Exit(_INTERRUPTED) from None
        except (IoiBenchError, OSError) as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:  # `| head` closed the pipe: no error of ours
                raise
            if ctx.params.get("debug"):
                traceback.print_exception(error)
            say(f"error: {error}", style="red")
            raise typer.Exit(getattr(error, "exit_code", 1)) from None


app = typer.Typer(
    cls=_Root,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_COMMANDS = (evaluate, inspect, skyline, anchors, train, select, calibrate, releases, submit, report, compare, audit)
for command in _COMMANDS:
    app.command()(command)
app.add_typer(task.app)
app.add_typer(model.app)
app.add_typer(study.app)
app.add_typer(plugins.app)
app.add_typer(reference.app)
app.add_typer(leaderboard.app)
app.add_typer(season.app)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"ioi-bench {version('ioi-bench')}")
        raise typer.Exit


@app.callback()
def root(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error, and all warnings. May stand anywhere.")
    ] = False,
    _show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Judge sparse autoencoders by what editing their features does on the indirect-object-identification task.

    stdout carries data, stderr carries talk. Exit codes: 0 done, 1 failed, 2 bad input, 130 interrupted.

    \b
    Examples:
      ioi-bench evaluate reference_saes/ioi-mini/topk-k3-s0  the card of a suite
      ioi-bench inspect my_saes/     what it is, and what would be scored
      ioi-bench task show            the prompts, with their roles coloured
      ioi-bench skyline              what supervised dictionaries reach
    """  # \b keeps the lines of the examples as they are
    if not debug:
        warnings.filterwarnings("ignore")  # other libraries' talk
