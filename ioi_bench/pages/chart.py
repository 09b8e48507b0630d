"""The interactive figure: accuracy against the weight of the edit, a point a suite, as a Vega-Lite specification.

The page draws it with the Vega that vl-convert bundles (`vega_script`), which also renders the card's own figures.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from ioi_bench.atomic import write_file
from ioi_bench.pages.drawing import weight_ticks
from ioi_bench.pages.marks import number
from ioi_bench.pages.rows import Point, Row

__all__ = ["overview_budget", "overview_spec", "vega_script"]

_NAME = "suites"
_HEIGHT = 400
_STAR = "M0,-1L0.23,-0.31L0.95,-0.31L0.36,0.12L0.59,0.81L0,0.38L-0.59,0.81L-0.36,0.12L-0.95,-0.31L-0.23,-0.31Z"
# Okabe and Ito's colours, in an order in which neighbours differ most; black is left out, for dark pages.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#9A8F1B")
_SUITE, _SKYLINE, _NULL, _NO_EDIT = "suite", "skyline", "matched random", "no edit"


def overview_budget(rows: Sequence[Row]) -> int:
    """The budget that the figure begins with: 2, as the post's do, or the nearest one that any suite has."""
    budgets = {point.budget for row in rows for point in row.points}
    return min(budgets, key=lambda budget: (abs(budget - 2), budget), default=2)


def overview_spec(rows: Sequence[Row], link: str) -> dict[str, Any]:
    """The figure of one track.

    The signal ``budget`` chooses what is shown; a line through all budgets follows the suite under the pointer.

    Args:
        link: where a suite's page lies: a format with ``{slug}``.
    """
    import altair as alt

    budget = alt.param(name="budget", value=overview_budget(rows))
    hovered = alt.selection_point(
        name="hovered", fields=["slug"], on="pointerover", clear="pointerout", nearest=False, empty=False
    )
    architectures = sorted({row.architecture for row in rows})
    palette = [_COLOURS[i % len(_COLOURS)] for i in range(len(architectures))]
    colour = alt.Color(
        "architecture:N",
        scale=alt.Scale(domain=architectures, range=palette),
        legend=alt.Legend(title="architecture", orient="right"),
    )
    ticks = weight_ticks(point.weight for row in rows for point in (*row.points, *row.nulls))
    base = alt.Chart(alt.NamedData(_NAME)).encode(
        x=alt.X(
            "weight:Q",
            scale=alt.Scale(domain=[0, ticks[-1]], clamp=True),
            title="weight of the edit",
            axis=alt.Axis(tickCount=6),
        ),
        y=alt.Y(
            "accuracy:Q",
            scale=alt.Scale(domain=[0, 1.02], nice=False, clamp=True),
            title="edit accuracy",
            axis=alt.Axis(tickCount=6),
        ),
    )
    suites = base.transform_filter(alt.datum.kind == _SUITE)
    at_budget = suites.transform_filter("datum.budget == budget")
    trail = suites.transform_filter({"param": "hovered", "empty": False})
    others = base.transform_filter("datum.kind != 'suite' && (datum.budget == budget || datum.fixed)")
    shapes = alt.Scale(domain=[_SKYLINE, _NULL, _NO_EDIT], range=[_STAR, "cross", "diamond"])
    chart = alt.layer(
        others.mark_point(filled=True, size=110, opacity=0.9).encode(
            shape=alt.Shape("kind:N", scale=shapes, legend=alt.Legend(title="for reference", orient="right")),
            color=alt.value({"expr": "ink"}),
            tooltip="name:N",
        ),
        trail.mark_line(strokeWidth=1.5, opacity=0.7).encode(color=colour, order="budget:Q"),
        trail.mark_point(filled=False, size=40).encode(color=colour),
        trail.mark_text(dx=8, dy=-8, fontSize=10).encode(text="budget:Q", color=colour),
        at_budget.mark_point(filled=True, size=85, cursor="pointer")
        .encode(
            color=colour,
            opacity=alt.condition(hovered, alt.value(1), alt.value(0.78)),
            size=alt.condition(hovered, alt.value(170), alt.value(85)),
            tooltip="name:N",  # the page shows more; without it, Vega does not call
        )
        .add_params(hovered),
    )
    chart = chart.add_params(budget, alt.param(name="ink", value="#666666")).properties(
        width="container", height=_HEIGHT
    )
    spec = chart.to_dict()
    spec["datasets"] = {_NAME: list(_values(rows, link))}
    return spec


def _values(rows: Sequence[Row], link: str) -> Iterator[dict[str, Any]]:
    for row in rows:
        about = {
            "slug": row.slug,
            "name": row.name,
            "architecture": row.architecture,
            "badge": row.badge or "",
            "score": number(None if row.score is None else row.score.value),
            "l0": number(row.l0, 1),
            "page": link.format(slug=row.slug),
        }
        for point in row.points:
            yield {"kind": _SUITE, **about, **_at(point)}
    first = next((row for row in rows if row.skyline is not None and row.no_edit is not None), None)
    if first is not None and first.skyline is not None and first.no_edit is not None:
        yield {"kind": _SKYLINE, "name": _SKYLINE, "fixed": True, **_at(first.skyline)}
        yield {"kind": _NO_EDIT, "name": _NO_EDIT, "fixed": True, **_at(first.no_edit)}
    for budget in sorted({point.budget for row in rows for point in row.nulls}):
        points = [point for row in rows for point in row.nulls if point.budget == budget]
        mean = Point(budget, sum(p.accuracy for p in points) / len(points), sum(p.weight for p in points) / len(points))
        yield {"kind": _NULL, "name": "matched random dictionaries, mean", **_at(mean)}


def _at(point: Point) -> dict[str, float]:
    return {"budget": point.budget, "accuracy": round(point.accuracy, 4), "weight": round(point.weight, 4)}


@functools.cache
def vega_script(cache_dir: Path | None = None) -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, which sets ``vegaEmbed`` on the window.

    Bundling takes seconds; with ``cache_dir`` the result is kept there, by version.
    """
    import vl_convert

    name = f"vega-{metadata.version('vl-convert-python')}.js"
    if cache_dir is not None and (kept := cache_dir / "pages" / name).is_file():
        return kept.read_text(encoding="utf-8")
    # A scope of its own: the bundle's helpers have one-letter names, which scripts of a page share.
    script = "(()=>{" + vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;") + "\n})();\n"
    if cache_dir is not None:
        write_file(cache_dir / "pages" / name, script.encode())
    return script
