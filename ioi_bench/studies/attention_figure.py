"""The study of attention drawn: a row a head, its pair terms as heat maps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ioi_bench.atomic import write_file
from ioi_bench.errors import InputError
from ioi_bench.studies.attention import EXPECTED_PAIRS
from ioi_bench.studies.attention_study import AttentionStudy, HeadFigures

if TYPE_CHECKING:
    import altair as alt
    import pandas as pd

__all__ = ["attention_chart", "write_attention_figures"]

_CELL = 34
_INK, _PALE = "#333333", "#6b6b6b"
_FONT = "Helvetica Neue, Helvetica, Arial, Liberation Sans, DejaVu Sans, sans-serif"

# Panel: which target, mean or share of variance, and its heading.
_PANELS = (
    ("difference", "mean", "mean, IO − S1"),
    ("both", "share", "variance, both keys"),
    ("difference", "share", "variance, IO − S1"),
    ("io", "share", "variance, IO"),
    ("s1", "share", "variance, S1"),
)


def attention_chart(study: AttentionStudy, features: str) -> alt.VConcatChart:
    """All heads by one set of features (``skyline``, or the suite's name), as an Altair chart.

    Red adds to the score, blue takes away. Of each head the first panel has a scale of its own, in units of the score;
    the others show shares of variance. Framed: the expected pairs.

    Raises:
        InputError: nothing was studied by these features.
    """
    import altair as alt

    heads = [head for head in study.heads if head.features == features]
    if not heads:
        known = ", ".join(dict.fromkeys(head.features for head in study.heads))
        raise InputError(f"nothing was studied by the features {features!r}: there are {known}")
    end = max(float(head.targets[t].share.abs().max()) for head in heads for t, what, _ in _PANELS if what == "share")
    chart = alt.vconcat(*(_row(head, end) for head in heads), spacing=18, title=_title(study, features))
    chart = (
        chart.resolve_scale(color="independent")
        .configure(font=_FONT, background="white", padding=14)
        .configure_view(stroke="#cccccc")
    )
    return chart.configure_axis(
        ticks=False, domain=False, labelColor=_INK, titleColor=_INK, titleFontWeight="normal", grid=False
    )


def write_attention_figures(study: AttentionStudy, features: str, *paths: Path) -> None:
    """Draw into ``.png`` (two pixels a point) and ``.svg`` files, each whole or not at all.

    Raises:
        InputError: another ending, or nothing was studied by these features.
        StorageError: a file cannot be written.
    """
    import vl_convert

    for path in paths:
        if path.suffix.lower() not in (".png", ".svg"):
            raise InputError(f"a figure is a .png or a .svg file, not {path.name!r}")
    spec = attention_chart(study, features).to_dict()
    for path in paths:
        if path.suffix.lower() == ".png":
            write_file(path, vl_convert.vegalite_to_png(spec, scale=2))
        else:
            write_file(path, vl_convert.vegalite_to_svg(spec).encode())


def _row(head: HeadFigures, end: float) -> alt.HConcatChart:
    import altair as alt

    panels = [_panel(head, *panel, first=index == 0, end=end) for index, panel in enumerate(_PANELS)]
    title = alt.Title(f"head {head.head}", anchor="start", fontSize=13, offset=8, color=_INK)
    return alt.hconcat(*panels, spacing=14, title=title).resolve_scale(color="independent")


def _panel(head: HeadFigures, target: str, what: str, heading: str, *, first: bool, end: float) -> alt.LayerChart:
    import altair as alt

    frame = _frame(head, target, what)
    # mean × mean is the same at both keys; in a mean of the difference it is 0, so nothing drowns the rest.
    end = float(frame["value"].abs().max()) if what == "mean" else end
    base = alt.Chart(frame).encode(
        x=alt.X("k:N", sort=list(head.k), title="key part", axis=alt.Axis(orient="bottom", labelAngle=-45)),
        y=alt.Y(
            "q:N", sort=list(head.q), title="query part" if first else None, axis=alt.Axis() if first else _no_labels()
        ),
    )
    scale = alt.Scale(scheme="redblue", domain=[-end, end], reverse=True)
    cells = base.mark_rect(stroke="white", strokeWidth=0.5).encode(color=alt.Color("value:Q", scale=scale, legend=None))
    ink = alt.condition(alt.datum.value**2 < (0.6 * end) ** 2, alt.value("#222222"), alt.value("white"))
    text = base.mark_text(fontSize=10).encode(text="label:N", color=ink)
    framed = base.transform_filter(alt.datum.expected)
    frame_mark = framed.mark_rect(fillOpacity=0, stroke="black", strokeWidth=1.4)
    size = {"width": _CELL * len(head.k), "height": _CELL * len(head.q)}
    return (cells + frame_mark + text).properties(title=_heading(head, target, what, heading), **size)


def _no_labels() -> alt.Axis:
    import altair as alt

    return alt.Axis(labels=False)


def _heading(head: HeadFigures, target: str, what: str, heading: str) -> dict[str, Any]:
    found = head.targets[target]
    expected = found.expected_mean if what == "mean" else found.expected_share
    amount = f"{found.score:.2f}" if what == "mean" else f"s.d. {found.spread:.2f}"
    value, low, high = (_percent(share) for share in (expected.value, expected.low, expected.high))
    return {
        "text": heading,
        "subtitle": [f"{amount}; framed: {value} [{low}, {high}]"],
        "fontSize": 11,
        "fontWeight": "bold",
        "subtitleFontSize": 10,
        "subtitleColor": _PALE,
        "anchor": "start",
        "color": _INK,
        "offset": 4,
    }


def _frame(head: HeadFigures, target: str, what: str) -> pd.DataFrame:
    import pandas as pd

    values: Sequence[Sequence[float]] = getattr(head.targets[target], what).tolist()
    rows = [
        {"q": q, "k": k, "value": value, "label": _label(value), "expected": (q, k) in EXPECTED_PAIRS}
        for q, row in zip(head.q, values, strict=True)
        for k, value in zip(head.k, row, strict=True)
    ]
    return pd.DataFrame(rows)


def _label(value: float) -> str:
    """Two decimals without the zero before the point; nothing for what rounds to 0.

    >>> _label(0.934), _label(-0.06), _label(1.388), _label(0.004)
    ('.93', '−.06', '1.39', '')
    """
    text = f"{abs(value):.2f}"
    if text == "0.00":
        return ""
    return ("−" if value < 0 else "") + text.removeprefix("0")


def _percent(share: float) -> str:
    """Whole percents.

    >>> _percent(1.043), _percent(-0.084), _percent(-0.004), _percent(float("nan"))
    ('104 %', '−8 %', '0 %', '–')
    """
    if share != share:  # NaN: the bootstrap could not define it
        return "–"
    rounded = round(100 * share)
    return f"{'−' if rounded < 0 else ''}{abs(rounded)} %"


def _title(study: AttentionStudy, features: str) -> dict[str, Any]:
    whose = "supervised features (skyline)" if features == "skyline" else f"features of the suite {features}"
    return {
        "text": f"{study.model}: attention scores by pairs of {whose}",
        "subtitle": [
            f"{study.n_prompts:,} test prompts. q·k/√d is the sum of all cells. Mean: of the score at IO less that at "
            "S1. Variance: the share of it that a pair carries (shares add up to 1).",
            "Framed: the pairs by which a name mover is expected to tell IO from S1, with their share of the mean or "
            "of the variance and its 95 % interval.",
        ],
        "anchor": "start",
        "fontSize": 16,
        "subtitleFontSize": 11,
        "subtitleColor": _PALE,
        "offset": 14,
    }
