"""The supervised solution under another name."""

from __future__ import annotations

from zoo import Animal, Plain


def _make(known, site):
    skyline = known.skyline(site)
    return Plain(skyline.directions, skyline.offset, skyline.encode)


ANIMAL = Animal(
    name="the skyline smuggled in",
    idea="class means of labelled prompts are handed in as a dictionary that was trained without labels",
    because="it is the solution; its directions are nearer to the supervised codes than any trained suite's",
    make=_make,
    caught="flagged",
    says="supervised-directions",
    predicted={"exchange": 0.72, "aware": 1.0, "universal": 1.0},
    bound={"exchange": 1.05, "aware": 1.05, "universal": 1.05},
)
