"""The card's picture: edit accuracy against weight removed, one panel a cell (after the paper's Fig. 4)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ioi_bench.atomic import write_file
from ioi_bench.errors import InputError
from ioi_bench.evaluation.card import Card, CardCell, EditFigures
from ioi_bench.evaluation.score import HEADLINE_METHOD

if TYPE_CHECKING:
    import altair as alt

__all__ = ["card_chart", "write_figure"]

# Okabe and Ito's colours: told apart by colour-blind readers, and in grey by their lightness.
_COLOURS = {"exchange": "#0072B2", "split": "#E69F00", "aware": "#009E73", "universal": "#CC79A7"}
_SPARE_COLOURS = ("#D55E00", "#56B4E9", "#000000")
_SKYLINE, _NULL, _NO_EDIT = "skyline", "matched random", "no edit"
_INK, _PALE = "#333333", "#8a8a8a"
_PANEL_WIDTH, _PANEL_HEIGHT, _COLUMNS = 250, 190, 3
_FONT = "Helvetica Neue, Helvetica, Arial, Liberation Sans, DejaVu Sans, sans-serif"


def card_chart(card: Card) -> alt.ConcatChart:
    """The figure as an Altair chart: headline cells, or all cells of a card that has none.

    A line joins the budgets of a method, from small to large; the shaded corner is where an edit is at least as
    accurate as the skyline and removes no more weight than it.
    """
    import altair as alt

    cells = [cell for cell in card.cells if cell.headline] or list(card.cells)
    methods = list(dict.fromkeys(edit.method for cell in cells for edit in cell.edits))
    low = min([0.0, *(x for cell in cells for x in _weights(cell))])
    high = max([1.0, *(x for cell in cells for x in _weights(cell))])
    x = alt.Scale(domain=(max(low - 0.02, -0.5), min(high + 0.06, 1.5)), nice=False)
    panels = [_panel(cell, methods, x) for cell in cells]
    chart = alt.concat(*panels, columns=_COLUMNS, spacing={"row": 18, "column": 22}).resolve_scale(color="shared")
    configured = chart.properties(title=_title(card)).configure(font=_FONT, background="white", padding=14)
    return configured.configure_view(stroke="#cccccc").configure_legend(
        orient="bottom", direction="horizontal", title=None, labelFontSize=12, symbolSize=110, columnPadding=18
    )


def write_figure(card: Card, path: str | Path) -> Path:
    """Draw the card into a ``.png`` (two pixels a point) or ``.svg`` file, atomically.

    Raises:
        InputError: another ending.
        StorageError: the file cannot be written.
    """
    import vl_convert

    path = Path(path)
    kind = path.suffix.lower()
    if kind not in (".png", ".svg"):
        raise InputError(f"a figure is a .png or a .svg file, not {path.name!r}")
    spec = card_chart(card).to_dict()
    data = vl_convert.vegalite_to_png(spec, scale=2) if kind == ".png" else vl_convert.vegalite_to_svg(spec).encode()
    write_file(path, data)
    return path


def _title(card: Card) -> dict[str, Any]:
    headline = card.headline.get(HEADLINE_METHOD)
    score = "" if headline is None or headline.score.value is None else f"IOI score {_number(headline.score.value)}"
    if score and headline is not None and headline.score.low is not None and headline.score.high is not None:
        score += f" [{_number(headline.score.low)}, {_number(headline.score.high)}]"
    made = f"{card.made.model}, {card.made.split}, {card.made.n_prompts:,} prompts"
    how = "labels: budget (features exchanged, or rounds); bars: 95 % intervals; shaded: skyline or better"
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


def _weights(cell: CardCell) -> list[float]:
    shown = [*cell.edits, *cell.skyline.values()]
    return [edit.weight_removed.value for edit in shown if edit.weight_removed.value is not None]


def _panel(cell: CardCell, methods: list[str], x: alt.Scale) -> alt.LayerChart:
    import altair as alt
    import pandas as pd

    spare = iter(_SPARE_COLOURS * len(methods))
    colours = [_COLOURS.get(method) or next(spare) for method in methods]
    series = [*methods, _SKYLINE, _NULL, _NO_EDIT]
    rows = [_row(edit.method, edit) for edit in cell.edits]
    rows += [_row(_SKYLINE, cell.skyline["mean"]), *_null_rows(cell)]
    no_edit = {"series": _NO_EDIT, "budget": 0, "weight": 0.0, "accuracy": cell.no_edit.value}
    frame = pd.DataFrame([row for row in [*rows, no_edit] if row["weight"] is not None])
    legend = alt.Legend(symbolType="circle", symbolOpacity=1)
    base = alt.Chart(frame).encode(
        x=alt.X("weight:Q", scale=x, title="weight removed (centred)", axis=_axis()),
        y=alt.Y("accuracy:Q", scale=alt.Scale(domain=(0, 1.04), nice=False), title="edit accuracy", axis=_axis()),
        color=alt.Color(
            "series:N", scale=alt.Scale(domain=series, range=[*colours, _INK, _PALE, "#bbbbbb"]), legend=legend
        ),
    )
    edits = base.transform_filter(alt.FieldOneOfPredicate("series", methods))
    layers = [
        *_skyline_region(cell, x),
        base.transform_filter(alt.datum.series == _NULL).mark_point(shape="cross", size=32, filled=True),
        base.transform_filter(alt.datum.series == _NO_EDIT).mark_point(shape="diamond", size=50, filled=True),
        edits.mark_line(strokeWidth=1.2, opacity=0.55).encode(order="budget:Q"),
        edits.mark_rule(opacity=0.5).encode(y="accuracy_low:Q", y2="accuracy_high:Q"),
        edits.mark_rule(opacity=0.5).encode(x="weight_low:Q", x2="weight_high:Q"),
        edits.mark_circle(size=46, opacity=1),
        edits.mark_text(dx=6, dy=-6, fontSize=9, align="left").encode(text="budget:Q"),
        base.transform_filter(alt.datum.series == _SKYLINE).mark_point(shape=_STAR, size=110, filled=True, opacity=1),
    ]
    return alt.layer(*layers).properties(width=_PANEL_WIDTH, height=_PANEL_HEIGHT, title=_panel_title(cell))


_STAR = "M0,-1L0.23,-0.31L0.95,-0.31L0.36,0.12L0.59,0.81L0,0.38L-0.59,0.81L-0.36,0.12L-0.95,-0.31L-0.23,-0.31Z"


def _axis() -> alt.Axis:
    import altair as alt

    return alt.Axis(
        grid=False,
        tickCount=5,
        format=".1f",
        domainColor=_PALE,
        tickColor=_PALE,
        titleFontWeight="normal",
        titleColor=_INK,
    )


def _panel_title(cell: CardCell) -> dict[str, Any]:
    score = cell.scores.get(HEADLINE_METHOD)
    value = None if score is None else score.score.value
    subtitle = f"score {_number(value)}" if value is not None and cell.ranked else ""
    return {
        "text": cell.name,
        "subtitle": subtitle if cell.ranked else f"not ranked: {cell.reason}",
        "anchor": "start",
        "fontSize": 13,
        "color": _INK if cell.ranked else _PALE,
        "subtitleFontSize": 10.5,
        "subtitleColor": _PALE,
    }


def _skyline_region(cell: CardCell, x: alt.Scale) -> list[alt.Chart]:
    import altair as alt
    import pandas as pd

    skyline = cell.skyline["mean"]
    if skyline.accuracy.value is None or skyline.weight_removed.value is None:
        return []
    weight, accuracy = skyline.weight_removed.value, skyline.accuracy.value
    corner = pd.DataFrame([{"left": x.domain[0], "right": weight, "bottom": accuracy, "top": 1.04}])
    area = alt.Chart(corner).mark_rect(color="#F0E442", opacity=0.45)
    rule = alt.Chart(corner).mark_rule(color=_INK, strokeDash=[2, 3], opacity=0.45)
    return [
        area.encode(x=alt.X("left:Q", scale=x), x2="right:Q", y="bottom:Q", y2="top:Q"),
        rule.encode(y="bottom:Q"),
        rule.encode(x=alt.X("right:Q", scale=x)),
    ]


def _row(series: str, edit: EditFigures) -> dict[str, Any]:
    return {
        "series": series,
        "budget": edit.budget,
        "weight": edit.weight_removed.value,
        "weight_low": edit.weight_removed.low,
        "weight_high": edit.weight_removed.high,
        "accuracy": edit.accuracy.value,
        "accuracy_low": edit.accuracy.low,
        "accuracy_high": edit.accuracy.high,
    }


def _null_rows(cell: CardCell) -> list[dict[str, Any]]:
    score = cell.scores.get(HEADLINE_METHOD)
    if score is None:
        return []
    null = score.null
    points = zip(null.budgets, null.weight_removed, null.accuracy, strict=True)
    return [
        {"series": _NULL, "budget": budget, "weight": weight, "accuracy": accuracy}
        for budget, weight, accuracy in points
    ]
