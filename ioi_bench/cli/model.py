"""`ioi-bench model`: look at a model's circuit, find one, train ioi-mini."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ioi_bench.cli import options
from ioi_bench.cli.console import out, print_json

if TYPE_CHECKING:
    from rich.table import Table

    from ioi_bench.lm.circuit import Circuit

__all__ = ["app"]

app = typer.Typer(name="model", help="The models: describe, discover, train-mini.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="MODEL", help="ioi-mini, gpt2, or the path of a circuit in TOML.")]


@app.command()
def describe(name: Name = "ioi-mini", json: options.Json = False) -> None:
    """Print a circuit: its heads, its cross-sections, and the measured effects.

    \b
    Examples:
      ioi-bench model describe
      ioi-bench model describe gpt2
      ioi-bench model describe gpt2 --json
    """
    from rich.text import Text

    from ioi_bench.lm.circuit import load_circuit

    circuit = load_circuit(name)
    if json:
        print_json(_record(circuit))
        return
    console = out()
    title = Text(circuit.track, style="bold")
    console.print(title.append(f": task {circuit.task}, {len(circuit.sites)} sites", style="not bold"))
    console.print()
    console.print(_heads(circuit))
    console.print()
    console.print(_cells(circuit))


def _record(circuit: Circuit) -> dict[str, object]:
    return {
        "track": circuit.track,
        "task": circuit.task,
        "sha256": circuit.sha256,
        "heads": {group: list(heads) for group, heads in circuit.heads.items()},
        "cross_sections": {name: [str(s) for s in section.sites] for name, section in circuit.cross_sections.items()},
        "headline": [str(cell) for cell in circuit.headline],
        "further": [str(cell) for cell in circuit.further],
        "ranked": {str(c): {"ranked": r.ranked, "reason": r.reason} for c, r in (circuit.ranked or {}).items()},
    }


def _heads(circuit: Circuit) -> Table:
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for group, heads in circuit.heads.items():
        table.add_row(group, " ".join(heads))
    return table


def _cells(circuit: Circuit) -> Table:
    """Each cell with its sites, and what is known of it."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("cell", no_wrap=True)
    table.add_column("sites", justify="right")
    table.add_column("")
    for cell in (*circuit.headline, *circuit.further):
        known = (circuit.ranked or {}).get(cell)
        headline = cell in circuit.headline
        verdict = "further" if not headline else "" if known is None else "ranked" if known.ranked else known.reason
        sites = len(circuit.cross_sections[cell.cross_section].sites)
        table.add_row(str(cell), str(sites), verdict, style="" if headline else "dim")
    return table
