"""`ioi-bench plugins`: which plugins there are, what they give, and whether they are sound."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ioi_bench.cli import options
from ioi_bench.cli.console import out, print_json, progress, say

if TYPE_CHECKING:
    from rich.table import Table

    from ioi_bench.plugins.manager import PluginInfo, Plugins

__all__ = ["app"]

app = typer.Typer(name="plugins", help="Plugins: list, show, check.", no_args_is_help=True)


@app.command("list")
def list_plugins(plugin: options.Plugin = None, json: options.Json = False) -> None:
    """List the plugins that are installed, and everything that they and ioi-bench itself give.

    A broken plugin is a warning here; what the others give can be used.

    \b
    Examples:
      ioi-bench plugins list
      ioi-bench plugins list --plugin my_sae.py
      ioi-bench plugins list --json | jq .records
    """
    plugins = options.load_plugins(plugin)
    if json:
        print_json(_listed(plugins))
        return
    console = out()
    console.print(_plugins_table(plugins))
    console.print()
    console.print(_records_table(list(_records(plugins)), owner=True))


@app.command()
def show(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Of a plugin, or of what one gives: a loader, an edit, …")
    ],
    plugin: options.Plugin = None,
    json: options.Json = False,
) -> None:
    """Show a plugin and all that it gives, or one thing by its name: what it is, and what --set takes.

    \b
    Examples:
      ioi-bench plugins show native
      ioi-bench plugins show ioi-bench --json
      ioi-bench plugins show my_sae --plugin my_sae.py
    """
    from ioi_bench.errors import UnknownNameError

    plugins = options.load_plugins(plugin)
    records = list(_records(plugins))
    infos = {info.name: info for info in plugins.infos}
    if name in infos:
        info = plugins.named(name)
        records = [record for record in records if record["plugin"] == name]
        if json:
            print_json({**_info(info), "records": records})
            return
        console = out()
        console.print(f"{info.name}: {info.origin}, imported in {info.seconds:.2f} s")
        console.print()
        console.print(_records_table(records, owner=False))
        for record in records:
            _print_keys(record)
        return
    found = [record for record in records if record["name"] == name]
    if not found:
        raise UnknownNameError("plugin, or thing that one gives", name, [*infos, *(r["name"] for r in records)])
    if json:
        print_json(found)
        return
    for record in found:
        console = out()
        console.print(f"{record['kind']} {name}, of the plugin {record['plugin']}: {record['summary']}")
        _print_keys(record)


def _print_keys(record: dict[str, Any]) -> None:
    """What ``--set`` takes for a loader."""
    for key, line in record.get("keys", {}).items():
        out().print(f"  --set {key}=…  {line}", soft_wrap=True)


@app.command()
def check(
    what: Annotated[
        str | None, typer.Argument(metavar="[FILE_OR_NAME]", help="By default all that are installed.")
    ] = None,
    source: Annotated[
        str | None, typer.Option("--source", help="A source of the plugin's format: its loaders are checked on it.")
    ] = None,
    hook: options.Hook = None,
    settings: options.Set = None,
    json: options.Json = False,
) -> None:
    """Import plugins, call all their hooks, run the conformance kit on what they give, and say what is wrong.

    Edits, metrics and baselines are checked on random data, loaders on --source. Exits 2 where the plugin asked for
    cannot be used, 1 where a check fails or one among all is broken.

    \b
    Examples:
      ioi-bench plugins check my_sae.py
      ioi-bench plugins check my_sae.py --source my_sae.safetensors --hook blocks.2.hook_resid_pre
      ioi-bench plugins check ioi-bench-example
      ioi-bench plugins check
    """
    from ioi_bench.plugins.manager import Plugins
    from ioi_bench.plugins.sources import open_source
    from ioi_bench.testing import run_checks
    from ioi_bench.testing.plugins import plugin_cases

    file = what is not None and (what.endswith(".py") or Path(what).is_file())
    plugins = Plugins.load([what] if file and what else [])
    name = Path(what).stem if file and what else what
    problems = [problem for problem in plugins.check() if name in (None, problem.plugin)]
    infos = plugins.infos if name is None else [plugins.named(name)]
    broken = {problem.plugin for problem in problems if not problem.works}
    opened = None if source is None else open_source(source)
    given = options.load_options(hook=hook, settings=settings)
    results = {}
    with progress() as told:
        for done, info in enumerate(infos, start=1):
            if info.name not in broken:
                results[info.name] = run_checks(*plugin_cases(plugins, info.name, opened, given))
            told("plugins checked", done, len(infos))
    failed = {name for name, found in results.items() if any(result.failed for result in found)}
    if json:
        found = [{"plugin": p.plugin, "message": p.message, "works": p.works} for p in problems]
        checks = [{"plugin": name, **asdict(result)} for name, made in results.items() for result in made]
        checked = [info.name for info in infos]
        print_json({"sound": not broken | failed, "checked": checked, "problems": found, "checks": checks})
    else:
        for name, made in results.items():
            if name not in failed:
                passed = sum(result.outcome == "passed" for result in made)
                gives = _gives(plugins, name)
                without = (
                    "its loaders can be tried on a --source" if "loader" in gives else "the kit has no checks for these"
                )
                told_of = f"{passed} checks passed" if passed else without
                out().print(f"{name} is sound: it gives {gives}; {told_of}", soft_wrap=True)
    for problem in problems:
        say(f"warning: {problem}" if problem.works else f"error: {problem}", style="yellow" if problem.works else "red")
    for made in results.values():
        for result in made:
            if result.failed:
                say(f"error: {result.message}", style="red")
    if broken or failed:
        raise typer.Exit(1)


def _records(plugins: Plugins) -> Iterator[dict[str, Any]]:
    from ioi_bench.plugins.manager import KINDS
    from ioi_bench.plugins.records import Loader

    for kind, named in KINDS.items():
        for name, record in plugins.all(kind).items():
            told = {"kind": named.word, "name": name, "plugin": plugins.owner(kind, name), "summary": record.summary}
            yield {**told, "keys": dict(record.keys)} if isinstance(record, Loader) else told


def _info(info: PluginInfo) -> dict[str, Any]:
    return {"name": info.name, "origin": info.origin, "seconds": round(info.seconds, 3), "hooks": list(info.hooks)}


def _listed(plugins: Plugins) -> dict[str, Any]:
    return {
        "plugins": [_info(info) for info in plugins.infos],
        "records": list(_records(plugins)),
        "problems": [{"plugin": p.plugin, "message": p.message, "works": p.works} for p in plugins.check()],
    }


def _gives(plugins: Plugins, name: str) -> str:
    """``2 loaders, 1 metric``."""
    counts: dict[str, int] = {}
    for record in _records(plugins):
        if record["plugin"] == name:
            counts[record["kind"]] = counts.get(record["kind"], 0) + 1
    return ", ".join(f"{n} {word}{'s' * (n > 1)}" for word, n in counts.items()) or "nothing"


def _plugins_table(plugins: Plugins) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), show_edge=False)
    table.add_column("plugin", no_wrap=True)
    table.add_column("from", overflow="fold")
    table.add_column("gives", overflow="fold")
    broken = {problem.plugin for problem in plugins.problems if not problem.works}
    for info in plugins.infos:
        gives = "broken: see the warning" if info.name in broken else _gives(plugins, info.name)
        table.add_row(info.name, info.origin, gives)
    return table


def _records_table(records: list[dict[str, Any]], *, owner: bool) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), show_edge=False)
    for heading in ("kind", "name", *(["plugin"] if owner else [])):
        table.add_column(heading, no_wrap=True)
    table.add_column("what it is", overflow="fold")
    for i, record in enumerate(records):
        kind = record["kind"] if i == 0 or records[i - 1]["kind"] != record["kind"] else ""
        table.add_row(kind, record["name"], *([record["plugin"]] if owner else []), record["summary"])
    return table
