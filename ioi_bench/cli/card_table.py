"""A score card on the terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ioi_bench.cli.anchors_table import print_anchors
from ioi_bench.cli.console import figure, number

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from ioi_bench.evaluation.card import Card, CardCell, EditFigures

__all__ = ["print_card", "shown_budget"]

_FIGURE = re.compile(r"-?\d+(?:\.\d+)?")
_F1 = 0.8
"""The threshold that tables show."""

_LEGEND = (
    "score: 0 is matched random, 1 the skyline; –: a further cell, which has none",
    "unranked: does not count, for a reason given below",
    "no edit: accuracy without one; acc/wt: accuracy and weight of the edit",
    "L0: active features; FVU: variance unexplained; LD rec.: logit difference",
    "recovered, with ? where mean ablation moves it too little to divide by",
)
"""No line folds at 80 columns."""

_EXPLAINED = "explained: share of living features; kept, removed: their sufficiency, necessity"


def shown_budget(budgets: Iterable[int]) -> int:
    """The budget that tables show: 2, as the post's do, or the nearest one that was evaluated."""
    return min(budgets, key=lambda budget: (abs(budget - 2), budget))


def _headline_method(card: Card) -> str:
    """``exchange``, or the first method where it was not asked for."""
    return "exchange" if "exchange" in card.made.methods else card.made.methods[0]


def _pair(edit: EditFigures | None) -> str:
    """Accuracy/weight, as the papers' tables print them."""
    return "–" if edit is None else f"{number(edit.accuracy.value)}/{number(edit.weight_removed.value)}"


def _edit(cell: CardCell, method: str, budget: int) -> EditFigures | None:
    return next((edit for edit in cell.edits if (edit.method, edit.budget) == (method, budget)), None)


def print_card(card: Card, console: Console) -> None:
    """Headline scores, the table of cells, and why some of them do not count."""
    from rich.text import Text

    from ioi_bench.evaluation.audited import audit_note, why_not

    made = card.made
    console.print(
        Text(made.suite, style="bold").append(
            f" on {made.model}: {made.spec} {made.split}, {made.n_prompts:,} prompts, {made.wall_seconds:.0f} s",
            style="not bold",
        )
    )
    console.print()
    console.print(_headline(card))
    console.print(f"\n{_headline_method(card)}: accuracy / weight of the edit, and the score")
    console.print(_cells(card))
    if len(made.methods) > 1 and any(cell.headline and cell.ranked for cell in card.cells):
        console.print("\nthe methods beside each other: score, accuracy/weight")
        console.print(_by_method(card))
    if any(found.explained for found in card.cross_sections):
        console.print(f"\nfeatures explained (F1 ≥ {_F1}), what these do alone, and the codes' best cosines")
        console.print(_cross_sections(card))
        console.print(_EXPLAINED, style="dim")
    if card.anchors.suite or card.anchors.track is not None:
        console.print("\nanchors: score, and accuracy/weight, means of the ranked cells")
        print_anchors(card.anchors, console)
    if card.baselines:
        console.print("\nbaselines, judged as the suite is: IOI score")
        console.print(_baselines(card))
    method, budget = _headline_method(card), shown_budget(card.made.budgets)
    if any(edit.metrics for cell in card.cells for edit in cell.edits):
        console.print(f"\nplugins' metrics: {method}, k = {budget}")
        console.print(_metrics(card, method, budget))
    console.print()
    for line in _LEGEND:
        console.print(line, style="dim")
    if card.anchors.note:
        console.print(Text(f"no anchors of the track: {card.anchors.note}", style="dim"))
    reasons = {method: why_not(f"score.{method}", made.scoring) for method in card.headline}
    for method, reason in reasons.items():
        if reason:
            console.print(Text(_shown_only(method, reason), style="dim"))
    if (note := audit_note(made.model_sha256)) and (rank := [one for one, reason in reasons.items() if not reason]):
        console.print(Text(f"{', '.join(rank)}: {note}", style="dim"))
    for reason, cells in _not_ranked(card):
        console.print(Text(f"not ranked: {reason}: {', '.join(cells)}", style="dim"))
    for cell in card.cells:
        if cell.missing_sites:
            missing = f"{len(cell.missing_sites)} of {len(cell.sites)}"
            console.print(Text(f"{cell.name}: {missing} sites have no dictionary and count as random", style="dim"))


def _shown_only(method: str, reason: str) -> str:
    """That suites are not ranked by a method's score; the gates that it failed stand in docs/audit.md."""
    failed = "it failed the benchmark's own audit (docs/audit.md)"
    said = reason.startswith(("it was not", "audited under"))
    return f"{method} ranks no suites: {reason if said else failed}"


def _not_ranked(card: Card) -> list[tuple[str, list[str]]]:
    """Headline cells that do not count, by reason; where reasons differ in figures alone, with the figures' range."""
    groups: dict[str, list[CardCell]] = {}
    for cell in card.cells:
        if cell.headline and not cell.ranked:
            groups.setdefault(_FIGURE.sub("#", cell.reason), []).append(cell)
    return [(_one_reason([cell.reason for cell in cells]), [cell.name for cell in cells]) for cells in groups.values()]


def _one_reason(reasons: list[str]) -> str:
    """One sentence for several that differ in figures alone.

    >>> _one_reason(["gains only 0.030 (0.10 needed)", "gains only -0.012 (0.10 needed)"])
    'gains only -0.012 to 0.030 (0.10 needed)'
    """
    columns = zip(*(_FIGURE.findall(reason) for reason in reasons), strict=True)
    spread = ((min(column, key=float), max(column, key=float)) for column in columns)
    ranges = iter(low if low == high else f"{low} to {high}" for low, high in spread)
    return _FIGURE.sub(lambda _: next(ranges), reasons[0])


def _headline(card: Card) -> Table:
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for index, (method, headline) in enumerate(card.headline.items()):
        cells = f"mean of {headline.n_cells} ranked cell{'s' * (headline.n_cells != 1)}" if index == 0 else ""
        style = "bold" if index == 0 else ""
        table.add_row("IOI score" if index == 0 else "", method, figure(headline.score), cells, style=style)
    return table


def _cells(card: Card) -> Table:
    from rich import box
    from rich.table import Table

    method, budget = _headline_method(card), shown_budget(card.made.budgets)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("\ncell", no_wrap=True)
    for heading in (
        "no\nedit",
        "skyline\nacc/wt",
        f"k = {budget}\nacc/wt",
        "score\n[95 %]",
        "\nL0",
        "\nFVU",
        "LD\nrec.",
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    # Ranked first; what does not count is shown, dimmed.
    for cell in sorted(card.cells, key=lambda cell: (not cell.headline, not cell.ranked)):
        score = cell.scores.get(method)
        counts = cell.headline and cell.ranked
        faithful = cell.faithfulness
        table.add_row(
            cell.name,
            number(cell.no_edit.value),
            _pair(cell.skyline.get("mean")),
            _pair(_edit(cell, method, budget)),
            figure(score.score) if score and counts else "unranked" if cell.headline else "–",
            number(faithful.l0.value, 1),
            number(faithful.fvu.value),
            number(faithful.ld_recovered.value) + ("" if faithful.ld_recovered_reliable else "?"),
            style="" if counts else "dim",
        )
    return table


def _by_method(card: Card) -> Table:
    """Each method's score in each ranked cell, and its accuracy at the shown budget."""
    from rich import box
    from rich.table import Table

    budget = shown_budget(card.made.budgets)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column(f"k = {budget}", no_wrap=True)
    for method in card.made.methods:
        table.add_column(method, justify="right", no_wrap=True)
    for cell in card.cells:
        if cell.headline and cell.ranked:
            row = []
            for method in card.made.methods:
                score = cell.scores.get(method)
                shown = number(score.score.value) if score else ""
                row.append(f"{shown} {_pair(_edit(cell, method, budget))}".strip())
            table.add_row(cell.name, *row)
    return table


def _cross_sections(card: Card) -> Table:
    """What the features of each cross-section mean, what those that are explained do, and where they point."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("cross-section", no_wrap=True)
    attributes = list(card.cross_sections[0].geometry)
    for heading in ("explained", "kept", "removed", *(f"cos {attribute}" for attribute in attributes)):
        table.add_column(heading, justify="right", no_wrap=True)
    for found in card.cross_sections:
        at = found.at(_F1)
        cosines = (found.geometry[attribute].codes_to_features for attribute in attributes)
        table.add_row(found.name, *(number(figure.value) for figure in (at.share, at.kept, at.removed, *cosines)))
    return table


def _baselines(card: Card) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("baseline", no_wrap=True)
    for method in card.headline:
        table.add_column(method, justify="right", no_wrap=True)
    rows = [(card.made.suite, card.headline), *((row.name, row.headline) for row in card.baselines)]
    for name, headline in rows:
        table.add_row(name, *(figure(headline[m].score) if m in headline else "–" for m in card.headline))
    return table


def _metrics(card: Card, method: str, budget: int) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("cell", no_wrap=True)
    names = list(card.cells[0].edits[0].metrics)
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for cell in card.cells:
        edit = _edit(cell, method, budget)
        if cell.headline and edit is not None:
            table.add_row(cell.name, *(figure(edit.metrics[name]) for name in names))
    return table
