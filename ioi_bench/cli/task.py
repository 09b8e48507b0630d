"""`ioi-bench task`: look at the prompts, export them, check their hash."""

from __future__ import annotations

import io
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ioi_bench.cli.console import out, print_json, say
from ioi_bench.sites import Role

if TYPE_CHECKING:
    import pandas as pd
    from rich.text import Text

    from ioi_bench.task import Prompt, Split, TaskSpec

__all__ = ["app"]

app = typer.Typer(name="task", help="The prompts: show, export, hash.", no_args_is_help=True)

_COLOURS = {
    Role.IO: "bold green",
    Role.S1: "bold yellow",
    Role.S1_NEXT: "magenta",
    Role.S2: "bold red",
    Role.END: "bold cyan",
}

SplitName = Annotated[str, typer.Option("--split", help="train, validation, test, held-out-train, held-out-test.")]
Model = Annotated[str, typer.Option("--model", help="Whose task: ioi-mini (four prefixes) or gpt2 (one).")]


class Format(str, Enum):
    """File formats of `task export`."""

    PARQUET = "parquet"
    CSV = "csv"
    JSONL = "jsonl"


def _split(model: str, name: str) -> Split:
    from ioi_bench.lm.circuit import load_circuit
    from ioi_bench.task import task_spec

    return task_spec(load_circuit(model).task).split(name)


def _coloured(spec: TaskSpec, prompt: Prompt, tagged: bool) -> Text:
    """The sentence with its roles coloured; ``tagged`` writes the role's name as well, where colours do not show."""
    from rich.text import Text

    text, at, line = spec.text(prompt), 0, Text()
    for role, (start, stop) in sorted(spec.spans(prompt).items(), key=lambda item: item[1]):
        line.append(text[at:start]).append(text[start:stop], style=_COLOURS[role])
        if tagged:
            line.append(f"⟨{role}⟩", style="dim")
        at = stop
    return line.append(text[at:]).append(" → ", style="dim").append(prompt.io, style=_COLOURS[Role.IO])


@app.command()
def show(
    split: SplitName = "test",
    n: Annotated[int, typer.Option("--n", "-n", help="How many prompts.")] = 6,
    model: Model = "ioi-mini",
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print prompts with their roles coloured, each counterfactual below.

    \b
    Examples:
      ioi-bench task show
      ioi-bench task show --split train --n 2 --model gpt2
      ioi-bench task show --n 1 --json | jq '.[0].text'
    """
    from ioi_bench.task.frame import EDITS, split_rows

    prompts = _split(model, split).head(n)
    if json:
        print_json(split_rows(prompts))
        return
    from rich.table import Table
    from rich.text import Text

    console, spec = out(), prompts.spec
    tagged = console.color_system is None
    legend = Text("  ").join(Text(str(role), style=style) for role, style in _COLOURS.items())
    console.print(Text("roles: ").append(legend).append(f"   task {spec.name}, split {split}", style="dim"))
    for index, prompt in enumerate(prompts.prompts):
        table = Table.grid(padding=(0, 2))
        table.add_column(justify="right", width=8, style="dim")
        table.add_column()
        table.add_row(f"{index} {prompt.pattern}", _coloured(spec, prompt, tagged))
        for edit in EDITS:
            table.add_row("+".join(edit), _coloured(spec, prompts.counterfactual(edit)[index], tagged))
        console.print()
        console.print(table)


@app.command()
def export(
    file: Annotated[Path, typer.Option("--out", "-o", help="The file to write.")],
    split: SplitName = "test",
    format: Annotated[Format, typer.Option("--format", help="The file's format.")] = Format.PARQUET,
    model: Model = "ioi-mini",
) -> None:
    """Write a split to a file: prompts, counterfactuals, and where each role stands in the text.

    \b
    Examples:
      ioi-bench task export --out test.parquet
      ioi-bench task export --split train --format jsonl --out train.jsonl --model gpt2
    """
    from ioi_bench.atomic import write_file
    from ioi_bench.task.frame import split_frame

    frame = split_frame(_split(model, split))
    write_file(file, _encoded(frame, format))
    say(f"wrote {len(frame):,} prompts to {file}")


def _encoded(frame: pd.DataFrame, format: Format) -> bytes:
    if format is Format.PARQUET:
        buffer = io.BytesIO()
        frame.to_parquet(buffer, index=False)
        return buffer.getvalue()
    if format is Format.CSV:
        return frame.to_csv(index=False).encode()
    return frame.to_json(orient="records", lines=True, force_ascii=False).encode()


@app.command("hash")
def hash_(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Print the sha256 of every task spec: words, templates, seeds and all generated prompts.

    \b
    Examples:
      ioi-bench task hash
      ioi-bench task hash --json
    """
    from ioi_bench.task import IOI_V1, IOI_V1_MINI

    hashes = {spec.name: spec.sha256 for spec in (IOI_V1, IOI_V1_MINI)}
    if json:
        print_json(hashes)
        return
    for name, sha256 in hashes.items():
        typer.echo(f"{sha256}  {name}")
