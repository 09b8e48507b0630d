"""The study's other charts: correlations, geometry, meaning, training curves; and the writing of all of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ioi_bench.atomic import write_file
from ioi_bench.evaluation.selection import FIXED_SPARSITY
from ioi_bench.studies.post.correlations import MEASURES
from ioi_bench.studies.post.panels import colours, styled, title

if TYPE_CHECKING:
    import altair as alt
    import pandas as pd

__all__ = [
    "correlation_chart",
    "cosine_chart",
    "curve_chart",
    "meaning_chart",
    "scatter_chart",
    "write_charts",
]

_MEASURE_COLOURS = ["#0072B2", "#D55E00", "#E69F00", "#8a8a8a"]
_SHADES = ["#9ecae1", "#4292c6", "#08519c", "#062b5f", "#041a3b", "#000000"]
_DASHES = [[1, 0], [7, 3], [3, 3], [1, 2], [7, 3, 1, 3], [1, 4]]
_COLUMNS = 3
_DRAWN_GROUPS = ("relu + gated", "topk", "all")
_CURVES = {"error": "error, ‖x − x̂‖²", "l0": "L0", "dead": "dead share"}


def correlation_chart(correlations: pd.DataFrame, seed: int) -> alt.Chart:
    """ρ with edit distance at every site, a panel a group of variants, a point a seed; intervals of one seed."""
    import altair as alt

    shown = correlations["group"].isin(_DRAWN_GROUPS) & correlations["reliable"]
    frame = correlations[shown].dropna(subset=["value"])
    frame = frame.assign(measure=frame["measure"].map(MEASURES), place=frame["attribute"] + " · " + frame["site"])
    frame = frame.sort_values(["attribute", "site"], kind="stable")
    base = alt.Chart().encode(
        y=alt.Y("place:N", sort=list(frame["place"].drop_duplicates()), title=None),
        color=alt.Color(
            "measure:N", scale=alt.Scale(domain=list(MEASURES.values()), range=_MEASURE_COLOURS), legend=alt.Legend()
        ),
        yOffset=alt.YOffset("measure:N", sort=list(MEASURES.values())),
    )
    panel = alt.layer(
        alt.Chart().mark_rule(color="#8a8a8a", strokeDash=[2, 3]).encode(x=alt.datum(0)),
        base.transform_filter(alt.datum.seed == seed)
        .mark_rule(opacity=0.6, clip=True)
        .encode(
            x=alt.X("low:Q", scale=alt.Scale(domain=[-1, 1]), title="Spearman's ρ with edit distance"), x2="high:Q"
        ),
        base.mark_point(filled=True, size=22, opacity=0.8).encode(x="value:Q"),
    ).properties(width=210, height=alt.Step(7))
    facet = alt.Facet("group:N", sort=list(frame["group"].drop_duplicates()))
    heading = title(
        "Do cheap measures rank SAEs as edits do?",
        "checkpoints × sparsities of each site; edit distance of exchange at k = 2 on validation; points: seeds; "
        f"bars: 95 % over the SAEs of seed {seed}",
        "no LD recovered where ablating the site hardly moves the logit difference",
    )
    return styled(panel.facet(facet, data=frame, columns=_COLUMNS, title=heading))


def scatter_chart(rows: pd.DataFrame, site: str) -> alt.Chart:
    """Edit distance against each cheap measure at one site, every SAE a point, larger for later checkpoints."""
    import altair as alt

    own = rows[(rows["site"] == site) & rows["distance_relative"].notna()]
    frame = own.assign(ld_recovered_off=(1 - own["ld_recovered"]).abs(), l2_loss=own["l2"])
    variants = list(frame["variant"].drop_duplicates())
    y = alt.Y("distance_relative:Q", title="edit distance / unedited distance", scale=alt.Scale(zero=False))
    panels = []
    for i, (measure, name) in enumerate(MEASURES.items()):
        scale = alt.Scale(type="log") if measure == "l0" else alt.Scale(zero=False)
        axis = alt.Axis(values=[0.1, 1, 3, 10, 30, 100, 300]) if measure == "l0" else alt.Axis()
        shown = frame[frame["l0"] > 0] if measure == "l0" else frame
        panels.append(
            alt.Chart(shown)
            .mark_point(filled=True, opacity=0.65)
            .encode(
                x=alt.X(f"{measure}:Q", title=name, scale=scale, axis=axis),
                y=y if i == 0 else y.title(None),
                color=alt.Color("variant:N", scale=colours(variants), legend=alt.Legend()),
                size=alt.Size("epoch:Q", scale=alt.Scale(range=[12, 70]), legend=None),
            )
            .properties(width=220, height=220)
        )
    heading = title(
        f"Cheap measures and edit distance at the name mover {site}",
        "one seed, every λ or k and checkpoint (larger: later); exchange, k = 2, validation",
    )
    return styled(alt.hconcat(*panels, spacing=16, title=heading).resolve_scale(color="shared", y="shared"))


def cosine_chart(cosines: pd.DataFrame) -> alt.Chart:
    """Mean maximal cosines with the skyline's codes, both directions, means over seeds, as heat maps."""
    import altair as alt

    keys = ["label", "direction", "attribute", "cross_section"]
    frame = cosines.dropna(subset=["value"]).groupby(keys, sort=False)["value"].mean().reset_index()
    frame = frame.assign(place=frame["attribute"] + "@" + frame["cross_section"], text=frame["value"].map(_short))
    base = alt.Chart().encode(
        x=alt.X("place:N", sort=list(frame["place"].drop_duplicates()), title=None, axis=alt.Axis(labelAngle=-50)),
        y=alt.Y("label:N", sort=list(frame["label"].drop_duplicates()), title=None),
    )
    scale = alt.Scale(scheme="blues", domain=[0, 1])
    ink = alt.condition("datum.value > 0.6", alt.value("white"), alt.value("#222222"))
    panel = alt.layer(
        base.mark_rect(stroke="white").encode(color=alt.Color("value:Q", scale=scale, legend=None)),
        base.mark_text(fontSize=8.5).encode(text="text:N", color=ink),
    ).properties(width=alt.Step(26), height=alt.Step(17))
    heading = title(
        "Cosine similarity with the skyline's codes",
        "codes → features: for each code the nearest living feature; features → codes: the reverse",
        "means over sites and seeds",
    )
    return styled(panel.facet(alt.Facet("direction:N"), data=frame, columns=1, title=heading))


def meaning_chart(meaning: pd.DataFrame) -> alt.Chart:
    """The share of living features that are explained, by threshold of F1: a panel a cross-section."""
    import altair as alt

    variants = list(meaning["variant"].drop_duplicates())
    fixed = [f"k = {k:g}" for k in sorted(meaning["sparsity"].dropna().unique())]
    frame = meaning.assign(k=["λ selected" if k != k else f"k = {k:g}" for k in meaning["sparsity"].astype(float)])
    thresholds = alt.Axis(values=sorted(meaning["threshold"].unique()))
    base = alt.Chart().encode(
        x=alt.X("threshold:Q", title="F1 at least", scale=alt.Scale(domain=[0.5, 0.9]), axis=thresholds),
        y=alt.Y("share:Q", title="share of living features", scale=alt.Scale(domain=[0, 1])),
        color=alt.Color("variant:N", scale=colours(variants)),
        detail="label:N",
    )
    dash = alt.StrokeDash(
        "k:N",
        scale=alt.Scale(domain=["λ selected", *fixed], range=[[1, 0], *_DASHES[: len(fixed)]]),
        legend=alt.Legend(symbolType="stroke", symbolSize=400, orient="top"),
    )
    lines = base.mark_line(strokeWidth=1.5, opacity=0.85).encode(strokeDash=dash)
    panel = alt.layer(lines, base.mark_point(filled=True, size=22, opacity=0.85)).properties(width=220, height=170)
    facet = alt.Facet("cross_section:N", sort=list(meaning["cross_section"].drop_duplicates()))
    heading = title("Explained features", "a line an SAE; F1 of {active} on train")
    return styled(panel.facet(facet, data=frame, columns=_COLUMNS, title=heading))


def curve_chart(curves: pd.DataFrame) -> alt.Chart:
    """Error, L0 and dead share by epoch: a column a variant, a line a sparsity, darker for sparser."""
    import altair as alt

    variants = list(curves["variant"].drop_duplicates())
    sparser = {
        name: {value: i for i, value in enumerate(sorted(own.unique(), reverse=name in FIXED_SPARSITY))}
        for name, own in curves.groupby("variant", sort=False)["sparsity"]
    }
    frame = curves.assign(rank=[sparser[v][s] for v, s in zip(curves["variant"], curves["sparsity"], strict=True)])
    rows, last = [], int(curves["epoch"].max())
    for figure, name in _CURVES.items():
        ticks = [0, 0.5, 1] if figure == "dead" else [0.01, 0.1, 1, 10, 100]
        log = figure != "dead"  # errors jump where features are resampled
        y_scale = alt.Scale(type="log") if log else alt.Scale(zero=True)
        shown = frame[frame[figure] > 0] if log else frame
        base = alt.Chart().encode(
            x=alt.X("epoch:Q", title="epoch" if figure == "dead" else None),
            y=alt.Y(f"{figure}:Q", title=name, scale=y_scale, axis=alt.Axis(values=ticks)),
            color=alt.Color("rank:O", scale=alt.Scale(domain=list(range(len(_SHADES))), range=_SHADES), legend=None),
        )
        layers = [base.mark_line(strokeWidth=1.4, clip=True)]
        if figure == "error":  # elsewhere they would lie on each other
            ends = base.transform_filter(alt.datum.epoch == last).mark_text(align="left", dx=3, fontSize=8)
            layers.append(ends.encode(text=alt.Text("sparsity:Q", format="~g")))
        panel = alt.layer(*layers).properties(width=120, height=100)
        header = alt.Header(labels=figure == "error")
        rows.append(panel.facet(column=alt.Column("variant:N", sort=variants, header=header), data=shown))
    heading = title(
        "Training curves",
        "means over sites and seeds, on the train prompts; at the ends in the first row λ or k; darker: sparser",
    )
    return styled(alt.vconcat(*rows, spacing=4, title=heading))


def _short(value: float) -> str:
    """Two decimals without the zero.

    >>> _short(0.934), _short(1.0)
    ('.93', '1.0')
    """
    return "1.0" if value >= 0.995 else f"{value:.2f}".replace("0.", ".", 1)


def write_charts(charts: Mapping[str, Any], folder: Path) -> None:
    """Draw every chart into ``NAME.png``, two pixels a point, each whole or not at all.

    Raises:
        StorageError: a file cannot be written.
    """
    import altair as alt
    import vl_convert

    with alt.data_transformers.enable("default", max_rows=None):  # METHOD §8's curves have 2,000 epochs
        for name, chart in charts.items():
            write_file(folder / f"{name}.png", vl_convert.vegalite_to_png(chart.to_dict(), scale=2))
