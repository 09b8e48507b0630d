"""The table of a track, as the templates read it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from markupsafe import Markup

from ioi_bench.evaluation.audited import audit_note, may_rank, why_not
from ioi_bench.evaluation.score import HEADLINE_METHOD, SCORED_METHODS
from ioi_bench.pages.chart import overview_budget, overview_spec
from ioi_bench.pages.marks import number
from ioi_bench.pages.render import script_json
from ioi_bench.pages.rows import CellMark, Row
from ioi_bench.uncertainty.ties import Place, ranked

__all__ = ["Line", "Mark", "Table", "tables_of"]

_LEAST, _MOST = -1.0, 1.5  # what a hostile card may stretch the axis to
_TINTS = 9
_SHORT_HASH = 8


@dataclass(frozen=True)
class Line:
    """A row and where it stands; no place without a score, nor where the score or the suite may not rank."""

    row: Row
    place: Place[Row] | None


@dataclass(frozen=True)
class Mark:
    """What a table says of one cell of one suite."""

    text: str
    order: float
    css: str


@dataclass(frozen=True)
class Table:
    """All suites that may be compared with each other: same model, circuit, task spec and split.

    Attributes:
        title: the track's name, with the spec's hash where the name alone is not enough.
        link: where a suite's page lies: a format with ``{slug}``.
        compare: whether rows can be picked for comparison.
        badges: whether rows have one.
    """

    title: str
    lines: tuple[Line, ...]
    link: str
    compare: bool
    badges: bool

    @property
    def rows(self) -> list[Row]:
        """In the table's order."""
        return [line.row for line in self.lines]

    @property
    def model(self) -> str:
        """The model's name, as the first card says."""
        return self.rows[0].model

    @property
    def split(self) -> str:
        """Which prompts."""
        return self.rows[0].comparable[4]

    @cached_property
    def methods(self) -> list[str]:
        """Scored edit methods beside the headline's, that any suite has."""
        there = {method for row in self.rows for method in row.scores}
        return [method for method in SCORED_METHODS if method in there and method != HEADLINE_METHOD]

    @property
    def not_ranking(self) -> dict[str, str]:
        """Scored edit methods by which nothing is sorted (the headline's may be one), with the audit's reason."""
        *_, scoring = self.rows[0].comparable
        failed = (one for one in (HEADLINE_METHOD, *self.methods) if not may_rank(f"score.{one}", scoring))
        return {method: why_not(f"score.{method}", scoring) for method in failed}

    @property
    def unfit(self) -> list[Row]:
        """Suites that are no sparse dictionaries, and have no rank."""
        return [row for row in self.rows if row.unfit]

    @property
    def audit_note(self) -> str:
        """On which model alone the audit was made; empty where it is this one's."""
        return audit_note(self.rows[0].comparable[2])

    @cached_property
    def cells(self) -> tuple[CellMark, ...]:
        """The headline cells, as most cards have them: which are ranked is the track's to say, not a card's."""
        kinds = Counter(tuple((cell.name, cell.ranked) for cell in row.cells) for row in self.rows)
        usual = kinds.most_common(1)[0][0]
        return next(row.cells for row in self.rows if tuple((c.name, c.ranked) for c in row.cells) == usual)

    @property
    def low(self) -> float:
        """Where the axis of scores begins."""
        return max(min([0.0, *(row.score.low or 0.0 for row in self.rows if row.score)]), _LEAST)

    @property
    def high(self) -> float:
        """Where it ends."""
        return min(max([1.0, *(row.score.high or 0.0 for row in self.rows if row.score)]), _MOST)

    @property
    def budgets(self) -> list[int]:
        """All that any suite was edited with."""
        return sorted({point.budget for row in self.rows for point in row.points})

    @property
    def budget(self) -> int:
        """The one that the figure begins with."""
        return overview_budget(self.rows)

    @property
    def spec(self) -> Markup:
        """The interactive figure."""
        return script_json(overview_spec(self.rows, self.link))

    def marks(self, row: Row) -> list[Mark]:
        """The row's entries in the columns of cells."""
        own = {cell.name: cell for cell in row.cells}
        return [_mark(own.get(cell.name), cell) for cell in self.cells]


def _mark(own: CellMark | None, column: CellMark) -> Mark:
    if not column.ranked or own is None or own.score is None:
        return Mark("–", _LEAST, "" if column.ranked else "off")
    tint = round(_TINTS * min(max(own.score, 0.0), 1.0))
    return Mark(number(own.score, 2), own.score, f"t{tint}")


def tables_of(rows: Sequence[Row], link: str, *, compare: bool, badges: bool) -> tuple[Table, ...]:
    """A table a track, the largest first; suites that are listed apart are left out."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        if not row.apart:
            groups.setdefault(row.comparable, []).append(row)
    names = Counter(key[0] for key in groups)
    made = [
        Table(_title(key, names), _lines(group), link, compare=compare, badges=badges) for key, group in groups.items()
    ]
    return tuple(sorted(made, key=lambda table: (-len(table.lines), table.title)))


def _title(key: tuple[str, ...], names: Counter[str]) -> str:
    track, spec, model, circuit, split, scoring = key
    if names[track] == 1:
        return track
    hashes = "/".join(one[:_SHORT_HASH] for one in (spec, model, circuit))
    return f"{track}, {split}, {scoring} ({hashes})"


def _lines(rows: Sequence[Row]) -> tuple[Line, ...]:
    *_, scoring = rows[0].comparable
    audited = may_rank(f"score.{HEADLINE_METHOD}", scoring)
    places = ranked([row for row in rows if row.score is not None and not row.unfit]) if audited else ()
    there = {place.row.slug for place in places}
    others = sorted((row for row in rows if row.slug not in there), key=lambda row: row.name.lower())
    return (*(Line(place.row, place) for place in places), *(Line(row, None) for row in others))
