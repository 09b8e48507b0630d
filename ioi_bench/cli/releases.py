"""`ioi-bench releases`: the public dictionaries that `evaluate --release` knows by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from ioi_bench.cli import options
from ioi_bench.cli.console import out, print_json, say
from ioi_bench.errors import HubUnavailableError, InputError, IoiBenchError

if TYPE_CHECKING:
    from rich.table import Table

    from ioi_bench.releases import Chosen, Release

__all__ = ["AllKnown", "Layer", "ReleaseName", "Width", "chosen", "releases", "run_each"]

ReleaseName = Annotated[
    str | None, typer.Option("--release", help="A public release by name, instead of PATH: see `ioi-bench releases`.")
]
Layer = Annotated[int | None, typer.Option("--layer", help="The layer of --release.")]
Width = Annotated[int | None, typer.Option("--width", help="The number of features, where --release has several.")]
AllKnown = Annotated[bool, typer.Option("--all-known", help="Every dictionary that `ioi-bench releases` lists.")]


def releases(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One release, with its sources.")] = None,
    json: options.Json = False,
) -> None:
    """List the public dictionaries for GPT-2 small that are known by name.

    \b
    Examples:
      ioi-bench releases
      ioi-bench releases gpt2-small-res-jb
      ioi-bench releases --json
    """
    from ioi_bench.errors import UnknownNameError
    from ioi_bench.releases import releases as known

    shown = [entry for entry in known() if name in (None, entry.name)]
    if not shown:
        raise UnknownNameError("release", name or "", [entry.name for entry in known()])
    if json:
        print_json([_row(entry) for entry in shown])
        return
    if name is not None:
        _print_release(shown[0])
        return
    _print_table(shown)
    total = sum(len(entry.dictionaries) for entry in shown)
    say(f"{total} dictionaries: `ioi-bench releases NAME` lists those of one, and where these facts are from")


def _row(entry: Release) -> dict:
    """The record as JSON, hooks as text."""
    row = asdict(entry)
    for plain, published in zip(row["dictionaries"], entry.dictionaries, strict=True):
        plain["hook"] = str(published.hook)
    return row


def _print_table(shown: list[Release]) -> None:
    table = _table("release", "hook", "layers", "width", "licence")
    for entry in shown:
        hooks = dict.fromkeys(published.hook.component for published in entry.dictionaries)
        widths = sorted({published.d_sae for published in entry.dictionaries})
        width = f"{widths[0]}" if len(widths) == 1 else f"{widths[0]}–{widths[-1]}"
        licence = entry.licence or "not stated"
        table.add_row(entry.name, ",\n".join(hooks), _spread(entry.layers), width, licence)
    out().print(table)


def _print_release(entry: Release) -> None:
    console = out()
    console.print(f"{entry.name}: {entry.title}")
    console.print(f"{entry.architecture}, inputs: {entry.normalisation}, read by the loader {entry.loader}")
    console.print(f"hf://{entry.repo}, licence: {entry.licence or 'not stated'}", soft_wrap=True)
    table = _table("layer", "hook", "width", "path")
    for published in entry.dictionaries:
        table.add_row(str(published.layer), str(published.hook), str(published.d_sae), published.path)
    console.print(table)
    for source in entry.sources:
        console.print(source, style="dim", soft_wrap=True)


def _table(*headings: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in headings:
        table.add_column(heading, overflow="fold", no_wrap=heading == "release")
    return table


def _spread(layers: tuple[int, ...]) -> str:
    """``0–11`` where none is left out, else each."""
    if len(layers) > 1 and layers == tuple(range(layers[0], layers[-1] + 1)):
        return f"{layers[0]}–{layers[-1]}"
    return ", ".join(map(str, layers))


def chosen(path: str | None, name: str | None, layer: int | None, width: int | None, every: bool) -> tuple[Chosen, ...]:
    """What ``evaluate``'s options ask for; empty where they give a path.

    Raises:
        InputError: a path and a release, neither, or a release without its layer.
        UnknownNameError: no such release.
    """
    given = [text for text, is_given in (("PATH", path), ("--release", name), ("--all-known", every)) if is_given]
    if len(given) != 1:
        raise InputError(f"{' and '.join(given) or 'nothing'} given: give one of PATH, --release and --all-known")
    if name is None and (layer is not None or width is not None):
        raise InputError("--layer and --width belong to --release: name one, see `ioi-bench releases`")
    if path is not None:
        return ()
    from ioi_bench.releases import all_known, release

    if name is None:
        return all_known()
    if layer is None:
        raise InputError(f"--release {name} needs --layer: see `ioi-bench releases {name}`")
    return (release(name, layer, width),)


def run_each(everything: Sequence[Chosen], run: Callable[[Chosen], None]) -> None:
    """One after the other; what fails is said, and the rest goes on. Without an answer from the Hub it ends.

    Raises:
        HubUnavailableError: what is not cached cannot be fetched now.
        IoiBenchError: some failed; the message names them.
    """
    failed = []
    for number, one in enumerate(everything, start=1):
        if len(everything) > 1:
            say(f"{number} of {len(everything)}: {one.name}")
        try:
            run(one)
        except HubUnavailableError:
            raise
        except IoiBenchError as error:
            if len(everything) == 1:
                raise
            say(f"error: {error}", style="red")
            failed.append(one.name)
    if failed:
        raise IoiBenchError(f"{len(failed)} of {len(everything)} failed: {'; '.join(failed)}")
