"""Templates, and the scripts and styles around them, either as files beside the page or inside it.

Everything from a submission is escaped by the templates. A page asks for nothing from elsewhere, and its Content
Security Policy would refuse it: scripts and styles are the site's own files, or have their hash named.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from ioi_bench.evaluation.score import HEADLINE_METHOD, SCORED_METHODS
from ioi_bench.leaderboard.records import BADGES
from ioi_bench.pages import drawing, marks
from ioi_bench.pages.shown import edit_of, shown_budget

if TYPE_CHECKING:
    import jinja2

__all__ = ["SCRIPTS", "Assets", "inside", "licences", "linked", "render", "script_json", "static"]

_HERE = Path(__file__).parent
_BADGE_WORDS = {
    "private-season": "reproduced, and scored on secret prompts",
    "reproduced": "evaluated again with the same result",
    "self-reported": "as its authors claim",
    "refuted": "evaluated again with another result",
}
SCRIPTS = ("boot.js", "datatables.js", "vega.js", "page.js")
"""In the order in which a page needs them; the first before anything is drawn."""


@dataclass(frozen=True)
class Assets:
    """What a page's head and foot hold, and the policy that allows no more."""

    head: Markup
    foot: Markup
    csp: str


def static(name: str) -> str:
    """A file of this package: a style sheet, a script, a licence."""
    return (_HERE / "static" / name).read_text(encoding="utf-8")


def licences() -> str:
    """Of the libraries that pages carry."""
    return f"DataTables\n\n{static('vendor/datatables-LICENSE.txt')}\n\n{static('vendor/vega-LICENSE.txt')}"


def linked(root: str, *, live: bool = False) -> Assets:
    """Files in ``assets/`` below ``root``; ``live`` pages look whether they were built anew."""
    names = (*SCRIPTS[1:], "live.js") if live else SCRIPTS[1:]
    head = f'<script src="{root}assets/{SCRIPTS[0]}"></script>\n<link rel="stylesheet" href="{root}assets/style.css">'
    foot = "\n".join(f'<script defer src="{root}assets/{name}"></script>' for name in names)
    csp = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; base-uri 'none'; "
        f"form-action 'none'; connect-src {repr('self') if live else repr('none')}"
    )
    return Assets(Markup(head), Markup(foot), csp)


def inside(scripts: dict[str, str]) -> Assets:
    """Everything in the page itself.

    Args:
        scripts: by name, as `SCRIPTS`.
    """
    style = static("style.css")
    # No script may seem to end early: inside its strings and regular expressions a backslash before / changes nothing.
    texts = [scripts[name].replace("</script", "<\\/script").replace("<!--", "<\\!--") for name in SCRIPTS]
    hashes = " ".join(_source(text) for text in texts)
    head = f"<script>{texts[0]}</script>\n<style>{style}</style>"
    foot = "\n".join(f"<script>{text}</script>" for text in texts[1:])
    csp = (
        f"default-src 'none'; script-src {hashes}; style-src {_source(style)}; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )
    return Assets(Markup(head), Markup(foot), csp)


def _source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def script_json(data: Any) -> Markup:
    """JSON that may stand in a script element: no character in it can end one.

    >>> script_json({"name": "</script><b>&"})
    Markup('{"name":"\\\\u003c/script\\\\u003e\\\\u003cb\\\\u003e\\\\u0026"}')
    """
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


@cache
def _environment() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.globals |= {
        "badge_mark": marks.badge_mark,
        "badge_order": lambda badge: -1 if badge is None else BADGES.index(badge),
        "badge_words": list(_BADGE_WORDS.items()),
        "curves": drawing.curves,
        "edit_of": edit_of,
        "headline": HEADLINE_METHOD,
        "scored_methods": SCORED_METHODS,
        "mark": drawing.series_mark,
        "method_class": drawing.method_class,
        "number": marks.number,
        "overview": drawing.overview,
        "shown_budget": shown_budget,
        "version": metadata.version("ioi-bench"),
        "whisker": marks.whisker,
    }
    return environment


def render(template: str, assets: Assets, *, root: str = "", home: str = "index.html", **values: Any) -> bytes:
    """A page.

    Args:
        template: its name, without ``.html.j2``.
        assets: of `linked` or `inside`.
        root: the way from the page to the site's top.
        home: where the page's heading leads.
        values: what the template asks for.
    """
    page = _environment().get_template(f"{template}.html.j2")
    return page.render(assets=assets, csp=assets.csp, root=root, home=home, **values).encode()
