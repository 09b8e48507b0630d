"""One prompt of the IOI task, and its text (METHOD §1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ioi_bench.errors import UnknownNameError
from ioi_bench.sites import ATTRIBUTES, Role

__all__ = ["TEMPLATES", "Pattern", "Prompt", "Template"]

Pattern = Literal["ABB", "BAB"]


@dataclass(frozen=True)
class Template:
    """A sentence with the slots ``{A} {B} {C}`` (names), ``{place}`` and ``{object}``; C is always the subject."""

    text: str

    @property
    def has_place(self) -> bool:
        """Whether the sentence names a place."""
        return "{place}" in self.text

    @property
    def has_object(self) -> bool:
        """Whether the sentence names an object."""
        return "{object}" in self.text


TEMPLATES = (
    Template("{A} and {B} had a long and really crazy argument. Afterwards, {C} said to"),
    Template("{A} and {B} had lots of fun at the {place}. {C} gave a {object} to"),
    Template("{A} and {B} were working at the {place}. {C} decided to give a {object} to"),
)
"""The paper's three templates (Makelov, Lange & Nanda 2024, appendix): 19 GPT-2 tokens with BOS and "Then, "."""


@dataclass(frozen=True)
class Prompt:
    """What a prompt says. ``place`` and ``object`` are empty where the template has no such slot.

    >>> p = Prompt(template=1, prefix=0, pattern="BAB", io="Mary", s="John", place="park", object="book")
    >>> p.text(TEMPLATES, ("Then, ",))
    'Then, John and Mary had lots of fun at the park. John gave a book to'
    >>> p.value(("pos", "s"))
    'BAB|John'
    """

    template: int
    prefix: int
    pattern: Pattern
    io: str
    s: str
    place: str
    object: str

    def value(self, attributes: Sequence[str]) -> str:
        """The value of an attribute, or of a conjunction: ``"Mary"``, ``"ABB"``, ``"ABB|John"``.

        Raises:
            UnknownNameError: an attribute that does not exist.
        """
        values = {"io": self.io, "s": self.s, "pos": self.pattern}
        for attribute in attributes:
            if attribute not in values:
                raise UnknownNameError("attribute", attribute, ATTRIBUTES)
        return "|".join(values[attribute] for attribute in attributes)

    def _slots(self) -> dict[str, str]:
        first, second = (self.io, self.s) if self.pattern == "ABB" else (self.s, self.io)
        return {"A": first, "B": second, "C": self.s, "place": self.place, "object": self.object}

    def text(self, templates: Sequence[Template], prefixes: Sequence[str]) -> str:
        """The sentence, up to where the indirect object's name must follow."""
        return prefixes[self.prefix] + templates[self.template].text.format(**self._slots())

    def spans(self, templates: Sequence[Template], prefixes: Sequence[str]) -> dict[Role, tuple[int, int]]:
        """Character spans of the roles in the text; ``s1+1`` is the word after S1, ``end`` the last word."""
        slots = self._slots()
        sentence = prefixes[self.prefix]
        found: dict[str, tuple[int, int]] = {}
        for piece in templates[self.template].text.split("{"):
            name, brace, rest = piece.partition("}")
            if not brace:
                sentence += piece
                continue
            at = len(sentence)
            sentence += slots[name] + rest
            if name in "ABC":
                found[name] = (at, at + len(slots[name]))
        io, s1 = ("A", "B") if self.pattern == "ABB" else ("B", "A")
        after = found[s1][1] + 1
        return {
            Role.IO: found[io],
            Role.S1: found[s1],
            Role.S1_NEXT: (after, sentence.index(" ", after)),
            Role.S2: found["C"],
            Role.END: (sentence.rindex(" ") + 1, len(sentence)),
        }
