"""The study of tactics drawn: a difference with its interval for every tactic, one panel a variant."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ioi_bench.atomic import write_file
from ioi_bench.studies.ablation import TACTICS, reading
from ioi_bench.studies.ablation_study import METHODS, AblationStudy

if TYPE_CHECKING:
    import altair as alt
    import pandas as pd

__all__ = ["ablation_chart", "write_ablation_figure"]

# Okabe and Ito's colours, as on the card
_COLOURS = {"exchange": "#0072B2", "aware": "#009E73"}
_INK, _PALE = "#333333", "#6b6b6b"
_FONT = "Helvetica Neue, Helvetica, Arial, Liberation Sans, DejaVu Sans, sans-serif"
_WIDTH, _ROW = 210, 30


def ablation_chart(study: AblationStudy) -> alt.HConcatChart:
    """As an Altair chart. Hollow points: the interval includes 0. Tactics that were not measured have no point."""
    import altair as alt

    frame = _frame(study)
    panels = [_panel(frame, variant, first=index == 0) for index, variant in enumerate(study.variants)]
    chart = alt.hconcat(*panels, spacing=20, title=_title(study)).resolve_scale(x="shared")
    chart = chart.configure(font=_FONT, background="white", padding=14).configure_view(stroke="#cccccc")
    chart = chart.configure_axis(labelColor=_INK, titleColor=_INK, titleFontWeight="normal", domainColor=_PALE)
    return chart.configure_legend(
        orient="bottom", direction="horizontal", titleFontWeight="normal", labelFontSize=12, symbolSize=90
    )


def write_ablation_figure(study: AblationStudy, path: Path) -> None:
    """Draw into a PNG file (two pixels a point), whole or not at all.

    Raises:
        StorageError: the file cannot be written.
    """
    import vl_convert

    write_file(path, vl_convert.vegalite_to_png(ablation_chart(study).to_dict(), scale=2))


def _panel(frame: pd.DataFrame, variant: str, *, first: bool) -> alt.LayerChart:
    import altair as alt

    labels = alt.Axis(title=None, ticks=False, domain=False, labelFontSize=12, labelPadding=8, labels=first, grid=True)
    base = alt.Chart(frame[frame["variant"] == variant]).encode(
        y=alt.Y("tactic:N", sort=list(TACTICS), scale=alt.Scale(domain=list(TACTICS)), axis=labels),
        yOffset=alt.YOffset("method:N", sort=list(METHODS), scale=alt.Scale(domain=list(METHODS), paddingOuter=0.6)),
        color=alt.Color(
            "method:N", title="edit method", scale=alt.Scale(domain=list(METHODS), range=[_COLOURS[m] for m in METHODS])
        ),
    )
    axis = alt.Axis(labelExpr="datum.value == 0 ? '0' : format(datum.value, '+.2~f')", tickCount=5, grid=False)
    bars = base.mark_rule(strokeWidth=1.6).encode(x=alt.X("low:Q", title="without − with", axis=axis), x2="high:Q")
    points = base.encode(x="difference:Q")
    hollow = points.mark_point(size=55, strokeWidth=1.6, opacity=1, fill="white")
    filled = points.transform_filter(alt.datum.shown).mark_point(size=55, filled=True, opacity=1)
    zero = alt.Chart().mark_rule(color=_PALE, strokeWidth=1).encode(x=alt.datum(0))
    title = alt.Title(variant, anchor="start", fontSize=13, color=_INK, offset=6)
    return (zero + bars + hollow + filled).properties(width=_WIDTH, height=_ROW * len(TACTICS), title=title)


def _frame(study: AblationStudy) -> pd.DataFrame:
    import pandas as pd

    rows = []
    for row in study.removed:
        if row.unmeasured:
            continue
        for method, found in row.effects.items():
            one = found.difference
            shown = reading(one) in ("helps", "harms")
            rows.append((row.variant, row.tactic, method, one.value, one.low, one.high, shown))
    return pd.DataFrame(rows, columns=["variant", "tactic", "method", "difference", "low", "high", "shown"])


def _title(study: AblationStudy) -> dict[str, Any]:
    sites = max(found.sites for row in study.full for found in row.effects.values())
    return {
        "text": f"{study.model}: what each tactic of training is worth",
        "subtitle": [
            "Edit distance of the selected dictionaries, as a share of the unedited distance: the recipe without the "
            "tactic minus the recipe.",
            f"Right of 0 the tactic helps. Lines: 95 % intervals by bootstrap over {sites} sites; seeds "
            f"({len(study.recipe.seeds)}) and attributes stay with their site.",
            "Hollow: the interval includes 0, and nothing is shown.",
        ],
        "anchor": "start",
        "fontSize": 16,
        "subtitleFontSize": 11,
        "subtitleColor": _PALE,
        "offset": 14,
    }
