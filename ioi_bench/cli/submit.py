"""`ioi-bench submit`: a card onto a leaderboard."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ioi_bench.cli import options
from ioi_bench.cli.console import err, figure, print_json, progress, say
from ioi_bench.errors import InputError

if TYPE_CHECKING:
    from ioi_bench.leaderboard.submit import Declaration, Prepared

__all__ = ["submit"]

_TARGET = "hf://datasets/ioi-bench/leaderboard"
_FLAGS = {
    "suite": ("--suite", "where the weights lie, hf://org/repo/folder"),
    "name": ("--name", "the name on the leaderboard, ORG/NAME"),
    "authors": ("--author", "the authors, with commas"),
    "training_data": ("--training-data", "what the dictionaries were trained on"),
    "licence": ("--licence", "the licence of the weights, such as Apache-2.0"),
}


def submit(
    card: Annotated[
        Path, typer.Argument(metavar="CARD", help="The folder that `evaluate --out` wrote, or its card.json.")
    ],
    suite: Annotated[
        str | None, typer.Option("--suite", help="The suite that was evaluated: hf://org/repo[@revision]/folder.")
    ] = None,
    to: Annotated[str, typer.Option("--to", help="A leaderboard: hf://datasets/org/repo, or a folder.")] = _TARGET,
    name: Annotated[str | None, typer.Option("--name", help="ORG/NAME, under which it will stand.")] = None,
    author: Annotated[list[str] | None, typer.Option("--author", help="A person or a group; may be repeated.")] = None,
    training_data: Annotated[
        str | None,
        typer.Option("--training-data", help="What it was trained on, in words; if on the task's prompts, say so."),
    ] = None,
    licence: Annotated[
        str | None, typer.Option("--licence", help="Of the weights, an SPDX identifier: Apache-2.0, MIT, CC-BY-4.0.")
    ] = None,
    url: Annotated[str | None, typer.Option("--url", help="A paper or a page.")] = None,
    given: Annotated[
        Path | None, typer.Option("--from", help="A submission.toml with any of these; options overrule it.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, and send nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before sending.")] = False,
    json: options.Json = False,
) -> None:
    """Hand a card in: checked here first, then sent as a pull request, or written into a folder.

    A card counts if it has at least 1,000 test prompts, all train prompts, the method exchange, budgets 1, 2 and 4,
    and seed 0: what `ioi-bench evaluate` does by default. Every figure is computed again from prompts.parquet, and the
    suite is opened and compared with the card's. Only the address of the suite is sent, so it must lie on the Hub for
    others to verify it.

    Prints the pull request's address, or the new folder. What is missing is asked for on a terminal. Needs HF_TOKEN, or
    `hf auth login`, to send to the Hub.

    \b
    Examples:
      ioi-bench submit runs/mine --suite hf://my-lab/ioi-saes/topk --name my-lab/topk --dry-run
      ioi-bench submit runs/mine --from submission.toml --yes
      ioi-bench submit runs/mine --suite my_saes/ --to my-leaderboard/ --from submission.toml
    """
    from ioi_bench.leaderboard.submit import Declaration, prepare, read_declaration, send

    flags = Declaration(
        name=name,
        authors=tuple(author) if author else None,
        training_data=training_data,
        licence=licence,
        url=url,
        suite=suite,
    )
    said = (Declaration() if given is None else read_declaration(given)).overridden(flags)
    said = _asked(said)
    with progress() as told:
        prepared = prepare(card, said, to=to, progress=told)
    _show(prepared)
    if dry_run:
        say("a dry run: nothing was sent")
        if json:
            print_json(_about(prepared, None))
        return
    if not yes:
        _confirm(prepared)
    with progress() as told:
        sent = send(prepared, told)
    if not sent.new:
        say("it was there already: nothing was sent again")
    if json:
        print_json(_about(prepared, sent.place))
    else:
        typer.echo(sent.place)


def _about(prepared: Prepared, place: str | None) -> dict[str, Any]:
    """For programs; ``sent`` is where it went, null for a dry run."""
    return {
        "submission": prepared.submission.model_dump(),
        "track": prepared.card.track,
        "checks": [check.model_dump() for check in prepared.checks],
        "notes": list(prepared.notes),
        "files": {name: len(content) for name, content in prepared.files.items()},
        "to": f"{prepared.target.name}/{prepared.place}",
        "sent": place,
    }


def _interactive() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _asked(said: Declaration) -> Declaration:
    """With what the user types; without a terminal, an error that lists the flags.

    Raises:
        InputError: something is missing, and nobody is there to ask.
    """
    from ioi_bench.leaderboard.submit import Declaration

    if not said.missing:
        return said
    if not _interactive():
        lacking = ", ".join(f"{_FLAGS[one][0]} ({_FLAGS[one][1]})" for one in said.missing)
        raise InputError(f"a submission needs {lacking}: give these options, or a file with --from")
    typed = {one: typer.prompt(_FLAGS[one][1].capitalize(), err=True).strip() for one in said.missing}
    authors = typed.pop("authors", None)
    split = tuple(one.strip() for one in authors.split(",") if one.strip()) if authors else None
    return said.overridden(Declaration(authors=split, **typed))


def _show(prepared: Prepared) -> None:
    """What will be sent, on stderr: stdout carries the address alone."""
    from rich.table import Table

    submission, card = prepared.submission, prepared.card
    about = Table.grid(padding=(0, 2))
    about.add_column(no_wrap=True)
    about.add_column(overflow="fold")
    score = card.headline["exchange"]
    rows = {
        "name": submission.name,
        "track": card.track,
        "IOI score": f"{figure(score.score)}, mean of {score.n_cells} ranked cells",
        "suite": submission.suite,
        "authors": ", ".join(submission.authors),
        "training data": submission.training_data,
        "licence": submission.licence,
        "page": submission.url or "–",
        "to": f"{prepared.target.name}: {prepared.place}/",
    }
    for what, value in rows.items():
        about.add_row(what, value)
    for file, content in prepared.files.items():
        about.add_row("", f"{file}, {_size(len(content))}")
    err().print(about)
    for check in prepared.checks:
        say(f"✓ {check.name}: {check.detail}", style="dim")
    for note in prepared.notes:
        say(f"note: {note}", style="yellow")


def _size(n: int) -> str:
    """As people read it.

    >>> _size(740), _size(226_000), _size(4_840_000)
    ('740 bytes', '226 kB', '4.8 MB')
    """
    if n < 1000:
        return f"{n} bytes"
    return f"{n / 1000:.0f} kB" if n < 10**6 else f"{n / 10**6:.1f} MB"


def _confirm(prepared: Prepared) -> None:
    if not _interactive():
        raise InputError("nobody is there to confirm: add --yes to send it, or --dry-run to check only")
    what = "open a pull request" if prepared.target.address is not None else "write these files"
    if not typer.confirm(f"{what[0].upper()}{what[1:]}?", err=True):
        say("nothing was sent")
        raise typer.Exit(1)
