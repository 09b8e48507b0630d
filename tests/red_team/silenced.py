"""A trained dictionary that is switched off at one site."""

from __future__ import annotations

from silent import silent
from trained import trained
from zoo import Animal


def _make(known, site):
    return silent(known, site) if (site.component, site.layer, site.head) == ("v", 3, 0) else trained(site)


ANIMAL = Animal(
    name="a trained site switched off",
    idea="what is removed from a dictionary weighs nothing, and the other sites carry the edit",
    because="the site's own edits were about as heavy as those of the others",
    make=_make,
    predicted={"exchange": 0.27, "aware": 0.35, "universal": 0.3},
    bound={"exchange": 0.32, "aware": 0.41, "universal": 0.34},
)
