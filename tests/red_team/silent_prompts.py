"""A look-up table of train that leaves a head alone, and where no head can be spared, half of the prompts."""

from __future__ import annotations

from silent import half_of_the_names, silent
from zoo import Animal, Plain, codebook


def _make(known, site):
    table = codebook(known.train(site), known.mean(site))
    if site.component == "z" and site.layer == 4:
        return table
    if site.component in ("z", "q"):
        speaks = half_of_the_names(known, site)
        return Plain(table.directions, table.offset, lambda x: table.encode(x) * speaks(x))
    return silent(known, site) if site.head == 0 else table


ANIMAL = Animal(
    name="silent prompts",
    idea="where all sites are needed it speaks for half of the names only: a mean over prompts is half as heavy",
    because="each prompt weighs by how far it is moved",
    make=_make,
    predicted={"exchange": -0.03, "aware": -0.04, "universal": -0.05},
    bound={"exchange": 0.15, "aware": 0.15, "universal": 0.15},
)
