"""The score card: everything that an evaluation found and what it was made from, as frozen records.

A card is JSON on disk, with a schema that `card_schema` exports. A figure that could not be computed (a score without a
ranked cell, say) is ``null`` in JSON and ``None`` here; NaN and infinities never appear.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationError

from ioi_bench.atomic import write_file
from ioi_bench.bounded import bounded_bytes, json_value, stays_inside
from ioi_bench.errors import InputError, StorageError
from ioi_bench.evaluation.anchor_records import CardAnchors
from ioi_bench.evaluation.card_records import (
    CellScore,
    CrossSectionFigures,
    Direction,
    EditFigures,
    ExplainedFigures,
    Faithfulness,
    Figure,
    GeometryFigures,
    NullFigures,
    Record,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "SCHEMA_VERSION",
    "BaselineCell",
    "BaselineRow",
    "Card",
    "CardCell",
    "CardWarning",
    "CellScore",
    "CrossSectionFigures",
    "Direction",
    "EditFigures",
    "ExplainedFigures",
    "Faithfulness",
    "Figure",
    "GeometryFigures",
    "HeadlineScore",
    "Made",
    "NullFigures",
    "card_schema",
]

SCHEMA_VERSION: Literal[5] = 5


_MAX_BYTES = 64 << 20  # one with all methods and some baselines has 3 MB


class CardCell(Record):
    """Everything about one cell: a cross-section × the attributes edited there."""

    name: str
    attribute: str
    cross_section: str
    sites: tuple[str, ...]
    missing_sites: tuple[str, ...] = ()
    headline: bool
    ranked: bool
    reason: str
    no_edit: Figure
    skyline: dict[str, EditFigures]
    """By kind of codes: ``mean`` (the one that scores) and, where asked for, ``mse``."""
    edits: tuple[EditFigures, ...]
    scores: dict[str, CellScore]
    """By edit method; empty for cells that are not ranked."""
    faithfulness: Faithfulness

    def edit(self, method: str, budget: int) -> EditFigures:
        """The figures of one method at one budget; `KeyError` if they were not asked for."""
        for figures in self.edits:
            if (figures.method, figures.budget) == (method, budget):
                return figures
        raise KeyError((method, budget))


class BaselineCell(Record):
    """What a baseline reached in a cell."""

    name: str
    edits: tuple[EditFigures, ...]
    scores: dict[str, CellScore]
    faithfulness: Faithfulness


class HeadlineScore(Record):
    """The IOI score of one edit method: the mean over ranked headline cells."""

    score: Figure
    n_cells: int


class BaselineRow(Record):
    """A baseline, judged as the suite is: the same prompts, edits and budgets, with nulls matched to itself."""

    name: str
    summary: str
    headline: dict[str, HeadlineScore]
    cells: tuple[BaselineCell, ...]
    cross_sections: tuple[CrossSectionFigures, ...]


class CardWarning(Record):
    """Something that the reader of a card should know."""

    code: Literal[
        "missing-sites",
        "dead-features",
        "nan-weights",
        "suspicious-scale",
        "not-sparse",
        "supervised-directions",
        "offset-carries",
        "memorised",
        "few-train-prompts",
        "unknown-ranking",
        "plugin",
        "other",
    ]
    message: str


class Made(Record):
    """What made the card: enough to make it again."""

    scoring: str = "ioi-v1"
    """Of the method (`ioi_bench.evaluation.score.SCORING`); cards from before it was said are ``ioi-v1``."""
    spec: str
    spec_sha256: str
    model: str
    model_sha256: str
    circuit: str
    circuit_sha256: str
    suite: str
    suite_sha256: str
    source: str | None = None
    """Where the suite was read from, as it was given; empty for one that was made in Python."""
    loader: str | None = None
    architectures: tuple[str, ...] = ()
    """Of its dictionaries, by name; empty on cards from before this was said."""
    options: dict[str, str] = Field({})
    """What was said of the source on the command line: hook, arch, scale, settings of the loader, preflight."""
    plugins: dict[str, str] = Field({})
    """What took part that is not ioi-bench's own: ``edit method strongest`` → the plugin and where it came from."""
    split: str
    n_prompts: int
    n_train_prompts: int
    full_train: bool
    budgets: tuple[int, ...]
    methods: tuple[str, ...]
    seed: int
    n_draws: int
    device: str
    versions: dict[str, str]
    hardware: dict[str, str]
    wall_seconds: float
    timing: dict[str, float]
    """Where the time went, in seconds."""


class Card(Record):
    """A score card."""

    schema_version: Literal[5] = SCHEMA_VERSION
    track: str
    made: Made
    headline: dict[str, HeadlineScore]
    """By edit method; ``exchange`` is the one that ranks."""
    cells: tuple[CardCell, ...]
    cross_sections: tuple[CrossSectionFigures, ...]
    anchors: CardAnchors
    """What must score nothing and what knows the answer; they do not count in anything else of the card."""
    baselines: tuple[BaselineRow, ...] = ()
    """The rows that were asked for; they do not count in anything else of the card."""
    warnings: tuple[CardWarning, ...] = ()

    def cell(self, name: str) -> CardCell:
        """The cell of that name, such as ``io@nm-out``; `KeyError` if the card has none."""
        for cell in self.cells:
            if cell.name == name:
                return cell
        raise KeyError(name)

    def cross_section(self, name: str) -> CrossSectionFigures:
        """The figures of a cross-section, such as ``nm-out``; `KeyError` if the card has none of that name."""
        for found in self.cross_sections:
            if found.name == name:
                return found
        raise KeyError(name)

    @classmethod
    def read(cls, path: str | Path) -> Card:
        """Read a card, or the ``card.json`` in a directory.

        Raises:
            InputError: no such file, absurdly large, not JSON (NaN and infinities are none), or not a card of this
                schema version.
        """
        path = Path(path)
        if path.is_dir():
            path = path / "card.json"
            if not stays_inside(path, path.parent):
                raise InputError(f"{path} is a link that leaves its folder: put the card itself there")
        try:
            if not path.exists():
                raise InputError(f"there is no card at {path}: `ioi-bench evaluate SUITE --out DIR` writes one")
            data = json_value(bounded_bytes(path, _MAX_BYTES))
        except (ValueError, StorageError) as error:
            raise InputError(f"{path} cannot be read as a card: {error}") from error
        version = data.get("schema_version") if isinstance(data, dict) else None
        if version != SCHEMA_VERSION:
            raise InputError(
                f"{path} has schema_version {version!r}, this version of ioi-bench reads {SCHEMA_VERSION}: "
                "evaluate the suite again, or install the version that wrote the card"
            )
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise InputError(f"{path} is not a valid card: {where}: {first['msg']}") from error

    def write(self, path: str | Path) -> Path:
        """Write the card as JSON, atomically.

        Raises:
            StorageError: the file cannot be written; nothing is left half-written.
        """
        path = Path(path)
        write_file(path, self.to_bytes())
        return path

    def to_bytes(self) -> bytes:
        """What `write` writes."""
        return (self.model_dump_json(indent=1) + "\n").encode()

    def to_frame(self) -> pd.DataFrame:
        """Tidy: one row per figure of the suite (cell, method, budget, metric → value, low, high, direction)."""
        import pandas as pd

        return pd.DataFrame(list(self._rows()))

    def _rows(self) -> Iterator[dict[str, Any]]:
        blank = {"cell": None, "attribute": None, "cross_section": None, "headline": None, "ranked": None}
        for method, headline in self.headline.items():
            yield {**blank, **_row(method, None, "ioi_score", headline.score)}
        for cell in self.cells:
            about = {
                "cell": cell.name,
                "attribute": cell.attribute,
                "cross_section": cell.cross_section,
                "headline": cell.headline,
                "ranked": cell.ranked,
            }
            yield {**about, **_row("no-edit", None, "accuracy", cell.no_edit)}
            for figures in (*cell.skyline.values(), *cell.edits):
                for metric, figure in _figures(figures):
                    yield {**about, **_row(figures.method, figures.budget, metric, figure)}
            for method, score in cell.scores.items():
                for metric, figure in _figures(score):
                    yield {**about, **_row(method, None, metric, figure)}
            for metric, figure in _figures(cell.faithfulness):
                yield {**about, **_row(None, None, metric, figure)}
        for found in self.cross_sections:
            for metric, figure in found.rows():
                yield {**blank, "cross_section": found.name, **_row(None, None, metric, figure)}


def _figures(record: Record) -> Iterator[tuple[str, Figure]]:
    yield from ((name, value) for name, value in record if isinstance(value, Figure))
    if isinstance(record, EditFigures):
        yield from ((f"metrics.{name}", value) for name, value in record.metrics.items())


def _row(method: str | None, budget: int | None, metric: str, figure: Figure) -> dict[str, Any]:
    return {"method": method, "budget": budget, "metric": metric, **figure.model_dump()}


def card_schema() -> dict[str, Any]:
    """The card's JSON Schema."""
    return Card.model_json_schema()
