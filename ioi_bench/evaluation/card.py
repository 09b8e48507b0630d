"""The score card: everything that an evaluation found and what it was made from, as frozen records.

A card is JSON on disk, with a schema that `card_schema` exports. A figure that could not be computed (a score without a
ranked cell, say) is ``null`` in JSON and ``None`` here; NaN and infinities never appear.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from ioi_bench.atomic import write_file
from ioi_bench.errors import InputError

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
    "EditFigures",
    "Faithfulness",
    "Figure",
    "HeadlineScore",
    "Made",
    "NullFigures",
    "card_schema",
]

SCHEMA_VERSION: Literal[2] = 2
Direction = Literal["higher", "lower", "none"]


def _finite_or_none(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


Number = Annotated[float | None, BeforeValidator(_finite_or_none)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Figure(_Record):
    """A number with its 95 % interval (bootstrap over prompts, clustered by name pair) and which way is better."""

    value: Number
    low: Number = None
    high: Number = None
    direction: Direction = "none"


class EditFigures(_Record):
    """What one edit did in a cell: a method at a budget, or the skyline (``budget`` 1).

    ``weight_removed`` and ``weight_added`` are the centred form (METHOD §6); ``_paper`` is the paper's.
    ``value`` is v_k of METHOD §7; it is empty for cells in which the skyline does not beat no-edit at all.
    """

    method: str
    budget: int
    accuracy: Figure
    accuracy_names: Figure
    ld_gap: Figure
    kl: Figure
    weight_removed: Figure
    weight_added: Figure
    weight_removed_paper: Figure
    weight_added_paper: Figure
    distance: Figure
    distance_relative: Figure
    value: Figure
    n_removed: float
    """Mean number of features removed per prompt and site."""
    n_added: float
    nan_dropped: int
    """How many (prompt, site) weights had no value, and were left out of the means."""
    metrics: dict[str, Figure] = {}
    """By name, what plugins' metrics say of it."""


class NullFigures(_Record):
    """Matched random dictionaries under one method: per budget means over the seeds."""

    budgets: tuple[int, ...]
    accuracy: tuple[Number, ...]
    weight_removed: tuple[Number, ...]
    seeds: int


class CellScore(_Record):
    """One cell under one method: S, the null's S, and the score that compares them (METHOD §7)."""

    s: Figure
    s_null: Figure
    score: Figure
    null: NullFigures


class Faithfulness(_Record):
    """How well the dictionaries of a cross-section stand for the activations there (METHOD §6)."""

    l0: Figure
    dead_share: Figure
    fvu: Figure
    ld_recovered: Figure
    ld_recovered_reliable: bool
    """False where clean and mean-ablated logit differences are too close to divide by."""
    sufficiency: Figure
    sufficiency_kl: Figure
    necessity: Figure
    necessity_kl: Figure


class CardCell(_Record):
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


class BaselineCell(_Record):
    """What a baseline reached in a cell."""

    name: str
    edits: tuple[EditFigures, ...]
    scores: dict[str, CellScore]
    faithfulness: Faithfulness


class HeadlineScore(_Record):
    """The IOI score of one edit method: the mean over ranked headline cells."""

    score: Figure
    n_cells: int


class BaselineRow(_Record):
    """A baseline, judged as the suite is: the same prompts, edits and budgets, with nulls matched to itself."""

    name: str
    summary: str
    headline: dict[str, HeadlineScore]
    cells: tuple[BaselineCell, ...]


class CardWarning(_Record):
    """Something that the reader of a card should know."""

    code: Literal[
        "missing-sites",
        "dead-features",
        "nan-weights",
        "suspicious-scale",
        "few-train-prompts",
        "unknown-ranking",
        "plugin",
        "other",
    ]
    message: str


class Made(_Record):
    """What made the card: enough to make it again."""

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
    options: dict[str, str] = {}
    """What was said of the source on the command line: hook, arch, scale, settings of the loader, preflight."""
    plugins: dict[str, str] = {}
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


class Card(_Record):
    """A score card."""

    schema_version: Literal[2] = SCHEMA_VERSION
    track: str
    made: Made
    headline: dict[str, HeadlineScore]
    """By edit method; ``exchange`` is the one that ranks."""
    cells: tuple[CardCell, ...]
    baselines: tuple[BaselineRow, ...] = ()
    """The rows that were asked for; they do not count in anything else of the card."""
    warnings: tuple[CardWarning, ...] = ()

    def cell(self, name: str) -> CardCell:
        """The cell of that name, such as ``io@nm-out``; `KeyError` if the card has none."""
        for cell in self.cells:
            if cell.name == name:
                return cell
        raise KeyError(name)

    @classmethod
    def read(cls, path: str | Path) -> Card:
        """Read a card, or the ``card.json`` in a directory.

        Raises:
            InputError: no such file, not JSON, or not a card of this schema version.
        """
        path = Path(path)
        path = path / "card.json" if path.is_dir() else path
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InputError(f"there is no card at {path}: `ioi-bench evaluate SUITE --out DIR` writes one") from None
        except (ValueError, OSError) as error:
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
        write_file(path, (self.model_dump_json(indent=1) + "\n").encode())
        return path

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


def _figures(record: _Record) -> Iterator[tuple[str, Figure]]:
    yield from ((name, value) for name, value in record if isinstance(value, Figure))
    if isinstance(record, EditFigures):
        yield from ((f"metrics.{name}", value) for name, value in record.metrics.items())


def _row(method: str | None, budget: int | None, metric: str, figure: Figure) -> dict[str, Any]:
    return {"method": method, "budget": budget, "metric": metric, **figure.model_dump()}


def card_schema() -> dict[str, Any]:
    """The card's JSON Schema."""
    return Card.model_json_schema()
