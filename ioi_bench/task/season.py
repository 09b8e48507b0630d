"""The prompts of a private season: drawn from a secret key, with parts of the words of their own (docs/seasons.md).

All words are cut anew by the key: half of the names for base prompts, a quarter each for IO and S targets; half of the
places; half of the objects. Train shows all names, so that skyline and F1 rankings, which are fitted on it, know every
name of every cut. No prompt of a season, and none of its counterfactuals, is a prompt of train, validation or test.

`GENERATOR` is part of what a season commits to: whatever changes a draw must raise it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

from ioi_bench.errors import InputError
from ioi_bench.task.counterfactuals import counterfactual
from ioi_bench.task.prompts import Pattern, Prompt
from ioi_bench.task.spec import Split, TaskSpec

__all__ = ["GENERATOR", "MAX_PROMPTS", "SEASON", "SeasonWords", "season_split", "season_words"]

GENERATOR = "season-prompts-1"
"""The version of how prompts are drawn here."""

SEASON = "season:"
"""What the name of a season's split begins with."""

MAX_PROMPTS = 5_000
"""As many as the split ``test`` has."""

_PUBLIC = ("train", "validation", "test")
_CHANGED = (("io",), ("s",), ("pos",), ("pos", "s"), ("io", "pos", "s"))


@dataclass(frozen=True)
class SeasonWords:
    """A season's own part of the words; the three parts of the names do not overlap."""

    base: tuple[str, ...]
    io_targets: tuple[str, ...]
    s_targets: tuple[str, ...]
    places: tuple[str, ...]
    objects: tuple[str, ...]


def season_words(spec: TaskSpec, key: str) -> SeasonWords:
    """Cut the words by a key."""
    names = _shuffled(spec.names, key, "names")
    half, three = len(names) // 2, len(names) * 3 // 4
    return SeasonWords(
        base=names[:half],
        io_targets=names[half:three],
        s_targets=names[three:],
        places=_half(spec.places, key, "places"),
        objects=_half(spec.objects, key, "objects"),
    )


def season_split(spec: TaskSpec, name: str, key: str, prompts: int) -> Split:
    """Draw a season's prompts; half ABB, half BAB, and the templates as often as chance has it.

    Args:
        spec: of the track.
        name: of the split, such as ``season:2026-autumn``: nothing is drawn from it.
        key: what all is drawn from.
        prompts: how many; fewer are the first of more.

    Raises:
        InputError: less than one prompt, or more than `MAX_PROMPTS`.
    """
    if not 1 <= prompts <= MAX_PROMPTS:
        raise InputError(f"{prompts} prompts were asked for; a season has 1 to {MAX_PROMPTS:,}")
    words = season_words(spec, key)
    taken = {prompt for public in _PUBLIC for prompt in spec.split(public).prompts}
    rows = []
    for index in range(prompts):
        for attempt in count():
            prompt, io, s = _drawn(spec, words, key, index, attempt)
            changed = {counterfactual(prompt, edit, io=io, s=s) for edit in _CHANGED}
            if prompt not in taken and not changed & taken:
                break
        taken.add(prompt)
        rows.append((prompt, io, s))
    drawn, io_targets, s_targets = zip(*rows, strict=True)
    return Split(name, spec, drawn, io_targets, s_targets)


def _drawn(spec: TaskSpec, words: SeasonWords, key: str, index: int, attempt: int) -> tuple[Prompt, str, str]:
    """One try. Template and prefix are those of the first one, or templates with few prompts would grow rare."""

    def pick(what: str, among: Sequence[str]) -> str:
        return among[_number(key, f"{index}/{attempt}/{what}", len(among))]

    template = _number(key, f"{index}/template", len(spec.templates))
    io = pick("io", words.base)
    pattern: Pattern = "ABB" if index % 2 == 0 else "BAB"
    prompt = Prompt(
        template=template,
        prefix=_number(key, f"{index}/prefix", len(spec.prefixes)),
        pattern=pattern,
        io=io,
        s=pick("s", [name for name in words.base if name != io]),
        place=pick("place", words.places) if spec.templates[template].has_place else "",
        object=pick("object", words.objects) if spec.templates[template].has_object else "",
    )
    return prompt, pick("io target", words.io_targets), pick("s target", words.s_targets)


def _number(key: str, what: str, below: int) -> int:
    """A number in [0, below); of 128 bits the remainder is as good as uniform."""
    return int.from_bytes(hashlib.sha256(f"{key}/{what}".encode()).digest()[:16], "big") % below


def _shuffled(words: Sequence[str], key: str, what: str) -> tuple[str, ...]:
    return tuple(sorted(words, key=lambda word: hashlib.sha256(f"{key}/{what}/{word}".encode()).digest()))


def _half(words: Sequence[str], key: str, what: str) -> tuple[str, ...]:
    return _shuffled(words, key, what)[: len(words) // 2]
