"""The audit's figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ioi_bench.evaluation.score import SCORED_METHODS
from ioi_bench.studies.audit.corruptions import CORRUPTIONS
from ioi_bench.studies.audit.gates import MIN_ICC
from ioi_bench.studies.audit.measured import METRICS
from ioi_bench.studies.audit.plan import CHECKPOINTS, RANDOM, SUITES
from ioi_bench.studies.post.panels import styled, title

if TYPE_CHECKING:
    import altair as alt
    import pandas as pd

    from ioi_bench.studies.audit.study import Audit

__all__ = ["audit_charts"]

# Okabe and Ito's colours, as in the other figures; one a method.
_COLOURS = dict(zip(SCORED_METHODS, ("#0072B2", "#009E73", "#E69F00"), strict=True))
_SCORES = tuple(f"score.{method}" for method in SCORED_METHODS)
_PASS, _FAIL, _PALE = "#0072B2", "#D55E00", "#6b6b6b"
_UPRIGHT = {"tickCount": 3, "titleAngle": 0, "titleAlign": "right", "titleX": -34, "titleLimit": 170}
_DRAWN = (*_SCORES, "s", "fvu", "ld_recovered", "explained", "cosine.codes")


def audit_charts(found: Audit) -> dict[str, Any]:
    """All figures by name; checkpoints and planted truth only where these were measured."""
    charts = {"retest": _retest(found), "suites": _suites(found)}
    if found.tables["planted"]:
        charts["planted"] = _planted(found)
    if found.tables["checkpoints"]:
        charts["checkpoints"] = _checkpoints(found)
    return charts


def _method(metric: str) -> str:
    return metric.removeprefix("score.")


def _scale() -> alt.Scale:
    import altair as alt

    return alt.Scale(domain=list(SCORED_METHODS), range=[_COLOURS[method] for method in SCORED_METHODS])


def _retest(found: Audit) -> Any:
    """ICC of every figure, over prompt splits and over seeds of training."""
    import altair as alt
    import pandas as pd

    kinds = {"retest": "over prompts, ICC(2,1)", "seeds": "over SAE seeds, ICC(1,1)"}
    rows = [
        {
            "figure": METRICS[row["metric"]].words,
            "kind": words,
            "icc": row["icc"],
            "low": row["low"],
            "high": row["high"],
        }
        for name, words in kinds.items()
        for row in found.tables[name]
        if row["metric"] in METRICS and row["icc"] is not None
    ]
    frame = pd.DataFrame(rows, columns=["figure", "kind", "icc", "low", "high"])
    least = min(0.0, float(frame["low"].min())) if len(frame) else 0.0
    base = alt.Chart().encode(
        y=alt.Y("figure:N", sort=[metric.words for metric in METRICS.values()], title=None),
        color=alt.condition(alt.datum.icc >= MIN_ICC, alt.value(_PASS), alt.value(_FAIL)),
    )
    panel = alt.layer(
        alt.Chart().mark_rule(color=_PALE, strokeDash=[3, 3]).encode(x=alt.datum(MIN_ICC)),
        base.mark_rule(strokeWidth=1.6).encode(
            x=alt.X("low:Q", title="ICC", scale=alt.Scale(domain=[max(least, -1.0), 1.0]), axis=alt.Axis(tickCount=5)),
            x2="high:Q",
        ),
        base.mark_point(filled=True, size=48, opacity=1).encode(x="icc:Q"),
    ).properties(width=250, height=alt.Step(19))
    heading = title(
        "Does a figure come out the same again?",
        f"bars: 95 %; dashed: {MIN_ICC}, the gate over prompts; blue at or above it, orange below",
    )
    return styled(panel.facet(alt.Facet("kind:N", sort=list(kinds.values())), data=frame, columns=2, title=heading))


def _suites(found: Audit) -> Any:
    """The score of every suite on every split."""
    import altair as alt
    import pandas as pd

    rows = [
        {"suite": row["suite"], "variant": row["variant"], "method": _method(name), "score": row["figures"].get(name)}
        for row in found.rows
        if row["part"] == SUITES
        for name in _SCORES
    ]
    frame = pd.DataFrame(rows).dropna(subset=["score"])
    headline = frame[frame["method"] == SCORED_METHODS[0]]
    order = headline.groupby("variant")["score"].mean().sort_values(ascending=False)
    variants = [*[name for name in order.index if name != RANDOM], *[name for name in order.index if name == RANDOM]]
    chart = (
        alt.Chart(frame)
        .mark_tick(thickness=1.6, opacity=0.75, size=9)
        .encode(
            x=alt.X("score:Q", title="IOI score"),
            y=alt.Y("variant:N", sort=variants, title=None),
            yOffset=alt.YOffset("method:N", sort=list(SCORED_METHODS)),
            color=alt.Color("method:N", scale=_scale(), legend=alt.Legend()),
        )
        .properties(
            width=520,
            height=alt.Step(11),
            title=title(
                "All scores that were measured", "a tick a suite and a split: what spreads is seeds and prompts"
            ),
        )
    )
    return styled(chart)


def _planted(found: Audit) -> Any:
    """Figures against the share that is spoilt: a column a corruption, a row a kind of figure."""
    import altair as alt
    import pandas as pd

    rows = [
        {"figure": METRICS[row["metric"]].words, "corruption": row["corruption"], "share": share, "value": value}
        | {"metric": row["metric"], "ok": "monotone" if _holds(found, row) else "not monotone"}
        for row in found.tables["planted"]
        if row["metric"] in _DRAWN
        for share, value in zip(row["shares"], row["values"], strict=True)
    ]
    frame = pd.DataFrame(rows)
    rows_of = [_planted_row(frame[frame["figure"] == METRICS[name].words], i == 0) for i, name in enumerate(_DRAWN)]
    heading = title(
        "Known features, spoilt step by step",
        "across: the share of features that is spoilt, from 0 to 1; means over seeds; an axis a row",
    )
    return styled(alt.vconcat(*rows_of, spacing=6, title=heading))


def _planted_row(frame: pd.DataFrame, first: bool) -> Any:
    """One figure under all corruptions, on one axis."""
    import altair as alt

    base = alt.Chart().encode(
        x=alt.X("share:Q", title=None, axis=alt.Axis(values=[0, 0.5, 1], format="~g")),
        y=alt.Y("value:Q", title=frame["figure"].iloc[0], scale=alt.Scale(zero=False), axis=_UPRIGHT),
        color=alt.Color(
            "ok:N", scale=alt.Scale(domain=["monotone", "not monotone"], range=[_PASS, _FAIL]), legend=alt.Legend()
        ),
    )
    layers = alt.layer(base.mark_line(strokeWidth=1.6), base.mark_point(filled=True, size=22, opacity=1))
    header = alt.Header(labels=first)
    column = alt.Column("corruption:N", sort=list(CORRUPTIONS), title=None, header=header)
    return layers.properties(width=112, height=74).facet(column=column, data=frame)


def _holds(found: Audit, row: dict[str, Any]) -> bool:
    return row["rho"] is not None and row["rho"] >= found.made["gates"]["rho"]


def _checkpoints(found: Audit) -> Any:
    """Scores as training goes on."""
    import altair as alt
    import pandas as pd

    rows = [
        {"variant": row["variant"], "epoch": row["level"], "method": _method(name), "score": row["figures"].get(name)}
        for row in found.rows
        if row["part"] == CHECKPOINTS
        for name in _SCORES
    ]
    frame = pd.DataFrame(rows).dropna(subset=["score"])
    base = alt.Chart().encode(
        x=alt.X(
            "epoch:Q", title="epoch", scale=alt.Scale(type="symlog"), axis=alt.Axis(values=[1, 4, 16, 64, 250, 1000])
        ),
        y=alt.Y("score:Q", title="IOI score"),
        color=alt.Color("method:N", scale=_scale(), legend=alt.Legend()),
    )
    panel = alt.layer(base.mark_line(strokeWidth=1.6), base.mark_point(filled=True, size=30, opacity=1))
    heading = title("Does the score rise as training goes on?", "one seed a variant, the same λ or k throughout")
    facet = alt.Facet("variant:N", sort=list(frame["variant"].drop_duplicates()))
    return styled(panel.properties(width=190, height=150).facet(facet, data=frame, columns=3, title=heading))
