"""`ioi-bench study`: questions that go beyond the card."""

from __future__ import annotations

import json as json_text
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ioi_bench.cli import options
from ioi_bench.cli.ablation import ablation
from ioi_bench.cli.console import cache_folder, duration, number, out, print_json, progress, say
from ioi_bench.cli.convergence import convergence
from ioi_bench.cli.coverage import coverage
from ioi_bench.cli.half import half
from ioi_bench.cli.select import candidates_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from ioi_bench.evaluation.bootstrap import Interval
    from ioi_bench.studies.attention_study import AttentionStudy, HeadFigures
    from ioi_bench.studies.post.estimate import PostEstimate
    from ioi_bench.studies.post.study import PostStudy
    from ioi_bench.training.runs import Run

__all__ = ["app"]

_TARGET_NAMES = {"difference": "IO − S1", "both": "both keys", "io": "IO", "s1": "S1"}
_STRONGEST, _PAIRS_SHOWN = 2, 5

app = typer.Typer(
    name="study",
    help="Studies beyond the card: attention, ablation, convergence, coverage, half, post.",
    no_args_is_help=True,
)
app.command()(ablation)
app.command()(convergence)
app.command()(coverage)
app.command()(half)


@app.command()
def attention(
    model: options.Model = "ioi-mini",
    suite: Annotated[
        str | None,
        typer.Option("--suite", help="Also by the features of these dictionaries: a path, or hf://org/repo."),
    ] = None,
    head: Annotated[
        list[str] | None,
        typer.Option("--head", help="LAYER.HEAD; may be repeated. By default the circuit's name movers."),
    ] = None,
    prompts: options.Prompts = None,
    train_prompts: options.TrainPrompts = None,
    folder: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write attention.json and the heat maps to this folder.")
    ] = None,
    plugin: options.Plugin = None,
    device: options.Device = "cpu",
    batch_size: options.BatchSize = 512,
    seed: Annotated[int, typer.Option("--seed", help="Of the bootstrap.")] = 0,
    json: options.Json = False,
) -> None:
    """Which pairs of features make a head attend to IO rather than to S1.

    Takes the attention scores of name movers apart, exactly, into pairs of a query's and a key's features: those of the
    skyline, and with --suite those of sparse dictionaries. How to read it: docs/attention-study.md.

    \b
    Examples:
      ioi-bench study attention
      ioi-bench study attention --suite reference_saes/ioi-mini/topk-k3-s0 --out runs/attention
      ioi-bench study attention --model gpt2 --head 9.9 --prompts 1000 --json
    """
    from ioi_bench.lm.model import load_model
    from ioi_bench.plugins.loading import load_source
    from ioi_bench.plugins.sources import open_source
    from ioi_bench.studies.attention_study import study_attention

    if folder is not None:
        options.refuse_existing(folder)
    loaded = load_model(model, options.device_name(device))
    with progress() as report:
        read = None
        if suite is not None:
            read = load_source(open_source(suite, report), plugins=options.load_plugins(plugin)).suite
        study = study_attention(
            loaded,
            options.circuit_of(loaded),
            suite=read,
            heads=head or (),
            prompts=prompts,
            train_prompts=train_prompts,
            batch_size=batch_size,
            seed=seed,
            cache_dir=cache_folder(),
            progress=report,
        )
    if json:
        print_json(study.to_json())
    else:
        _print(study)
    if folder is not None:
        _write(study, folder)


@app.command()
def post(
    run: Annotated[Path, typer.Argument(help="Folder of a finished training run.")],
    folder: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Where RESULTS.md, results.json and figures/ go; by default RUN/results."),
    ] = None,
    prompts: Annotated[int, typer.Option("--prompts", help="Only the first N test prompts.")] = 1000,
    train_prompts: options.TrainPrompts = None,
    selection_prompts: Annotated[
        int, typer.Option("--selection-prompts", help="Of selection: only the first N validation prompts.")
    ] = 2000,
    selection_train_prompts: Annotated[
        int, typer.Option("--selection-train-prompts", help="Of selection: only the first N train prompts.")
    ] = 10_000,
    model: options.Model = "ioi-mini",
    estimate_only: Annotated[bool, typer.Option("--estimate", help="Say how long it will take, and stop.")] = False,
    json: options.Json = False,
) -> None:
    """Redo "SAEs Discover Meaningful Features in the IOI Task" on a training run, and say which findings hold.

    Selects λ and checkpoints on validation, judges every variant on test, and writes tables, figures and, per finding
    of the post, whether it holds. Candidates and cards are kept in the run's folder: what was cut off goes on.
    --estimate answers for a run that is not trained yet, too.

    \b
    Examples:
      ioi-bench study post runs/ioi-mini
      ioi-bench study post runs/ioi-mini --estimate
      ioi-bench study post runs/quick --out runs/quick/post --prompts 200 --json
      ioi-bench study post runs/gpt2 --model gpt2 --out reference_saes/gpt2
    """
    from ioi_bench.lm.model import load_model
    from ioi_bench.studies.post.estimate import estimate_post
    from ioi_bench.studies.post.study import study_post, write_study
    from ioi_bench.training.runs import Run

    found, folder = Run(run), folder or run / "results"
    if not estimate_only:
        found.require_finished()
    loaded = load_model(model)
    circuit = options.circuit_of(loaded)
    judging: dict[str, Any] = {"prompts": prompts, "train_prompts": train_prompts, "cache_dir": cache_folder()}
    judging |= {"selection_prompts": selection_prompts, "selection_train_prompts": selection_train_prompts}
    with progress() as report:
        expected = estimate_post(found, loaded, circuit, **judging, progress=report)
        say(candidates_line(expected.candidates))
        say(_suites_line(expected))
        if estimate_only:
            if json:
                print_json({**asdict(expected), "seconds": expected.seconds})
            return
        study = study_post(found, loaded, circuit, **judging, announce=say, progress=report)
    words = ["ioi-bench study post", f"runs/{run.name}", f"--out {folder}", f"--prompts {prompts}"]
    words += [f"--train-prompts {train_prompts}"] if train_prompts is not None else []
    words += [f"--selection-prompts {selection_prompts} --selection-train-prompts {selection_train_prompts}"]
    words += [f"--model {model}"] if model != "ioi-mini" else []
    write_study(study, folder, [*_training_command(found), " ".join(words)])
    for name, reason in study.failed.items():
        say(f"warning: no suite {name}: {reason}", style="yellow")
    if json:
        print_json(study.to_json())
    else:
        _print_findings(study)
    say(f"wrote {folder}/: RESULTS.md, results.json and {folder}/figures/")


def _suites_line(found: PostEstimate) -> str:
    if not found.left:
        return f"{found.suites} suites: all have a card"
    of = f"{found.suites} suites, {found.left} of them to be judged: {duration(found.judging)}, as measured here"
    return f"{of}; {duration(found.seconds)} in all" if found.candidates.left else of


def _training_command(run: Run) -> list[str]:
    """What trained the run, where its recipe is one of ours."""
    from ioi_bench.training import read_recipe

    ours = sorted(Path("reference_saes/recipes").glob("*.toml"))
    named = [path for path in ours if read_recipe(path).sha256 == run.recipe.sha256]
    return [f"ioi-bench train {path} --out runs/{run.folder.name}" for path in named[:1]]


def _print_findings(study: PostStudy) -> None:
    table = _table()
    for heading in ("finding", study.made["model"], "why"):
        table.add_column(heading)
    for finding in study.findings:
        table.add_row(finding.claim, finding.verdict, finding.reason)
    out().print(table)


def _print(study: AttentionStudy) -> None:
    from ioi_bench.studies.attention import EXPECTED_PAIRS

    console = out()
    console.print(f"{study.model}: attention at IO and S1, {study.n_prompts:,} test prompts")
    console.print(f"Expected pairs, query part × key part: {', '.join(f'{q}×{k}' for q, k in EXPECTED_PAIRS)}\n")
    console.print(_shares(study))
    if any(found.pairs for found in study.heads):
        console.print("\nSingle features: the pairs with the largest shares of the variance over both keys\n")
        console.print(_feature_pairs(study))


def _write(study: AttentionStudy, folder: Path) -> None:
    from ioi_bench.atomic import write_file
    from ioi_bench.studies.attention_figure import write_attention_figures

    for index, features in enumerate(dict.fromkeys(found.features for found in study.heads)):
        name = "suite" if index else "skyline"
        write_attention_figures(study, features, folder / f"attention-{name}.png", folder / f"attention-{name}.svg")
    record = json_text.dumps(study.to_json(), indent=1, ensure_ascii=False, allow_nan=False)
    write_file(folder / "attention.json", (record + "\n").encode())
    say(f"wrote {folder}/: attention.json and the heat maps")


def _shares(study: AttentionStudy) -> Table:
    """Per head, features and target: what the expected pairs carry, and the strongest pairs."""
    from ioi_bench.studies.attention import TARGETS

    table = _table()
    for heading in ("head", "features", "share of"):
        table.add_column(heading, no_wrap=True)
    for heading in ("", "expected pairs"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("strongest pairs")
    for found in study.heads:
        mean = found.targets["difference"]
        rows = [("mean, IO − S1", mean.score, mean.expected_mean, mean.mean / mean.score)]
        for name in TARGETS:
            one = found.targets[name]
            rows.append((f"variance, {_TARGET_NAMES[name]}", one.spread, one.expected_share, one.share))
        for index, (what, amount, carried, grid) in enumerate(rows):
            names = (found.head, found.features) if index == 0 else ("", "")
            table.add_row(*names, what, number(amount), _interval(carried), _strongest(found, grid.tolist()))
    return table


def _strongest(found: HeadFigures, grid: Sequence[Sequence[float]]) -> str:
    cells = [(q, k, grid[i][j]) for i, q in enumerate(found.q) for j, k in enumerate(found.k)]
    best = sorted(cells, key=lambda cell: -abs(cell[2]))[:_STRONGEST]
    return ", ".join(f"{q}×{k} {number(value)}" for q, k, value in best)


def _feature_pairs(study: AttentionStudy) -> Table:
    """Of a suite: the strongest pairs of single features."""
    table = _table()
    for heading in ("head", "query feature", "key feature"):
        table.add_column(heading, no_wrap=True)
    table.add_column("share", justify="right", no_wrap=True)
    for found in study.heads:
        for index, pair in enumerate(found.pairs[:_PAIRS_SHOWN]):
            q, k = f"{pair.q} ({pair.q_kind})", f"{pair.k} ({pair.k_kind}) at {pair.key}"
            table.add_row(found.head if index == 0 else "", q, k, number(pair.share))
    return table


def _table() -> Table:
    from rich import box
    from rich.table import Table

    return Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)


def _interval(found: Interval) -> str:
    return f"{number(found.value)} [{number(found.low)} {number(found.high)}]"
