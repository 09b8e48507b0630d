"""The study of convergence in words: ``CONVERGENCE.md``, and the cells that the command prints, too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ioi_bench.studies.convergence import FIGURES, ConvergenceStudy
from ioi_bench.studies.post.markdown import markdown_table
from ioi_bench.studies.post.numbers import number
from ioi_bench.studies.post.training_tables import CONVERGED

__all__ = ["FIGURE", "HEADINGS", "compared_rows", "convergence_page", "end_rows", "verdict"]

FIGURE = "curves.png"
"""The name of the figure beside the page."""

HEADINGS = ("variant", "λ, k", "loss", "error", "converged", *(f"{name}, half → end" for name in FIGURES.values()))
"""Of `end_rows`."""


def verdict(study: ConvergenceStudy, run: str) -> str:
    """How much of a run has converged, and by what rule."""
    own = study.ends[study.ends["run"] == run]
    start, end = study.spans[run]
    return (
        f"{run}: {int(own['converged'].sum())} of {len(own)} have converged: loss and error move by less than "
        f"{CONVERGED:.0%} over epochs {start} to {end}, the last quarter before the learning rate falls"
    )


def end_rows(study: ConvergenceStudy, run: str) -> Iterator[list[str]]:
    """Of a run, a row a variant and sparsity."""
    for row in study.ends[study.ends["run"] == run].to_dict("records"):
        moved = [_percent(row["loss_change"]), _percent(row["change"]), "yes" if row["converged"] else "no"]
        shown = [f"{_shown(name, row[f'{name}_half'])} → {_shown(name, row[f'{name}_end'])}" for name in FIGURES]
        yield [row["variant"], f"{row['sparsity']:g}", *moved, *shown]


def compared_rows(study: ConvergenceStudy) -> Iterator[list[str]]:
    """Of what all runs have trained, a row a variant and sparsity: the last checkpoints, run by run."""
    for (variant, sparsity), own in study.compared.groupby(["variant", "sparsity"], sort=False):
        shown = (" → ".join(_shown(name, value) for value in own[name]) for name in FIGURES)
        yield [str(variant), f"{sparsity:g}", str(own["n"].iloc[0]), *shown]


def convergence_page(study: ConvergenceStudy, commands: Sequence[str]) -> str:
    """The whole page, in Markdown."""
    lines = ["# How far training has come", "", "```console", *(f"$ {line}" for line in commands), "```", ""]
    lines += ["Changes of loss and error are of train, over the rule's epochs; error, L0 and relative edit distance"]
    lines += ["(`exchange`, k = 2) of validation, at half of the epochs and at the end. All are means over sites and"]
    lines += [
        "seeds. The learning rate falls over the last quarter, so that a doubling shows more than it would without."
    ]
    for run in study.spans:
        ends = study.ends[study.ends["run"] == run]
        lines += [
            "",
            f"## {run}: epochs {ends['half'].iloc[0]} and {ends['end'].iloc[0]}",
            "",
            f"{verdict(study, run)}.",
        ]
        lines += ["", *markdown_table(HEADINGS, end_rows(study, run))]
    if len(study.compared):
        epochs = _epochs(study)
        lines += ["", f"## Trained longer: {epochs} epochs", "", "The last checkpoints of the SAEs that all runs have:"]
        lines += ["", *markdown_table(["variant", "λ, k", "SAEs", *FIGURES.values()], compared_rows(study))]
    lines += ["", "## Curves", "", f"![Training curves of {next(iter(study.spans))}]({FIGURE})"]
    return "\n".join(lines) + "\n"


def _epochs(study: ConvergenceStudy) -> str:
    found: Mapping[Any, Any] = study.compared.drop_duplicates("run").set_index("run")["end"].to_dict()
    return " → ".join(f"{epochs} ({run})" for run, epochs in found.items())


def _percent(value: float) -> str:
    return "–" if value != value else f"{100 * value:+.1f} %"


def _shown(name: str, value: float) -> str:
    return (
        f"{value:.1f}" if name == "l0" else f"{number(value)}" if name == "l2" else f"{value:.3f}".replace("0.", ".", 1)
    )
