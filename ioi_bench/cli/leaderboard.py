"""`ioi-bench leaderboard`: the submissions, verified and shown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ioi_bench.cli import options
from ioi_bench.cli.console import cache_folder, out, print_json, progress, say
from ioi_bench.cli.leaderboard_pages import build, serve
from ioi_bench.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

    from ioi_bench.cli.console import Report
    from ioi_bench.leaderboard.changes import Changes
    from ioi_bench.leaderboard.records import Check, Verdict
    from ioi_bench.leaderboard.verify import Outcome

__all__ = ["app", "checks_table"]

app = typer.Typer(name="leaderboard", help="The leaderboard: its submissions and its pages.", no_args_is_help=True)
app.command()(build)
app.command()(serve)


@app.command()
def verify(
    path: Annotated[
        Path | None,
        typer.Argument(metavar="[PATH]", help="A submission's folder, or one above many, such as results/."),
    ] = None,
    pr: Annotated[int | None, typer.Option("--pr", min=1, help="Instead: the pull request of this number.")] = None,
    repo: Annotated[str, typer.Option("--repo", help="The leaderboard that --pr belongs to.")] = (
        "hf://datasets/ioi-bench/leaderboard"
    ),
    against: Annotated[
        Path | None,
        typer.Option("--against", metavar="BASE", help="The leaderboard before: PATH only adds, and that is verified."),
    ] = None,
    hub_only: Annotated[
        bool, typer.Option("--hub-only", help="Refuse weights on this machine; always so with --pr and --against.")
    ] = False,
    new: Annotated[bool, typer.Option("--new", help="Only submissions that have no verdict.")] = False,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Where verdicts go; by default beside each submission, of --pr verdicts/pr-N."
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Fetch a submission's weights, evaluate them again as its card says, and compare every figure.

    Writes verdict.json for each submission: reproduced or refuted, with every check. Nothing of a submission is
    executed. Exit code 0: all reproduced; 1: something refuted, or out of reach now; 2: what is there is no submission.

    \b
    Examples:
      ioi-bench leaderboard verify leaderboard/results
      ioi-bench leaderboard verify --pr 12
      ioi-bench leaderboard verify head --against base --out verdicts --json
    """
    from ioi_bench.leaderboard.allowed import read_allowed
    from ioi_bench.leaderboard.results import leaderboard_of
    from ioi_bench.leaderboard.verify import Verifier

    if (path is None) == (pr is None) or (pr is not None and against is not None):
        raise InputError("give one of PATH, PATH with --against BASE, and --pr N")
    with progress() as told:
        folders, found = _asked(path, pr, repo, against, folder, told)
        verifier = Verifier(
            allowed=read_allowed(against or leaderboard_of(folders[0])) if folders else (),
            hub_only=hub_only or found is not None,
            only_new=new,
            out=folder if pr is None else None,  # the files of a pull request are in that folder themselves
            cache_dir=cache_folder(),
            progress=told,
        )
        outcomes = list(verifier.verify_each(folders))
    faults = found.faults if found else ()
    if json:
        print_json({"faults": list(faults), "submissions": [_row(outcome) for outcome in outcomes]})
    else:
        _print(outcomes)
    for fault in faults:
        say(f"error: {fault}: a pull request adds whole submissions, and nothing else", style="red")
    for outcome in outcomes:
        if outcome.error is not None:
            say(f"error: {outcome.error}", style="red")
    if code := max([1 if faults else 0, *(outcome.exit_code for outcome in outcomes)]):
        raise typer.Exit(code)


def _asked(
    path: Path | None, pr: int | None, repo: str, against: Path | None, folder: Path | None, told: Report
) -> tuple[list[Path], Changes | None]:
    """The submissions to verify, and what a pull request changes, where it is one. One with faults is not verified."""
    from ioi_bench.leaderboard.changes import changes, listing
    from ioi_bench.leaderboard.pull_request import fetch_pull_request
    from ioi_bench.leaderboard.results import find_entries

    if pr is not None:
        root = folder or Path("verdicts") / f"pr-{pr}"
        request = fetch_pull_request(repo, pr, root, told)
        say(f"pull request {pr} of {repo} at {request.commit}: its submissions are in {root}/")
        found = request.changes
    elif against is not None and path is not None:
        root, found = path, changes(listing(against), listing(path))
    else:
        assert path is not None
        folders = list(find_entries(path))
        if not folders:
            raise InputError(f"there is no submission in or below {str(path)!r}")
        return folders, None
    if not found.faults and not found.added:
        raise InputError("the pull request adds no submission")
    return [] if found.faults else [root / added for added in found.added], found


def _row(outcome: Outcome) -> dict[str, Any]:
    verdict = outcome.verdict
    return {
        "folder": outcome.folder.as_posix(),
        "badge": verdict.badge if verdict else None,
        "error": str(outcome.error) if outcome.error else None,
        "verdict": verdict.model_dump(mode="json") if verdict else None,
    }


def _print(outcomes: Sequence[Outcome]) -> None:
    for outcome in outcomes:
        if outcome.verdict is not None:
            _print_verdict(outcome.folder, outcome.verdict)


def _print_verdict(folder: Path, verdict: Verdict) -> None:
    console = out()
    console.print(f"{folder}: {verdict.badge}", style="green" if verdict.badge != "refuted" else "red", soft_wrap=True)
    console.print(checks_table(verdict.checks))


def checks_table(checks: Sequence[Check]) -> Table:
    """Checks, with what was found."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("check", no_wrap=True)
    table.add_column("", no_wrap=True)
    for heading in ("worst", "allowed"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("found", overflow="fold")
    for check in checks:
        numbers = ("" if value is None else f"{value:.3g}" for value in (check.worst, check.tolerance))
        table.add_row(check.name, "holds" if check.passed else "FAILS", *numbers, check.detail)
    return table
