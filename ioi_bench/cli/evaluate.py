"""`ioi-bench evaluate`: the main job."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ioi_bench.cli import options
from ioi_bench.cli.console import Report, cache_folder, out, progress, say
from ioi_bench.cli.reference import hint_for
from ioi_bench.cli.releases import AllKnown, Layer, ReleaseName, Width, chosen, run_each
from ioi_bench.cli.season import split_named
from ioi_bench.errors import InputError, SuiteError

if TYPE_CHECKING:
    from ioi_bench.dictionaries.source import Source
    from ioi_bench.evaluation.card import Card
    from ioi_bench.plugins.records import LoadOptions
    from ioi_bench.releases import Chosen
    from ioi_bench.task import Split

__all__ = ["evaluate"]


def evaluate(
    path: Annotated[
        str | None,
        typer.Argument(metavar="PATH", help="A file or folder in any format that a loader knows, or hf://org/repo."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", help="ioi-mini, gpt2, a plugin's, or a directory; by default the one that PATH names."
        ),
    ] = None,
    loader: options.Loader = None,
    hook: options.Hook = None,
    arch: options.Arch = None,
    scale: Annotated[
        str | None, typer.Option("--scale", help="A factor on the inputs, or sqrt-d for a mean norm of √d_in.")
    ] = None,
    settings: options.Set = None,
    baseline: Annotated[
        list[str] | None, typer.Option("--baseline", help="A row beside the suite, such as pca; may be repeated.")
    ] = None,
    anchors: Annotated[
        Path | None, typer.Option("--anchors", help="The track's, from `ioi-bench anchors`; ioi-mini's ship.")
    ] = None,
    report: Annotated[
        list[str] | None, typer.Option("--report", help="A report beside card.json, such as markdown; may be repeated.")
    ] = None,
    plugin: options.Plugin = None,
    split: Annotated[
        str, typer.Option("--split", help="validation, test, drawn:KEY or season:NAME; choose on validation.")
    ] = "test",
    budgets: Annotated[str, typer.Option("--budgets", help="Features that an edit may change.")] = "1,2,4,8,16",
    methods: options.Methods = "exchange,split,aware,universal",
    cells: Annotated[
        str | None, typer.Option("--cells", help="Only these, such as io@nm-out,pos@si-v; faster; by default all.")
    ] = None,
    prompts: options.Prompts = None,
    precision: Annotated[
        float | None,
        typer.Option("--precision", help="As many prompts as make the IOI score's interval ± this, such as 0.01."),
    ] = None,
    train_prompts: options.TrainPrompts = None,
    device: options.Device = "cpu",
    batch_size: options.BatchSize = 512,
    seed: options.Seed = 0,
    folder: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the card; by default a new one, runs/SUITE-HASH.")
    ] = None,
    track: options.Track = None,
    cross_site: Annotated[
        bool, typer.Option("--cross-site", help="Score a residual-stream dictionary on the circuit's q, k and v.")
    ] = False,
    no_preflight: Annotated[
        bool, typer.Option("--no-preflight", help="Score even where the inputs seem to be of another kind.")
    ] = False,
    fresh: Annotated[
        int | None,
        typer.Option("--fresh", help="Judge also on N prompts drawn from the weights' hash, to find memorised ones."),
    ] = None,
    release: ReleaseName = None,
    layer: Layer = None,
    width: Width = None,
    all_known: AllKnown = False,
    json: options.Json = False,
) -> None:
    """Score dictionaries: how well editing its features does what editing the prompt would.

    Prints the IOI score and a table of cells, and writes card.json, prompts.parquet and card.png. 0 is what matched
    random dictionaries reach, 1 what supervised ones reach.

    \b
    Examples:
      ioi-bench evaluate reference_saes/ioi-mini/topk-k3-s0
      ioi-bench evaluate my_saes/ --model gpt2 --prompts 500
      ioi-bench evaluate my_saes/ --precision 0.01
      ioi-bench evaluate my_saes/ --methods exchange --budgets 1,2,4 --out runs/mine
      ioi-bench evaluate my_saes/ --baseline pca --baseline neurons --report markdown
      ioi-bench evaluate my_sae.safetensors --plugin my_sae.py --hook "blocks.1.attn.hook_z[0]"
      ioi-bench evaluate hf://org/repo/sub/folder
      ioi-bench evaluate --release gpt2-small-res-jb --layer 8
      ioi-bench evaluate --all-known --prompts 500 --out runs/known
      ioi-bench evaluate my_saes/ --fresh 1000
      ioi-bench evaluate my_saes/ --json | jq .headline
    """
    from ioi_bench.evaluation.evaluate import evaluate as run
    from ioi_bench.plugins.loading import load_source
    from ioi_bench.plugins.records import Reporter
    from ioi_bench.plugins.sources import open_source

    if precision is not None:
        _check_precision(precision, prompts, options.words(methods))
    judged = split_named(split)
    plugins = options.load_plugins(plugin)
    given = options.load_options(hook=hook, arch=arch, model=model, scale=scale, settings=settings)

    def open_one(address: str, told: Report) -> Source:
        try:
            return open_source(address, told)
        except SuiteError as error:
            if hint := hint_for(address):
                raise SuiteError(f"{error}; {hint}") from error
            raise

    def one(address: str, own: LoadOptions, by: str | None, target: Path | None) -> None:
        with progress() as told:
            loaded = load_source(open_one(address, told), own, by, plugins=plugins)
            name = f"{_file_name(loaded.suite.name)}-{loaded.suite.sha256[:8]}"
            target = target or options.free_folder(Path("runs") / name)
            judge = partial(
                run,
                loaded,
                options=own,
                model=model or own.model,
                split=judged,
                train_prompts=train_prompts,
                cells=None if cells is None else options.words(cells),
                anchors=anchors,
                plugins=plugins,
                device=options.device_name(device),
                batch_size=batch_size,
                seed=seed,
                track=track,
                preflight=not no_preflight,
                cross_site=cross_site,
                fresh=fresh,
                cache_dir=cache_folder(),
                progress=told,
            )
            every_budget = options.numbers("--budgets", budgets)
            card = judge(
                prompts=prompts if precision is None else _prompts_for(judge, precision, every_budget, judged),
                budgets=every_budget,
                methods=options.words(methods),
                baselines=baseline or (),
                reports=report or (),
                out=target,
            )
        for note in loaded.claim.recognised.notes:
            say(f"note: {note}")
        written = [f"report-{name}{plugins.find(Reporter, name).suffix}" for name in report or ()]
        _show(card, target, written, json=json)
        if precision is not None:
            from ioi_bench.uncertainty.precision import half_width

            say(
                f"precision: ± {half_width(card):.4f} on {card.made.n_prompts:,} prompts; ± {precision:g} was asked for"
            )

    def known(found: Chosen) -> None:
        own = found.options.overridden(given)
        target = folder / _file_name(found.name) if folder is not None and all_known else folder
        one(found.uri, own, loader or found.release.loader, target)

    every = chosen(path, release, layer, width, all_known)
    if path is not None:
        one(path, given, loader, folder)
    else:
        run_each(every, known)


def _check_precision(precision: float, prompts: int | None, methods: Sequence[str]) -> None:
    from ioi_bench.evaluation.score import HEADLINE_METHOD
    from ioi_bench.uncertainty.precision import check_precision

    check_precision(precision)
    if prompts is not None:
        raise InputError(f"--prompts {prompts} and --precision {precision:g} were given: give one of them")
    if HEADLINE_METHOD not in methods:
        raise InputError(f"--precision is that of the score under {HEADLINE_METHOD}: name it among --methods")


def _prompts_for(judge: Callable[..., Card], precision: float, budgets: Sequence[int], split: Split | str) -> int:
    """As many as a pilot on the split's first prompts says."""
    from ioi_bench.evaluation.score import HEADLINE_METHOD, SCORED_BUDGETS
    from ioi_bench.task import task_spec
    from ioi_bench.uncertainty.precision import PILOT, plan

    scored = tuple(budget for budget in budgets if budget in SCORED_BUDGETS)
    if not scored:
        raise InputError(f"--precision needs a scored budget among --budgets: some of {SCORED_BUDGETS}")
    first = PILOT if isinstance(split, str) else min(PILOT, len(split))
    pilot = judge(prompts=first, budgets=scored, methods=(HEADLINE_METHOD,))
    available = len(task_spec(pilot.made.spec).split(split) if isinstance(split, str) else split)
    found = plan(pilot, precision, available)
    say(f"precision: {found}", style="" if found.enough else "yellow")
    return found.prompts


def _show(card: Card, target: Path, reports: Sequence[str], *, json: bool) -> None:
    from ioi_bench.cli.card_table import print_card

    if json:
        typer.echo(card.model_dump_json(indent=1))
    else:
        print_card(card, out())
    for warning in card.warnings:
        say(f"warning: {warning.message}", style="yellow")
    say(f"wrote {target}/: {', '.join(('card.json', 'prompts.parquet', 'card.png', 'card.svg', *reports))}")


def _file_name(name: str) -> str:
    """A suite's name comes from a file of somebody's: only what is harmless in a path is kept."""
    return re.sub(r"[^\w.-]+", "-", name).strip(".-") or "suite"
