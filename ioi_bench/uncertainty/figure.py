"""A comparison drawn: the scores with their tie groups, and every cell's difference from the first suite."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ioi_bench.atomic import write_file
from ioi_bench.uncertainty.compare import Comparison

if TYPE_CHECKING:
    import altair as alt
    import pandas as pd

__all__ = ["comparison_chart", "write_comparison"]

# Okabe and Ito's colours, as on the card
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_INK, _PALE = "#333333", "#6b6b6b"
_FONT = "Helvetica Neue, Helvetica, Arial, Liberation Sans, DejaVu Sans, sans-serif"
_WIDTH, _ROW, _LINE = 460, 22, 15


def comparison_chart(found: Comparison) -> alt.VConcatChart:
    """As an Altair chart. Hollow points: the interval includes 0; pale lines: the names are drawn too."""
    import altair as alt

    chart = alt.vconcat(_scores(found), _differences(found), spacing=26, title=_title(found))
    chart = chart.resolve_scale(color="shared")
    chart = chart.configure(font=_FONT, background="white", padding=14).configure_view(stroke="#cccccc")
    return chart.configure_axis(
        labelColor=_INK, titleColor=_INK, titleFontWeight="normal", domainColor=_PALE, labelLimit=260
    )


def write_comparison(found: Comparison, folder: Path) -> list[Path]:
    """Write ``comparison.png`` (two pixels a point), ``.svg``, ``.html`` (self-contained), and the data as ``.json``.

    Raises:
        StorageError: the folder cannot be written.
    """
    import json

    import vl_convert

    spec = comparison_chart(found).to_dict()
    files = {
        "png": vl_convert.vegalite_to_png(spec, scale=2),
        "svg": vl_convert.vegalite_to_svg(spec).encode(),
        "html": vl_convert.vegalite_to_html(spec, bundle=True).encode(),
        "json": (json.dumps(found.to_json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode(),
    }
    paths = [folder / f"comparison.{ending}" for ending in files]
    for path, content in zip(paths, files.values(), strict=True):
        write_file(path, content)
    return paths


def _colour(found: Comparison) -> alt.Color:
    import altair as alt

    names = [suite.name for suite in found.suites]
    palette = [_COLOURS[i % len(_COLOURS)] for i in range(len(names))]
    return alt.Color("suite:N", scale=alt.Scale(domain=names, range=palette), legend=None)


def _scores(found: Comparison) -> alt.LayerChart:
    import altair as alt
    import pandas as pd

    rows = [
        {"suite": place.row.name, "group": f"group {place.group + 1}", **place.row.score.model_dump()}
        for place in found.places
    ]
    names = [row["suite"] for row in rows]
    base = alt.Chart(pd.DataFrame(rows)).encode(
        y=alt.Y("suite:N", sort=names, title=None, axis=alt.Axis(ticks=False, domain=False, grid=True)),
        color=_colour(found),
    )
    x = alt.X("value:Q", title="IOI score (0: matched random, 1: skyline)", scale=alt.Scale(zero=False, padding=12))
    bars = base.mark_rule(strokeWidth=1.6).encode(x=alt.X("low:Q", scale=alt.Scale(zero=False)), x2="high:Q")
    points = base.mark_point(size=60, filled=True, opacity=1).encode(x=x)
    group = base.mark_text(align="left", fontSize=11).encode(x=alt.value(_WIDTH + 8), text="group:N")
    return (bars + points + group).properties(
        width=_WIDTH, height={"step": _ROW}, title=_heading("IOI score, and tie groups")
    )


def _differences(found: Comparison) -> alt.LayerChart:
    import altair as alt

    frame, first = _frame(found), found.suites[0].name
    others = [suite.name for suite in found.suites[1:]]
    base = alt.Chart(frame).encode(
        y=alt.Y("what:N", sort=list(found.whats), title=None, axis=alt.Axis(ticks=False, domain=False, grid=True)),
        yOffset=alt.YOffset("suite:N", sort=others, scale=alt.Scale(domain=others, paddingOuter=0.5)),
        color=_colour(found),
    )
    axis = alt.Axis(labelExpr="datum.value == 0 ? '0' : format(datum.value, '+.2~f')", tickCount=6, grid=False)
    wide = base.mark_rule(strokeWidth=3.5, opacity=0.28).encode(
        x=alt.X("other_low:Q", title=f"score less that of {first}", axis=axis), x2="other_high:Q"
    )
    bars = base.mark_rule(strokeWidth=1.5).encode(x="low:Q", x2="high:Q")
    points = base.encode(x="value:Q")
    hollow = points.mark_point(size=50, strokeWidth=1.6, opacity=1, fill="white")
    filled = points.transform_filter(alt.datum.shown).mark_point(size=50, filled=True, opacity=1)
    zero = alt.Chart().mark_rule(color=_PALE, strokeWidth=1).encode(x=alt.datum(0))
    height = len(found.whats) * max(_ROW, _LINE * len(others))
    return (zero + wide + bars + hollow + filled).properties(
        width=_WIDTH, height=height, title=_heading(f"Difference from {first}, by cell")
    )


def _frame(found: Comparison) -> pd.DataFrame:
    """Every other suite less the first."""
    import pandas as pd

    rows = []
    for one in found.contrasts:
        if one.a != found.suites[0].name:
            continue
        ours = one.difference
        rows.append(
            {
                "suite": one.b,
                "what": one.what,
                "value": -ours.value,
                "low": -ours.high,
                "high": -ours.low,
                "other_low": -one.other_high,
                "other_high": -one.other_low,
                "shown": not ours.tied,
            }
        )
    return pd.DataFrame(rows)


def _heading(text: str) -> Any:
    import altair as alt

    return alt.Title(text, anchor="start", fontSize=13, color=_INK, offset=6)


def _title(found: Comparison) -> dict[str, Any]:
    made = [suite.card.made for suite in found.suites]
    counts = sorted({one.n_prompts for one in made})
    prompts = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    lines = [
        f"{prompts} prompts of {', '.join(dict.fromkeys(one.split for one in made))}. Lines: 95 % intervals over "
        "prompts with the track's names, paired where the prompts are the same;",
        "broad pale lines: the names are drawn too. Hollow: the interval includes 0. Suites of a group are not told "
        "apart from its first.",
    ]
    return {
        "text": f"{found.suites[0].card.track}: {len(found.suites)} suites compared",
        "subtitle": lines,
        "anchor": "start",
        "fontSize": 16,
        "subtitleFontSize": 11,
        "subtitleColor": _PALE,
        "offset": 14,
    }
