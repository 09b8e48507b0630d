"""`ioi-bench reference`: the SAE suites that ioi-bench was tried on: list, pull, verify, push."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ioi_bench.cli import options
from ioi_bench.cli.console import cache_folder, figure, out, print_json, progress, say
from ioi_bench.errors import InputError, IoiBenchError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from ioi_bench.reference.copies import Copy
    from ioi_bench.reference.listing import Listed
    from ioi_bench.reference.verify import Rescored

__all__ = ["app", "hint_for"]

app = typer.Typer(
    name="reference", help="Reference suites, bundled and on the Hub: list, pull, verify, push.", no_args_is_help=True
)

_DEFAULT_REPO, _MAIN = "ioi-bench/reference-saes", "main"
Names = Annotated[list[str] | None, typer.Argument(metavar="NAME…", help="Of suites: `ioi-bench reference list`.")]
Repo = Annotated[str, typer.Option("--repo", help="ORG/REPO on the Hub.")]
Revision = Annotated[str, typer.Option("--revision", help="A branch, a tag or a commit there.")]


@app.command("list")
def list_command(
    repo: Annotated[
        str | None, typer.Option("--repo", help="List what this repository on the Hub has, not what is bundled.")
    ] = None,
    revision: Annotated[
        str | None, typer.Option("--revision", help="The same at a branch, a tag or a commit of it.")
    ] = None,
    json: options.Json = False,
) -> None:
    """List the reference suites with their IOI scores, and where copies of them lie.

    0 is what matched random dictionaries reach, 1 what supervised ones reach; brackets hold 95 % intervals. L0 is the
    mean number of active features. "both" is bundled and cached; "Hub" is neither.

    \b
    Examples:
      ioi-bench reference list
      ioi-bench reference list --repo ioi-bench/reference-saes
      ioi-bench reference list --json | jq -r '.[] | select(.variant == "topk") | .name'
    """
    from ioi_bench.reference.bundled import bundled_manifest
    from ioi_bench.reference.hub_copy import hub_manifest
    from ioi_bench.reference.listing import list_suites

    asked, at = repo or _DEFAULT_REPO, revision or _MAIN
    if repo is None and revision is None:
        manifest = bundled_manifest()
    else:
        with progress() as told:
            manifest, at = hub_manifest(asked, at, told)
        say(f"hf://{asked}@{at}")
    rows = list(list_suites(manifest, asked, at))
    if json:
        print_json([_row(row) for row in rows])
        return
    out().print(_list_table(rows))
    models = ", ".join(sorted({row.suite.model for row in rows}))
    size = sum(row.size or 0 for row in rows) / 1e6
    where = {_where(row) for row in rows}
    alike = f", all {_WHERE[where.pop()]}" if len(where) == 1 else ""
    say(f"{len(rows)} suites on {models}{alike}, {size:,.1f} MB of them on this machine; scores of the test split")
    say("`ioi-bench reference pull NAME` fetches one and prints its folder, which `ioi-bench evaluate` takes")


_WHERE = {"bundled": "bundled", "both": "bundled and cached", "Hub": "on the Hub", "cached": "cached"}


def _where(row: Listed) -> str:
    if row.bundled is not None:
        return "bundled" if row.cached is None else "both"
    return "Hub" if row.cached is None else "cached"


def _row(row: Listed) -> dict[str, Any]:
    suite = row.suite
    return {
        "name": row.name,
        **suite.model_dump(mode="json", include={"variant", "seed", "model", "prompts", "scores", "suite_sha256"}),
        "l0": row.l0,
        "bytes": row.size,
        "bundled": None if row.bundled is None else str(row.bundled),
        "cached": None if row.cached is None else str(row.cached),
    }


def _list_table(rows: Sequence[Listed]) -> Table:
    methods = list(dict.fromkeys(method for row in rows for method in row.suite.scores))
    # What is the same of all is said below. Variant and seed stand in the name: columns for them would fold the scores.
    models = len({row.suite.model for row in rows}) > 1
    where = len({_where(row) for row in rows}) > 1
    table = _table("suite", *(["model"] if models else []), *methods, "L0", *(["where"] if where else []))
    for column in table.columns:
        column.no_wrap = True  # a figure that folds reads as another one
        column.justify = "right" if column.header == "L0" else "left"
    for row in rows:
        scores = [figure(row.suite.scores[name]) if name in row.suite.scores else "–" for name in methods]
        l0 = "–" if row.l0 is None else f"{row.l0:.{1 if row.l0 < 9.95 else 0}f}"
        model, place = [row.suite.model] if models else [], [_where(row)] if where else []
        table.add_row(row.name, *model, *scores, l0, *place)
    return table


def _table(*headings: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in headings:
        table.add_column(heading, no_wrap=heading == "suite", overflow="fold")
    return table


@app.command()
def pull(
    names: Names = None,
    everything: Annotated[bool, typer.Option("--all", help="Every suite of the repository.")] = False,
    repo: Repo = _DEFAULT_REPO,
    revision: Revision = _MAIN,
    folder: Annotated[
        Path | None, typer.Option("--out", "-o", help="Copy each to a folder NAME here; by default they stay cached.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Fetch suites from the Hub, check every file, and print the folder of each.

    What is cached is not fetched again, and an interrupted download goes on. Every file is checked against the sha256
    in the manifest that came with ioi-bench. Where the Hub gives no answer, the bundled suites serve, and this is said.

    \b
    Examples:
      ioi-bench reference pull topk-k3-s0
      ioi-bench evaluate "$(ioi-bench reference pull topk-k3-s0)"
      ioi-bench reference pull gated-s0 gated-s1 --out suites
      ioi-bench reference pull --all --revision v0.1.0 --json
    """
    from ioi_bench.reference.hub_copy import all_names
    from ioi_bench.reference.pull import pull as run

    if bool(names) == everything:
        raise InputError("give the names of suites, or --all: `ioi-bench reference list` shows them")
    with progress() as told:
        wanted = tuple(dict.fromkeys(names or all_names(repo, revision, told)))
        found = run(wanted, repo=repo, revision=revision, out=folder, progress=told)
    if reason := found[0].why_bundled:
        which = found[0].name if len(found) == 1 else f"all {len(found)} suites"
        say(f"note: not from the Hub, but bundled with ioi-bench: {which}, for {reason}", style="yellow")
    if json:
        print_json([{"name": one.name, "folder": str(one.folder), "origin": one.origin} for one in found])
        return
    for one in found:
        say(f"{one.name}: {one.origin or 'bundled'}, {len(one.suite.files)} files, every sha256 as in the manifest")
        typer.echo(one.folder)


@app.command()
def verify(
    what: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME|PATH…", help="Suites (bundled and cached copies) or folders; by default all."),
    ] = None,
    evaluate: Annotated[
        bool, typer.Option("--evaluate", help="Score them too, and compare with the manifest (half a minute each).")
    ] = False,
    manifest: Annotated[
        Path | None, typer.Option("--manifest", help="Check against this manifest.json, not the bundled one.")
    ] = None,
    repo: Repo = _DEFAULT_REPO,
    revision: Revision = _MAIN,
    json: options.Json = False,
) -> None:
    """Check copies of suites: their files' hashes, what they hold, and with --evaluate their scores.

    Ends with 1 if one is not what the manifest says. Scores must be the manifest's to 1e-6, intervals included. A name
    that is not bundled is checked against the Hub's manifest.

    \b
    Examples:
      ioi-bench reference verify
      ioi-bench reference verify topk-k3-s0 --evaluate
      ioi-bench reference verify ./suites/gated-s0 --json
      ioi-bench reference verify --manifest reference_saes/manifest.json
    """
    from ioi_bench.reference.copies import find_copies
    from ioi_bench.reference.verify import evaluate_again, problems_of

    rows: list[tuple[Copy, list[str], Rescored | None]] = []
    with progress() as told:
        for copy in find_copies(what or (), manifest=manifest, repo=repo, revision=revision):
            problems, rescored = problems_of(copy.folder, copy.name, copy.suite), None
            if evaluate and not problems:
                rescored = evaluate_again(copy.folder, copy.suite, cache_folder(), told)
            rows.append((copy, problems, rescored))
    if json:
        print_json([_verified(*row) for row in rows])
    else:
        out().print(_verify_table(rows))
    bad = [copy.name for copy, problems, rescored in rows if problems or (rescored is not None and not rescored.same)]
    for copy, problems, _ in rows:
        for problem in problems:
            say(f"{copy.name} in {copy.folder}: {problem}", style="red")
    if bad:
        raise IoiBenchError(
            f"{len(bad)} of {len(rows)} are not what the manifest says ({', '.join(bad[:5])}): pull them again, and "
            "where only scores differ, compare the versions of torch and of ioi-bench"
        )


def _verified(copy: Copy, problems: list[str], rescored: Rescored | None) -> dict[str, Any]:
    return {
        "name": copy.name,
        "where": copy.where,
        "folder": str(copy.folder),
        "problems": problems,
        "scores": None if rescored is None else {**asdict(rescored), "same": rescored.same},
    }


def _verify_table(rows: Sequence[tuple[Copy, list[str], Rescored | None]]) -> Table:
    scored = any(rescored is not None for _, _, rescored in rows)
    table = _table("suite", "copy", "files and content", *(["scores"] if scored else []))
    for copy, problems, rescored in rows:
        said = "sound" if not problems else f"{len(problems)} wrong"
        cells = [] if not scored else ["–" if rescored is None else _apart(rescored)]
        table.add_row(copy.name, copy.where, said, *cells)
    return table


def _apart(rescored: Rescored) -> str:
    method, worst = max(rescored.worst.items(), key=lambda pair: pair[1])
    return f"{'the same' if rescored.same else 'differ'}: at most {worst:.1g} apart ({method})"


@app.command()
def push(
    repo: Repo = _DEFAULT_REPO,
    revision: Annotated[str, typer.Option("--revision", help="The branch to commit to.")] = _MAIN,
    pull_request: Annotated[bool, typer.Option("--pull-request", help="Open a pull request instead.")] = False,
    create: Annotated[bool, typer.Option("--create", help="Make the repository if it is not there.")] = False,
    message: Annotated[str, typer.Option("--message", help="The first line of the commit.")] = "",
    folder: Annotated[
        Path | None, typer.Option("--from", help="The folder with manifest.json; by default that of this ioi-bench.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show all that would be sent, and send nothing.")] = False,
    json: options.Json = False,
) -> None:
    """For maintainers: publish the suites, the manifest, a page with the scores, and evaluation results, in one commit.

    Refuses where a file is not what the manifest says. Needs a token that may write (HF_TOKEN, or `hf auth login`).
    Run it with --dry-run first: it lists every file with its size, and prints the page.

    \b
    Examples:
      ioi-bench reference push --dry-run
      ioi-bench reference push --pull-request
      ioi-bench reference push --repo my-org/reference-saes --create
    """
    from ioi_bench.reference.bundled import bundled_folder
    from ioi_bench.reference.push import PAGE, collect, size_of
    from ioi_bench.reference.push import push as send

    files = collect(folder or bundled_folder(), repo)
    total = f"{len(files)} files, {sum(map(size_of, files.values())) / 1e6:,.1f} MB"
    if dry_run:
        if json:
            print_json({"repo": repo, "files": {name: size_of(content) for name, content in files.items()}})
        else:
            table = _table("file", "bytes")
            for name, content in files.items():
                table.add_row(name, f"{size_of(content):,}")
            out().print(table)
            page = files[PAGE]
            out().print(f"\n{PAGE}:\n\n{page.decode() if isinstance(page, bytes) else page}", soft_wrap=True)
        say(f"nothing was sent: {total} for hf://{repo}")
        return
    with progress() as told:
        done = send(
            files,
            repo,
            revision=revision,
            pull_request=pull_request,
            create=create,
            message=message,
            progress=told,
        )
    if json:
        print_json({"commit": done.commit, "url": done.url, "pull_request": done.pull_request, "files": len(files)})
    else:
        typer.echo(done.url)
    say(f"sent {total}, commit {done.commit}")


def hint_for(text: str) -> str:
    """What to say of a path that is not there and is the name, or nearly, of a reference suite; empty otherwise."""
    import difflib

    from ioi_bench.reference.bundled import bundled_manifest

    near = difflib.get_close_matches(text, list(bundled_manifest().suites), n=1, cutoff=0.8)
    return f"{near[0]} is a reference suite: `ioi-bench reference pull {near[0]}` prints its folder" if near else ""
