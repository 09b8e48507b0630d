"""`ioi-bench season`: evaluation on secret prompts, by commit and reveal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ioi_bench.cli import options
from ioi_bench.cli.console import figure, out, print_json, progress, say
from ioi_bench.errors import InputError

if TYPE_CHECKING:
    from ioi_bench.leaderboard.records import Check
    from ioi_bench.leaderboard.seasons.judging import Outcome
    from ioi_bench.task import Split

__all__ = ["app", "split_named"]

app = typer.Typer(
    name="season", help="Private evaluation by commit and reveal: prompts that nobody has seen.", no_args_is_help=True
)

_LEADERBOARD = Path("leaderboard")
Name = Annotated[str, typer.Argument(metavar="NAME", help="The season's: small letters, digits, hyphens.")]
Leaderboard = Annotated[Path, typer.Option("--leaderboard", help="Its folder, which holds results/ and seasons/.")]
SeedFile = Annotated[
    Path | None,
    typer.Option("--seed-file", help="Where the seed is kept, for your eyes alone; by default in your data folder."),
]


@app.command()
def commit(
    name: Name,
    track: Annotated[str, typer.Option("--track", help="ioi-mini, gpt2, or a hook point's.")] = "ioi-mini",
    leaderboard: Leaderboard = _LEADERBOARD,
    seed_file: SeedFile = None,
    prompts: Annotated[int, typer.Option("--prompts", help="How many are drawn.")] = 1000,
    train_prompts: options.TrainPrompts = None,
    methods: Annotated[str, typer.Option("--methods", help="Edit methods, with commas.")] = "exchange,aware,universal",
    budgets: Annotated[str, typer.Option("--budgets", help="Features that an edit may change.")] = "1,2,4",
    beacon_rule: Annotated[
        str | None,
        typer.Option("--beacon-rule", help="Where a public value will be found that nobody can know yet, in words."),
    ] = None,
    reveal_by: Annotated[
        str | None, typer.Option("--reveal-by", metavar="DATE", help="The seed comes by then: YYYY-MM-DD.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Draw a secret seed and publish the commitment to it: leaderboard/seasons/NAME/commitment.json.

    The seed goes into a private file and is never shown. Prints the commitment's hash.

    \b
    Examples:
      ioi-bench season commit 2027-spring --reveal-by 2027-06-30
      ioi-bench season commit 2027-spring --beacon-rule "the first drand round after 2027-05-01T00:00Z"
    """
    from ioi_bench.leaderboard.seasons.commit import Plan, commit_season

    plan = Plan(
        season=name,
        track=track,
        prompts=prompts,
        train_prompts=train_prompts,
        methods=options.words(methods),
        budgets=options.numbers("--budgets", budgets),
        beacon_rule=beacon_rule,
        reveal_by=reveal_by,
    )
    folder, seed_file = _folder(leaderboard, name), seed_file or _kept(name)
    made = commit_season(plan, leaderboard, seed_file)
    if json:
        print_json(made.model_dump(mode="json"))
    else:
        typer.echo(made.commitment)
    say(f"wrote {folder}/commitment.json: publish it")
    say(f"the seed is in {seed_file}: keep a copy of it in a safe place; without it the season cannot be revealed")


@app.command()
def evaluate(
    name: Name,
    suites: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SUITE]...", help="ORG/NAME, or the folder of a submission; by default all."),
    ] = None,
    leaderboard: Leaderboard = _LEADERBOARD,
    results: Annotated[
        Path | None, typer.Option("--results", help="The submissions; by default the leaderboard's results/.")
    ] = None,
    seed_file: SeedFile = None,
    beacon: Annotated[
        str | None, typer.Option("--beacon", help="The public value that the commitment's rule has led to, in hex.")
    ] = None,
    hub_only: Annotated[bool, typer.Option("--hub-only", help="Refuse weights on this machine.")] = False,
    json: options.Json = False,
) -> None:
    """Judge submitted suites on the season's prompts.

    Cards are published at once, results per prompt at the reveal; their hashes go into the season's log. What was
    judged already is left out. Exit code 0: all that was asked for is in the log; 1: something is out of reach now.

    \b
    Examples:
      ioi-bench season evaluate 2027-spring
      ioi-bench season evaluate 2027-spring my-lab/topk --seed-file ~/seeds/2027-spring.json
    """
    from ioi_bench.leaderboard.allowed import read_allowed
    from ioi_bench.leaderboard.seasons.judging import Judge

    with progress() as told:
        judge = Judge(
            folder=_folder(leaderboard, name),
            seed_file=seed_file or _kept(name),
            beacon=beacon,
            allowed=read_allowed(leaderboard),
            hub_only=hub_only,
            progress=told,
        )
        outcomes = list(judge.judge_each(_submissions(results or leaderboard / "results", suites or ())))
    if json:
        print_json([_row(outcome) for outcome in outcomes])
    else:
        _print_outcomes(outcomes)
    errors = [outcome for outcome in outcomes if outcome.error is not None]
    for outcome in errors:
        say(f"error: {outcome.name}: {outcome.error}", style="red")
    if not outcomes:
        say("nothing to judge: all submissions of the track are in the log already")
    if errors:
        raise typer.Exit(1)


@app.command()
def reveal(
    name: Name,
    leaderboard: Leaderboard = _LEADERBOARD,
    seed_file: SeedFile = None,
    unjudged: Annotated[
        bool, typer.Option("--unjudged", help="Leave out what is still to be judged; reveal.json names it.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Publish the seed and the results per prompt; the season ends with it.

    Refused while a suite that was there at the commitment is not in the log; --unjudged leaves it out, for all to see.

    \b
    Examples:
      ioi-bench season reveal 2027-spring
    """
    from ioi_bench.leaderboard.seasons.publish import reveal_season

    folder = _folder(leaderboard, name)
    revealed = reveal_season(folder, seed_file or _kept(name), unjudged=unjudged)
    if json:
        print_json(revealed.model_dump(mode="json"))
    judged = f"{revealed.lines} line{'' if revealed.lines == 1 else 's'} in the log"
    say(f"wrote {folder}/reveal.json and the results per prompt, {judged}: publish them")
    if revealed.unjudged:
        say(f"never judged: {', '.join(revealed.unjudged)}")
    say(f"anybody can check: ioi-bench season verify {name}")


@app.command()
def verify(
    name: Name,
    leaderboard: Leaderboard = _LEADERBOARD,
    again: Annotated[
        bool, typer.Option("--evaluate", help="Fetch the weights and evaluate them again; after the reveal.")
    ] = False,
    against: Annotated[
        Path | None,
        typer.Option("--against", metavar="BASE", help="An earlier copy of the leaderboard: nothing may have gone."),
    ] = None,
    receipt: Annotated[
        list[str] | None, typer.Option("--receipt", help="A hash that must be in the log; may be repeated.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Check a season: commitment, prompts, and every score again from its rows.

    Exit code 0: every check holds; 1: one fails; 2: what is there is no season.

    \b
    Examples:
      ioi-bench season verify 2027-spring
      ioi-bench season verify 2027-spring --evaluate --against ../leaderboard-in-may
    """
    from ioi_bench.leaderboard.allowed import read_allowed
    from ioi_bench.leaderboard.seasons.verify import SeasonVerifier

    with progress() as told:
        verifier = SeasonVerifier(
            folder=_folder(leaderboard, name),
            evaluate=again,
            before=None if against is None else _folder(against, name),
            receipts=tuple(receipt or ()),
            allowed=read_allowed(leaderboard),
            progress=told,
        )
        checks = list(verifier.checks())
    if json:
        print_json([check.model_dump(mode="json") for check in checks])
    else:
        _print_checks(name, checks)
    if not all(check.passed for check in checks):
        raise typer.Exit(1)


def split_named(text: str) -> Split | str:
    """What ``--split`` asks for: a split by its name, or the prompts of a season, ``season:NAME`` or ``season:FOLDER``.

    Raises:
        InputError: there is no such season, or it is not revealed.
    """
    prefix = "season:"  # of `ioi_bench.task.season`, which needs no import for the names of other splits
    if not text.startswith(prefix):
        return text
    from ioi_bench.leaderboard.seasons import revealed_split

    name = text.removeprefix(prefix)
    if not name:
        raise InputError(f"{text!r} names no season: give one, such as {prefix}2027-spring")
    return revealed_split(Path(name) if "/" in name else _folder(_LEADERBOARD, name))


def _folder(leaderboard: Path, name: str) -> Path:
    """A season's folder; its name is no path.

    Raises:
        InputError: it would lead elsewhere.
    """
    from ioi_bench.leaderboard.seasons.folder import SEASONS
    from ioi_bench.leaderboard.seasons.records import is_season_name

    if not is_season_name(name):
        raise InputError(
            f"{name!r} is no name of a season: give small letters, digits and hyphens, such as 2027-spring"
        )
    return leaderboard / SEASONS / name


def _kept(name: str) -> Path:
    """Where seeds are kept by default."""
    from platformdirs import user_data_path

    return user_data_path("ioi-bench") / "seasons" / f"{name}.json"


def _submissions(results: Path, asked: Sequence[str]) -> list[Path]:
    """The folders of all submissions, or of those that are asked for.

    Raises:
        InputError: there is no such submission.
    """
    from ioi_bench.leaderboard.results import SUBMISSION, find_entries

    every = list(find_entries(results))
    if not asked:
        return every
    found = []
    for one in asked:
        if (Path(one) / SUBMISSION).is_file():
            found.append(Path(one))
            continue
        here = [folder for folder in every if folder.parent.name.replace("__", "/", 1) == one]
        if not here:
            raise InputError(f"{one!r} is no submission below {str(results)!r}: give ORG/NAME, or its folder")
        found += here
    return found


def _row(outcome: Outcome) -> dict[str, object]:
    card = outcome.card
    return {
        "name": outcome.name,
        "score": None if card is None else card.headline["exchange"].score.model_dump(mode="json"),
        "reason": None if outcome.line is None else outcome.line.reason,
        "receipt": outcome.receipt,
        "error": None if outcome.error is None else str(outcome.error),
    }


def _print_outcomes(outcomes: Sequence[Outcome]) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("suite", no_wrap=True)
    table.add_column("IOI score", overflow="fold")
    judged = [outcome for outcome in outcomes if outcome.line is not None]
    for outcome in judged:
        score = f"not judged: {outcome.line.reason}" if outcome.line else ""
        if outcome.card is not None:
            score = figure(outcome.card.headline["exchange"].score)
        table.add_row(outcome.name, score)
    if not judged:
        return
    out().print(table)
    out().print("\nreceipts, for the authors:")
    for outcome in judged:  # never folded: each is to be copied
        out().print(f"{outcome.receipt} {outcome.name}", soft_wrap=True)


def _print_checks(name: str, checks: Sequence[Check]) -> None:
    from ioi_bench.cli.leaderboard import checks_table

    held = all(check.passed for check in checks)
    console, told = out(), "every check holds" if held else "a check FAILS"
    console.print(f"season {name}: {told}", style="green" if held else "red")
    console.print(checks_table(checks))
