"""The study's charts of edits: accuracy, weight, the price of interpretability, top-k beside tuned variants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ioi_bench.studies.post.chosen import AGNOSTIC, AWARE
from ioi_bench.studies.post.tables import BUDGET, EQUAL_SIZE

if TYPE_CHECKING:
    import altair as alt
    import pandas as pd

__all__ = ["COLOURS", "accuracy_chart", "colours", "price_chart", "styled", "title", "topk_chart", "weight_chart"]

# Okabe and Ito's colours, told apart by colour-blind readers; one a variant in all figures.
COLOURS = {
    "gated": "#0072B2",
    "relu": "#D55E00",
    "topk": "#009E73",
    "batchtopk": "#56B4E9",
    "matryoshka": "#CC79A7",
    "attribution": "#E69F00",
    "jumprelu": "#000000",
    "frozen-decoder": "#8a8a8a",
    "frozen-encoder": "#b5a000",
    "panneal": "#7b4f2b",
}
_METHODS = {AGNOSTIC: "#0072B2", AWARE: "#E69F00"}
_INK, _PALE = "#333333", "#6b6b6b"
_FONT = "Helvetica Neue, Helvetica, Arial, Liberation Sans, DejaVu Sans, sans-serif"
_STAR = "M0,-1L0.23,-0.31L0.95,-0.31L0.36,0.12L0.59,0.81L0,0.38L-0.59,0.81L-0.36,0.12L-0.95,-0.31L-0.23,-0.31Z"
_COLUMNS = 3
_LEFT, _TOP = -0.1, 1.04


def title(text: str, *subtitle: str) -> dict[str, Any]:
    """A figure's title."""
    return {
        "text": text,
        "subtitle": list(subtitle),
        "anchor": "start",
        "fontSize": 15,
        "subtitleFontSize": 11,
        "subtitleColor": _PALE,
        "color": _INK,
        "offset": 12,
    }


def styled(chart: Any) -> Any:
    """The look that all figures share."""
    chart = chart.configure(font=_FONT, background="white", padding=14).configure_view(stroke="#cccccc")
    chart = chart.configure_axis(
        grid=False, domainColor=_PALE, tickColor=_PALE, titleFontWeight="normal", titleColor=_INK, labelColor=_INK
    )
    chart = chart.configure_header(title=None, labelFontSize=12, labelAnchor="start", labelColor=_INK)
    return chart.configure_legend(
        title=None, labelFontSize=11, orient="bottom", direction="horizontal", columns=8, symbolOpacity=1
    )


def colours(variants: Sequence[str]) -> alt.Scale:
    """The scale of the variants' colours."""
    import altair as alt

    return alt.Scale(domain=list(variants), range=[COLOURS[name] for name in variants])


def _at_budget(edits: pd.DataFrame) -> pd.DataFrame:
    """The suites' rows at the post's budget, with the skyline's and no edit's figures of the cell beside them."""
    beside = {
        name: edits[edits["label"] == label].set_index("cell")[["accuracy", "weight"]].add_prefix(f"{name}_")
        for name, label in (("skyline", "skyline"), ("no_edit", "no edit"))
    }
    own = edits[(edits["budget"] == BUDGET) & (edits["variant"] != "")]
    joined = own.join(beside["skyline"], on="cell").join(beside["no_edit"], on="cell")
    return _marked(joined.assign(left=_LEFT, top=_TOP))


def _marked(frame: pd.DataFrame) -> pd.DataFrame:
    """Cells that do not count are marked in their panels' headings."""
    return frame.assign(cell=frame["cell"].where(frame["ranked"].astype(bool), frame["cell"] + " (unranked)"))


def accuracy_chart(edits: pd.DataFrame) -> alt.Chart:
    """Bars with intervals: every variant × method, a panel a cell; rules at the skyline and at no edit."""
    import altair as alt

    frame = _at_budget(edits)
    y = alt.Y("label:N", sort=list(frame["label"].drop_duplicates()), title=None)
    base = alt.Chart().encode(y=y, yOffset=alt.YOffset("method:N", sort=list(_METHODS)))
    x = alt.X("accuracy:Q", title=f"edit accuracy, k = {BUDGET}", scale=alt.Scale(domain=[0, 1]))
    colour = alt.Color("method:N", scale=alt.Scale(domain=list(_METHODS), range=list(_METHODS.values())))
    rule = alt.Chart().mark_rule(color=_INK)
    panel = alt.layer(
        base.mark_bar(opacity=0.75).encode(x=x, color=colour),
        base.mark_rule(color=_INK, strokeWidth=1.2).encode(x="accuracy_low:Q", x2="accuracy_high:Q"),
        rule.encode(x="mean(skyline_accuracy):Q"),
        alt.Chart().mark_rule(color=_INK, strokeDash=[2, 3]).encode(x="mean(no_edit_accuracy):Q"),
    ).properties(width=230, height=alt.Step(9))
    facet = alt.Facet("cell:N", sort=list(frame["cell"].drop_duplicates()))
    heading = title(
        f"Edit accuracy at k = {BUDGET}",
        "bars: each variant, tuned for the method; black: 95 % intervals; line: the skyline; dotted: no edit",
    )
    return styled(panel.facet(facet, data=frame, columns=_COLUMNS, title=heading))


def weight_chart(edits: pd.DataFrame) -> alt.Chart:
    """Accuracy against the weight of the edit, a panel a cell; shaded: as good as the skyline."""
    import altair as alt

    frame = _at_budget(edits)
    k = ["" if value != value or value is None else f"{value:g}" for value in frame["sparsity"]]
    frame = frame.assign(k=k)
    variants = list(frame["variant"].drop_duplicates())
    right = max(1.0, float(frame["weight"].max())) + 0.05
    x_scale = alt.Scale(
        domain=[min(_LEFT, float(frame["weight"].min()) - 0.02), min(right, 1.5)], nice=False, clamp=True
    )
    x = alt.X("weight:Q", scale=x_scale, title="weight of the edit")
    y = alt.Y("accuracy:Q", scale=alt.Scale(domain=[0, _TOP], nice=False), title="edit accuracy")
    base = alt.Chart().encode(x=x, y=y, color=alt.Color("variant:N", scale=colours(variants)))
    shape = alt.Shape(
        "method:N", scale=alt.Scale(domain=list(_METHODS), range=["circle", "triangle-up"]), legend=alt.Legend()
    )
    sky = alt.Chart().encode(x="mean(skyline_weight):Q", y="mean(skyline_accuracy):Q")
    panel = alt.layer(
        sky.mark_rect(color="#F0E442", opacity=0.4, clip=True).encode(x2="mean(left):Q", y2="mean(top):Q"),
        alt.Chart().mark_rule(strokeDash=[2, 3], color=_PALE).encode(y="mean(no_edit_accuracy):Q"),
        base.mark_rule(opacity=0.5).encode(y="accuracy_low:Q", y2="accuracy_high:Q"),
        base.mark_point(filled=True, size=55, opacity=0.9).encode(shape=shape),
        base.mark_text(dx=6, dy=-5, fontSize=8, align="left").encode(text="k:N"),
        sky.mark_point(shape=_STAR, size=90, filled=True, color=_INK, opacity=1),
    ).properties(width=250, height=210)
    facet = alt.Facet("cell:N", sort=list(frame["cell"].drop_duplicates()))
    heading = title(
        f"Accuracy against the weight of the edit, k = {BUDGET}",
        "star: the skyline; shaded: as accurate, with no more weight; dotted: no edit; numbers: k, where there is one",
    )
    chart = panel.facet(facet, data=frame, columns=_COLUMNS, title=heading)
    return styled(chart.resolve_scale(color="shared", shape="shared"))


def price_chart(differences: pd.DataFrame) -> alt.Chart:
    """Aware less agnostic at equal size, paired, with intervals: a panel a cell."""
    own = differences[differences["left"].str.endswith(f" · {AWARE}") & (differences["cell"] != "mean")]
    own = own[own["budget"] == EQUAL_SIZE]
    frame = own.assign(label=own["left"].str.removesuffix(f" · {AWARE}"))
    heading = title(
        f"The price of interpretability: aware edits, k = {EQUAL_SIZE}, less agnostic ones, k = {BUDGET}",
        "edits of equal size; each variant tuned for either method; 95 % intervals, paired over prompts",
    )
    return styled(_points(frame, "label", "aware − exchange").properties(title=heading))


def topk_chart(differences: pd.DataFrame) -> alt.Chart:
    """Top-k with k = 3 at the last epoch less tuned gated and relu."""
    own = differences[(differences["left"] == "topk k=3, last epoch") & (differences["kind"] == "accuracy")]
    own = own[(own["cell"] != "mean") & (own["right"] != "skyline")]
    frame = own.assign(label="− tuned " + own["right"])
    heading = title(
        f"Untuned top-k (k = 3, last epoch) less tuned variants, k = {BUDGET}", "95 % intervals, paired over prompts"
    )
    return styled(_points(frame, "label", "difference of edit accuracy").properties(title=heading))


def _points(frame: pd.DataFrame, name: str, axis: str) -> alt.FacetChart:
    import altair as alt

    frame = _marked(frame)
    base = alt.Chart().encode(y=alt.Y(f"{name}:N", sort=list(frame[name].drop_duplicates()), title=None))
    panel = alt.layer(
        alt.Chart().mark_rule(color=_PALE, strokeDash=[2, 3]).encode(x=alt.datum(0)),
        base.mark_rule(color=_METHODS[AGNOSTIC], strokeWidth=1.5).encode(x=alt.X("low:Q", title=axis), x2="high:Q"),
        base.mark_point(filled=True, size=45, opacity=1, color=_METHODS[AGNOSTIC]).encode(x="value:Q"),
    ).properties(width=230, height=alt.Step(16))
    facet = alt.Facet("cell:N", sort=list(frame["cell"].drop_duplicates()))
    return panel.facet(facet, data=frame, columns=_COLUMNS)
