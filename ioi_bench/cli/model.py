"""`ioi-bench model`: look at a model's circuit, find one, train ioi-mini."""

from __future__ import annotations

from json import loads
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ioi_bench.cli import options
from ioi_bench.cli.console import number, out, print_json, progress, say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.table import Table

    from ioi_bench.lm.circuit import Circuit

__all__ = ["app"]

app = typer.Typer(name="model", help="The models: describe, discover, train-mini.", no_args_is_help=True)

_EFFECTS = {
    "accuracy": ("accuracy", "share of test prompts answered with IO"),
    "least_accuracy": ("worst group", "accuracy in the worst of template, prefix and pattern"),
    "interchange": ("swapped", "share answered as the causal model says, these heads swapped"),
    "one_head": ("one held", "share unchanged, one of these heads at its mean; the worse head"),
    "least": ("worst site", "the least share among the other sites, swapped one by one"),
}
"""What a circuit's file calls a measured effect, in words; those of another circuit keep their names."""

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
    if circuit.effects:
        console.print()
        console.print(_effects(circuit))
        for name in _measured(circuit):
            if name in _EFFECTS:
                console.print("{}: {}".format(*_EFFECTS[name]), style="dim")


@app.command()
def discover(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="ioi-mini, gpt2, or a Hugging Face directory.")],
    prompts: Annotated[int, typer.Option("--prompts", help="How many test prompts.")] = 64,
    threshold: Annotated[float, typer.Option("--threshold", help="The least effect of a site that counts.")] = 0.1,
    figure: Annotated[Path | None, typer.Option("--out", "-o", help="Draw the heat map: a .png or .svg.")] = None,
    device: options.Device = "cpu",
    batch_size: options.BatchSize = 32,
    json: options.Json = False,
) -> None:
    """Find the sites that carry each attribute: patch every one alone with every counterfactual.

    Prints the strongest rows as a heat map, and the cross-sections that they propose. Seconds for ioi-mini, minutes a
    prompt for GPT-2 small on one core.

    \b
    Examples:
      ioi-bench model discover ioi-mini
      ioi-bench model discover ioi-mini --out runs/heat.png
      ioi-bench model discover gpt2 --prompts 8 --json
    """
    from ioi_bench.lm.discovery import discover as run
    from ioi_bench.lm.discovery import find_cross_sections
    from ioi_bench.lm.heatmap import heat_table, write_heat_map
    from ioi_bench.lm.model import load_model
    from ioi_bench.task import task_spec

    loaded = load_model(model, options.device_name(device))
    split = task_spec(options.circuit_of(loaded).task).split("test").head(prompts)
    with progress() as report:
        found = run(
            loaded, split, batch_size=batch_size, progress=lambda done, total: report("patched runs", done, total)
        )
    proposed = find_cross_sections(found, threshold)
    if json:
        named = {a: {x.name: [str(site) for site in x.sites] for x in xs} for a, xs in proposed.items()}
        print_json({"cross_sections": named, "effects": loads(found.to_frame().to_json(orient="records"))})
    else:
        console = out()
        console.print(heat_table(found))
        for attribute, sections in proposed.items():
            for section in sections:
                console.print(f"{attribute}  {section.name:<10} {' '.join(str(site) for site in section.sites)}")
    if figure is not None:
        write_heat_map(found, figure)
        say(f"wrote {figure}")


@app.command("train-mini")
def train_mini(
    folder: Annotated[Path, typer.Option("--out", "-o", help="Folder for the model.")] = Path("runs/ioi-mini"),
    seed: Annotated[int, typer.Option("--seed", help="Decides the weights.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped.")] = False,
) -> None:
    """Train ioi-mini from scratch: weights, model card, and its circuit with measured effects and ranked cells.

    Takes less than an hour on two cores. A run that is stopped leaves its state beside the folder for --resume.

    \b
    Examples:
      ioi-bench model train-mini
      ioi-bench model train-mini --out runs/mini --resume
      ioi-bench evaluate my_saes/ --model runs/mini
    """
    from ioi_bench.evaluation.mini_track import make_mini_track
    from ioi_bench.lm.mini.train import MiniRecipe

    options.refuse_existing(folder)
    state = options.state_file(folder, ".pt", resume)
    with progress() as report:
        make_mini_track(
            folder,
            recipe=MiniRecipe(seed=seed),
            checkpoint=state,
            training=lambda step, steps, figures: report("steps, at most", step, steps, _figures(figures)),
            progress=report,
        )
    state.unlink(missing_ok=True)
    say(f"wrote {folder}/: the model, README.md and circuit.toml")


def _figures(figures: Mapping[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in figures.items())


def _record(circuit: Circuit) -> dict[str, object]:
    return {
        "track": circuit.track,
        "task": circuit.task,
        "sha256": circuit.sha256,
        "heads": {group: list(heads) for group, heads in circuit.heads.items()},
        "cross_sections": {name: [str(s) for s in section.sites] for name, section in circuit.cross_sections.items()},
        "effects": {name: dict(figures) for name, figures in circuit.effects.items()},
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
    table.add_column("sites")
    table.add_column("")
    for cell in (*circuit.headline, *circuit.further):
        known = (circuit.ranked or {}).get(cell)
        headline = cell in circuit.headline
        verdict = "further" if not headline else "" if known is None else "ranked" if known.ranked else known.reason
        parts = " ".join(f"{part.component}@{part.role}" for part in circuit.parts[cell.cross_section])
        sites = f"{len(circuit.cross_sections[cell.cross_section].sites)}: {parts}"
        table.add_row(str(cell), sites, verdict, style="" if headline else "dim")
    return table


def _measured(circuit: Circuit) -> list[str]:
    """The names of its measured effects, each once."""
    return list(dict.fromkeys(name for figures in circuit.effects.values() for name in figures))


def _effects(circuit: Circuit) -> Table:
    """What was measured, one row a thing."""
    from rich import box
    from rich.table import Table

    columns = _measured(circuit)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("measured", no_wrap=True)
    for column in columns:
        table.add_column(_EFFECTS[column][0] if column in _EFFECTS else column, justify="right", no_wrap=True)
    for name, figures in circuit.effects.items():
        table.add_row(name, *(number(figures[column], 3) if column in figures else "" for column in columns))
    return table
