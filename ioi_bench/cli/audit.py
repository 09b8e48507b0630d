"""`ioi-bench audit`: the benchmark's own report card."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ioi_bench.cli import options
from ioi_bench.cli.console import cache_folder, duration, number, out, print_json, progress, say

if TYPE_CHECKING:
    from rich.table import Table

    from ioi_bench.studies.audit.plan import Amount
    from ioi_bench.studies.audit.study import Audit

__all__ = ["audit"]


def audit(
    suites: Annotated[
        list[Path] | None,
        typer.Option(
            "--suites", help="A suite or a folder of suites; may be repeated. By default the reference suites."
        ),
    ] = None,
    run: Annotated[
        Path | None, typer.Option("--run", help="A finished training run, for scores over its checkpoints.")
    ] = None,
    prompts: Annotated[int, typer.Option("--prompts", help="Of each split that is drawn.")] = 1000,
    train_prompts: options.TrainPrompts = None,
    splits: Annotated[int, typer.Option("--splits", help="How many splits are drawn, for test and retest.")] = 5,
    seeds: Annotated[
        int, typer.Option("--seeds", help="How often each corruption is drawn, and how many random suites there are.")
    ] = 3,
    checkpoints: Annotated[int, typer.Option("--checkpoints", help="So many checkpoints of the run.")] = 6,
    planted_prompts: Annotated[int, typer.Option("--planted-prompts", help="Of planted dictionaries.")] = 500,
    planted_train_prompts: Annotated[
        int, typer.Option("--planted-train-prompts", help="Of planted dictionaries: only the first N train prompts.")
    ] = 5000,
    shares: Annotated[
        str, typer.Option("--shares", help="Which shares of a planted dictionary's features are spoilt.")
    ] = "0.15,0.3,0.45,0.6,0.8,1",
    folder: Annotated[
        Path, typer.Option("--out", "-o", help="Where audit.md, audit.json and audit/ go; they are replaced.")
    ] = Path("runs/audit"),
    verdicts: Annotated[
        Path | None, typer.Option("--verdicts", help="Also write the verdicts alone into this file, as they ship.")
    ] = None,
    keep: Annotated[
        Path | None, typer.Option("--keep", help="Where finished evaluations are kept; by default in the cache.")
    ] = None,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Only say how much there is to do: seconds where nothing is kept.")
    ] = False,
    model: options.Model = "ioi-mini",
    json: options.Json = False,
) -> None:
    """Measure the benchmark itself, and say which figures may rank suites.

    Judges suites on prompts drawn anew, seeds, checkpoints of a run, and known features that are spoilt step by step.
    Finished evaluations are kept: what was cut off goes on. How to read the report: docs/audit.md.

    \b
    Examples:
      ioi-bench audit --estimate
      ioi-bench audit --run runs/reference --out docs --verdicts ioi_bench/evaluation/audited.json
      ioi-bench audit --suites runs/mine/selected --prompts 200 --splits 2 --seeds 2 --json
    """
    from datetime import date

    from ioi_bench.lm.model import load_model
    from ioi_bench.studies.audit.plan import Amount, Plan
    from ioi_bench.studies.audit.study import audit as measure
    from ioi_bench.studies.audit.study import write_audit
    from ioi_bench.studies.audit.units import Bench
    from ioi_bench.training.runs import Run

    amount = Amount(
        prompts, train_prompts, splits, seeds, checkpoints, planted_prompts, planted_train_prompts, _numbers(shares)
    )
    found = None if run is None else Run(run)
    if found is not None:
        found.require_finished()
    loaded = load_model(model)
    with progress() as report:
        cache = cache_folder()
        bench = Bench(loaded, options.circuit_of(loaded), keep or cache / "audit", cache, report)
        plan = Plan(bench, _suites(suites, model), found, amount)
        units = plan.units()
        if estimate:
            say(f"{len(units)} evaluations; results that are kept from before are looked up")
            total, left, seconds = bench.estimate(units)
            say(f"{total} evaluations, {total - left} of them kept from before: {duration(seconds)} for the rest")
            return
        command = _command(suites, run, amount, folder)
        result = measure(plan, date=date.today().isoformat(), command=command, announce=say)
    write_audit(result, folder, verdicts)
    if json:
        print_json(result.to_json())
    else:
        out().print(_table(result))
    say(f"wrote {folder}/: audit.md, audit.json and {folder}/audit/")


def _suites(given: list[Path] | None, model: str) -> tuple[Path, ...]:
    """Folders of single suites."""
    from ioi_bench.dictionaries.suite import HEADER_FILE
    from ioi_bench.errors import InputError
    from ioi_bench.reference.bundled import bundled_folder

    found: list[Path] = []
    for folder in given or [bundled_folder() / model]:
        below = (
            [folder] if (folder / HEADER_FILE).is_file() else sorted(p.parent for p in folder.glob(f"*/{HEADER_FILE}"))
        )
        if not below:
            raise InputError(f"there are no suites in {str(folder)!r}: give a suite, or a folder that holds some")
        found += below
    return tuple(found)


def _numbers(text: str) -> tuple[float, ...]:
    from ioi_bench.errors import InputError

    try:
        return tuple(float(word) for word in options.words(text))
    except ValueError:
        raise InputError(f"--shares is {text!r}, expected numbers with commas, such as 0.3,0.6,1") from None


def _command(suites: list[Path] | None, run: Path | None, amount: Amount, folder: Path) -> str:
    """The command line that makes the report again."""
    from ioi_bench.studies.audit.plan import Amount as Usual

    words = ["ioi-bench", "audit"]
    for path in suites or ():
        words += ["--suites", str(path)]
    words += ["--run", f"runs/{run.name}"] if run is not None else []
    usual = Usual()
    for name, value in vars(amount).items():
        if value != getattr(usual, name) and value is not None:
            text = ",".join(f"{share:g}" for share in value) if name == "shares" else str(value)
            words += [f"--{'checkpoints' if name == 'epochs' else name.replace('_', '-')}", text]
    return shlex.join([*words, "--out", str(folder)])


def _table(found: Audit) -> Table:
    from rich import box
    from rich.table import Table

    from ioi_bench.studies.audit.measured import METRICS

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("figure", no_wrap=True)
    for heading in ("may rank", "ICC", "largest p", "least ρ"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("fails for")
    for name, verdict in found.verdicts.items():
        values = [number(gate.value, 3) for gate in verdict.gates]
        worst = "; ".join(gate.worst or gate.name for gate in verdict.gates if not gate.passed)
        table.add_row(METRICS[name].words, "yes" if verdict.ranks else "no", *values, worst)
    return table
