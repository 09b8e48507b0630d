"""The page's first sections: what the SAEs are, and how they were trained."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ioi_bench.studies.post.markdown import markdown_table
from ioi_bench.studies.post.numbers import number
from ioi_bench.studies.post.training_tables import CONVERGED, EARLY

if TYPE_CHECKING:
    import pandas as pd

    from ioi_bench.studies.post.study import PostStudy

__all__ = ["training_lines", "what_they_are"]


def what_they_are(study: PostStudy, readme: bool) -> Iterator[str]:
    """The section on the recipe and on selection; ``readme``: whether one lies beside the page."""
    yield "## What these SAEs are"
    yield ""
    made, never = study.made, ", ".join(study.not_resampled)
    again = " and ".join(str(epoch) for epoch in study.resampled_after)
    rate = f"{made['learning_rate']:g}"
    yield f"One SAE a site, trained for {made['epochs']} epochs at a learning rate of {rate} at its height."
    if again:
        yield f"Dead features start again after epochs {again}" + (f", but not those of {never}." if never else ".")
    if readme:
        yield "How far they are trained, and what longer training may change: [README.md](README.md)."
    yield ""
    yield "Where selection landed (agnostic), counted over sites and seeds. At an end of λ's grid a better value may"
    yield f"lie beyond it. *Early*: a checkpoint of the first {EARLY} epochs."
    yield ""
    rows = []
    for row in study.choices.to_dict("records"):
        name = row["variant"] if math.isnan(row["k"]) else f"{row['variant']} k={row['k']:g}"
        ends = ("–" if math.isnan(row[end]) else f"{row[end]:g}" for end in ("least", "largest"))
        rows.append([name, *ends, *(str(row[count]) for count in ("early", "last", "n"))])
    yield from markdown_table(["variant", "least λ", "largest λ", "early", "last epoch", "of"], rows)


def training_lines(curves: pd.DataFrame, steady: tuple[int, int]) -> Iterator[str]:
    """The section on how training went; ``steady``: the epochs between which the change is shown."""
    yield "## Training"
    yield ""
    yield "![Training curves](figures/curves.png)"
    yield ""
    yield "Where training ended: means over sites and seeds. *Changes* are over the last quarter of the epochs before"
    yield f"the learning rate starts to fall ({steady[0]} to {steady[1]}); once it falls, the error settles however far"
    yield f"training has come. *Converged*: loss and error both moved by less than {CONVERGED:.0%}. More, with the last"
    yield "doubling of the epochs: `ioi-bench study convergence`."
    yield ""
    last = curves[curves["epoch"] == curves["epoch"].max()]
    rows = (
        (
            *(r.variant, f"{r.sparsity:g}", number(r.error), f"{r.l0:.1f}", number(r.dead)),
            *(f"{100 * r.loss_change:+.1f} %", f"{100 * r.change:+.1f} %", "yes" if r.converged else "no"),
        )
        for r in last.itertuples()
    )
    headings = ["variant", "λ or k", "error", "L0", "dead share", "change of the loss", "of the error", "converged"]
    yield from markdown_table(headings, rows)
