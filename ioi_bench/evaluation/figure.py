"""The card's picture: edit accuracy against the weight of the edit, one panel a cell (after the paper's Fig. 4)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from ioi_bench.atomic import write_files
from ioi_bench.errors import InputError
from ioi_bench.evaluation.card import Card, CardCell, EditFigures
from ioi_bench.evaluation.figure_labels import FONT_SIZE, place_labels
from ioi_bench.evaluation.score import HEADLINE_METHOD, SCORED_BUDGETS

if TYPE_CHECKING:
    import altair as alt
    import pandas as pd

__all__ = ["card_chart", "figures", "write_figures"]

# Okabe and Ito's colours: told apart by colour-blind readers, and in grey by their lightness.
_COLOURS = {"exchange": "#0072B2", "split": "#E69F00", "aware": "#009E73", "universal": "#CC79A7"}
_SPARE_COLOURS = ("#D55E00", "#56B4E9", "#000000")
_SKYLINE, _NULL, _NO_EDIT = "skyline", "matched random", "no edit"
_INK, _PALE = "#333333", "#8a8a8a"
_PANEL_WIDTH, _PANEL_HEIGHT, _COLUMNS = 250, 190, 3
_HEADING_LETTERS = 42
_LEFT, _RIGHT, _TOP = -0.5, 2.0, 1.04
_STAR = "M0,-1L0.23,-0.31L0.95,-0.31L0.36,0.12L0.59,0.81L0,0.38L-0.59,0.81L-0.36,0.12L-0.95,-0.31L-0.23,-0.31Z"
_FONT = "Helvetica Neue, Helvetica, Arial, Liberation Sans, DejaVu Sans, sans-serif"


def card_chart(card: Card) -> alt.FacetChart:
    """The figure as an Altair chart: headline cells, or all cells of a card that has none.

    A line joins the budgets of a method, from small to large; the shaded corner is where an edit is at least as
    accurate as the skyline and removes no more weight than it.
    """
    import altair as alt

    cells = [cell for cell in card.cells if cell.headline] or list(card.cells)
    frame = _frame(cells)
    methods = list(dict.fromkeys(edit.method for cell in cells for edit in cell.edits))
    panel = alt.layer(*_layers(frame, methods)).properties(width=_PANEL_WIDTH, height=_PANEL_HEIGHT)
    header = alt.Header(
        title=None, labelExpr="split(datum.label, '|')", labelAnchor="start", labelFontSize=12, labelLineHeight=16
    )
    facet = alt.Facet("panel:N", header=header, sort=list(dict.fromkeys(frame["panel"])))
    chart = panel.facet(facet, data=frame, columns=_COLUMNS, spacing={"row": 14, "column": 22}, title=_title(card))
    configured = chart.resolve_axis(x="independent", y="independent")
    configured = configured.configure(font=_FONT, background="white", padding=14).configure_view(stroke="#cccccc")
    return configured.configure_axis(
        grid=False,
        tickCount=5,
        format=".1f",
        domainColor=_PALE,
        tickColor=_PALE,
        titleFontWeight="normal",
        titleColor=_INK,
    ).configure_legend(
        orient="bottom", direction="horizontal", title=None, labelFontSize=12, symbolSize=110, columnPadding=18
    )


def write_figures(card: Card, *paths: str | Path) -> None:
    """Draw the card into ``.png`` (two pixels a point) and ``.svg`` files, each whole or not at all.

    Raises:
        InputError: another ending.
        StorageError: a file cannot be written.
    """
    write_files(figures(card, *map(Path, paths)))


def figures(card: Card, *paths: Path) -> dict[Path, bytes]:
    """The bytes of `write_figures`.

    Raises:
        InputError: another ending.
    """
    import vl_convert

    for path in paths:
        if path.suffix.lower() not in (".png", ".svg"):
            raise InputError(f"a figure is a .png or a .svg file, not {path.name!r}")
    spec = card_chart(card).to_dict()
    return {
        path: vl_convert.vegalite_to_png(spec, scale=2)
        if path.suffix.lower() == ".png"
        else vl_convert.vegalite_to_svg(spec).encode()
        for path in paths
    }


def _title(card: Card) -> dict[str, Any]:
    headline = card.headline.get(HEADLINE_METHOD)
    score = "" if headline is None or headline.score.value is None else f"IOI score {_number(headline.score.value)}"
    if score and headline is not None and headline.score.low is not None and headline.score.high is not None:
        score += f" [{_number(headline.score.low)}, {_number(headline.score.high)}]"
    made = f"{card.made.model}, {card.made.split}, {card.made.n_prompts:,} prompts"
    how = "labels: scored budgets (features exchanged, or rounds); bars: 95 % intervals; shaded: skyline or better"
    return {
        "text": card.made.suite + (f": {score}" if score else ""),
        "subtitle": [f"{made}; {how}"],
        "anchor": "start",
        "fontSize": 16,
        "subtitleFontSize": 11,
        "subtitleColor": _PALE,
        "offset": 14,
    }


def _number(value: float) -> str:
    return f"{value:.2f}"


def _layers(frame: pd.DataFrame, methods: list[str]) -> list[alt.Chart]:
    import altair as alt

    spare = iter(_SPARE_COLOURS * len(methods))
    colours = [_COLOURS.get(method) or next(spare) for method in methods]
    x = alt.Scale(domain=_x_domain(frame), nice=False)
    y = alt.Scale(domain=[0, _TOP], nice=False)
    series = alt.Scale(domain=[*methods, _SKYLINE, _NULL, _NO_EDIT], range=[*colours, _INK, _PALE, "#bbbbbb"])
    legend = alt.Legend(symbolOpacity=1, symbolStrokeWidth=0)
    marks = alt.Scale(domain=series.domain, range=[*["circle"] * len(methods), _STAR, "cross", "diamond"])
    shape = alt.Shape("series:N", scale=marks, legend=legend)
    base = alt.Chart().encode(
        x=alt.X("weight:Q", scale=x, title="weight of the edit"),
        y=alt.Y("accuracy:Q", scale=y, title="edit accuracy"),
        color=alt.Color("series:N", scale=series, legend=legend),
    )
    edits = base.transform_filter(alt.FieldOneOfPredicate("series", methods))
    labels = edits.transform_filter(alt.FieldValidPredicate("label_weight", valid=True))
    null, no_edit, skyline = (base.transform_filter(alt.datum.series == name) for name in (_NULL, _NO_EDIT, _SKYLINE))
    plain = skyline.encode(color=alt.value(_INK))
    corner = skyline.mark_rect(opacity=0.45, clip=True).encode(
        color=alt.value("#F0E442"), x2="corner_weight:Q", y2="corner_accuracy:Q"
    )
    rule = plain.mark_rule(strokeDash=[2, 3], opacity=0.45)
    return [
        corner,
        rule.encode(x=alt.value(0), x2=alt.value(_PANEL_WIDTH)),
        rule.encode(y=alt.value(0), y2=alt.value(_PANEL_HEIGHT)),
        null.mark_point(size=32, filled=True, clip=True).encode(shape=shape),
        no_edit.mark_point(size=50, filled=True).encode(shape=shape),
        edits.mark_line(strokeWidth=1.2, opacity=0.55, clip=True).encode(order="budget:Q"),
        edits.mark_rule(opacity=0.5, clip=True).encode(y="accuracy_low:Q", y2="accuracy_high:Q"),
        edits.mark_rule(opacity=0.5, clip=True).encode(x="weight_low:Q", x2="weight_high:Q"),
        edits.mark_point(size=46, filled=True, opacity=1, clip=True).encode(shape=shape),
        labels.mark_text(fontSize=FONT_SIZE).encode(x="label_weight:Q", y="label_accuracy:Q", text="budget:Q"),
        skyline.mark_point(size=110, filled=True, opacity=1).encode(shape=shape),
    ]


def _frame(cells: Sequence[CardCell]) -> pd.DataFrame:
    """All points: one row per panel, series and budget."""
    import pandas as pd

    rows = []
    for cell in cells:
        points = [_row(edit.method, edit) for edit in cell.edits]
        points.append(_row(_SKYLINE, cell.skyline["mean"]) | {"corner_weight": _LEFT, "corner_accuracy": _TOP})
        points += _null_rows(cell)
        points.append({"series": _NO_EDIT, "budget": 0, "weight": 0.0, "accuracy": cell.no_edit.value})
        rows += [{"panel": _panel(cell), **point} for point in points if point["weight"] is not None]
    return _labelled(pd.DataFrame(rows), {edit.method for cell in cells for edit in cell.edits})


def _x_domain(frame: pd.DataFrame) -> list[float]:
    shown = frame["weight"].dropna()
    return [max(min(0.0, shown.min()) - 0.02, _LEFT), min(max(1.0, shown.max()) + 0.06, _RIGHT)]


def _labelled(frame: pd.DataFrame, methods: set[str]) -> pd.DataFrame:
    """With the places of the scored budgets' labels, in the axes' units, where there is room for them."""
    low, high = _x_domain(frame)
    frame[["label_weight", "label_accuracy"]] = float("nan")
    for _, rows in frame.dropna(subset=["weight", "accuracy"]).groupby("panel"):
        at = {
            i: ((row.weight - low) / (high - low) * _PANEL_WIDTH, (1 - row.accuracy / _TOP) * _PANEL_HEIGHT)
            for i, row in rows.iterrows()
        }
        wanted = rows[rows["series"].isin(methods) & rows["budget"].isin(SCORED_BUDGETS)]
        labels = [(at[i], str(row.budget)) for i, row in wanted.iterrows()]
        places = place_labels(labels, list(at.values()), _PANEL_WIDTH, _PANEL_HEIGHT)
        for i, place in zip(wanted.index, places, strict=True):
            if place is not None:
                frame.loc[i, "label_weight"] = low + place[0] / _PANEL_WIDTH * (high - low)
                frame.loc[i, "label_accuracy"] = (1 - place[1] / _PANEL_HEIGHT) * _TOP
    return frame


def _panel(cell: CardCell) -> str:
    """The panel's heading: lines, of which none is wider than the panel."""
    score = cell.scores.get(HEADLINE_METHOD)
    if not cell.ranked:
        return "|".join([cell.name, *wrap(f"not ranked: {cell.reason}", _HEADING_LETTERS)])
    value = None if score is None else score.score.value
    return f"{cell.name}|" + (f"score {_number(value)}" if value is not None else "no score")


def _row(series: str, edit: EditFigures) -> dict[str, Any]:
    return {
        "series": series,
        "budget": edit.budget,
        "weight": edit.weight.value,
        "weight_low": edit.weight.low,
        "weight_high": edit.weight.high,
        "accuracy": edit.accuracy.value,
        "accuracy_low": edit.accuracy.low,
        "accuracy_high": edit.accuracy.high,
    }


def _null_rows(cell: CardCell) -> list[dict[str, Any]]:
    score = cell.scores.get(HEADLINE_METHOD)
    if score is None:
        return []
    null = score.null
    points = zip(null.budgets, null.weight, null.accuracy, strict=True)
    return [
        {"series": _NULL, "budget": budget, "weight": weight, "accuracy": accuracy}
        for budget, weight, accuracy in points
    ]
