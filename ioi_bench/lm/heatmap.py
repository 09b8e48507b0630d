"""A discovery drawn: sites × roles, one panel an attribute, as a figure and for the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ioi_bench.atomic import write_file
from ioi_bench.errors import InputError
from ioi_bench.lm.discovery import Discovery
from ioi_bench.sites import Role

if TYPE_CHECKING:
    import altair as alt
    import pandas as pd
    from rich.console import Group

__all__ = ["heat_chart", "heat_table", "write_heat_map"]

_ROLES = [str(role) for role in Role]
_BLUE, _RED = (33, 102, 172), (178, 24, 43)  # ends of ColorBrewer's RdBu, readable by the colour-blind


def _rows(frame: pd.DataFrame, most: int) -> list[str]:
    """The rows (component.layer.head) with the strongest effect at any role, in the network's order."""
    strength = frame["effect"].abs().groupby(frame["row"]).max()
    kept = set(strength.sort_values(ascending=False, kind="stable").index[:most])
    return [row for row in dict.fromkeys(frame["row"]) if row in kept]


def _frame(found: Discovery) -> pd.DataFrame:
    frame = found.to_frame()
    frame["row"] = frame["site"].str.partition("@")[0]
    return frame


def heat_chart(found: Discovery, most: int = 100) -> alt.HConcatChart:
    """The heat map as an Altair chart: the ``most`` strongest rows, roles across, one panel an attribute."""
    import altair as alt

    frame = _frame(found)
    rows = _rows(frame, most)
    shown = frame[frame["row"].isin(rows)].copy()
    shown["label"] = [f"{effect:.1f}" if abs(effect) >= 0.1 else "" for effect in shown["effect"]]
    end = max(1.0, float(shown["effect"].abs().max()))
    panels = [
        _panel(shown[shown["attribute"] == attribute], rows, end).properties(title=_heading(attribute, whole))
        for attribute, whole in zip(found.attributes, found.whole_effect.tolist(), strict=True)
    ]
    return alt.hconcat(*panels, title=_title(found, len(rows))).configure_view(stroke=None)


def _panel(shown: pd.DataFrame, rows: list[str], end: float) -> alt.LayerChart:
    import altair as alt

    base = alt.Chart(shown).encode(
        x=alt.X("role:N", sort=_ROLES, title=None, axis=alt.Axis(orient="top", labelAngle=0, ticks=False)),
        y=alt.Y("row:N", sort=rows, title=None, axis=alt.Axis(labelFont="monospace", ticks=False)),
    )
    scale = alt.Scale(scheme="redblue", domain=[-end, end], reverse=True)
    colour = alt.Color("effect:Q", scale=scale, title="effect")
    cells = base.mark_rect(stroke="white", strokeWidth=0.5).encode(color=colour)
    pale = alt.datum.effect**2 < (0.6 * end) ** 2
    ink = alt.condition(pale, alt.value("#222222"), alt.value("white"))
    text = base.mark_text(fontSize=9).encode(text="label:N", color=ink)
    return (cells + text).properties(width={"step": 38}, height={"step": 14})


def _heading(attribute: str, whole: float) -> str:
    return f"{attribute} (whole prompt: {whole:.2f})"


def _title(found: Discovery, n_rows: int) -> dict[str, str | list[str] | int]:
    every = len({str(site).partition("@")[0] for site in found.sites})
    which = "all rows" if n_rows == every else f"the {n_rows} strongest of {every} rows"
    return {
        "text": f"{found.model}: what patching one site with the counterfactual does",
        "subtitle": [
            f"effect: fall of logit(IO) − logit(S), as a share of its clean mean {found.clean_difference:.2f} "
            f"(1: gone, 2: reversed); {found.n_prompts:,} prompts; {which}"
        ],
        "anchor": "start",
        "offset": 12,
    }


def write_heat_map(found: Discovery, path: Path, most: int = 100) -> None:
    """Draw the heat map into a ``.png`` (two pixels a point) or ``.svg`` file, whole or not at all.

    Raises:
        InputError: another ending.
        StorageError: the file cannot be written.
    """
    import vl_convert

    kind = path.suffix.lower()
    if kind not in (".png", ".svg"):
        raise InputError(f"a heat map is a .png or a .svg file, not {path.name!r}")
    spec = heat_chart(found, most).to_dict()
    if kind == ".png":
        write_file(path, vl_convert.vegalite_to_png(spec, scale=2))
    else:
        write_file(path, vl_convert.vegalite_to_svg(spec).encode())


def heat_table(found: Discovery, most: int = 12) -> Group:
    """The heat map for a terminal: per attribute, the ``most`` strongest rows, coloured where there is colour."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    frame = _frame(found)
    tables = []
    for attribute, whole in zip(found.attributes, found.whole_effect.tolist(), strict=True):
        part = frame[frame["attribute"] == attribute]
        table = Table(title=_heading(attribute, whole), title_justify="left", box=box.SIMPLE_HEAD)
        table.add_column("", no_wrap=True)
        for role in _ROLES:
            table.add_column(role, justify="right", no_wrap=True)
        effects = part.set_index(["row", "role"])["effect"]
        for row in _rows(part, most):
            values = [float(effects[row, role]) for role in _ROLES]
            table.add_row(row, *(Text(_shown(value), style=_style(value)) for value in values))
        tables.append(table)
    return Group(*tables)


def _shown(effect: float) -> str:
    return f"{effect:.2f}" if abs(effect) >= 0.005 else "·"


def _style(effect: float) -> str:
    """White on red for 1 and more, on blue for −1 and less; near 0 the terminal's own colours, dimmed."""
    strength = min(abs(effect), 1.0)
    if strength < 0.05:
        return "dim"
    end = _RED if effect > 0 else _BLUE
    shade = [round(255 + (channel - 255) * strength) for channel in end]
    return f"{'white' if strength > 0.5 else 'black'} on rgb({shade[0]},{shade[1]},{shade[2]})"
