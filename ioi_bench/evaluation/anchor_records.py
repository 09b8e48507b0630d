"""What anchors a track and a suite: nulls, ceilings and untrained models, as frozen records (docs/anchors.md)."""

from __future__ import annotations

from typing import Literal

from ioi_bench.evaluation.card_records import Figure, Number, Record

__all__ = ["Anchor", "AnchorCell", "AnchorEdits", "AnchorsMade", "CardAnchors", "TrackAnchors", "TrackCell"]


class AnchorEdits(Record):
    """What an anchor reached in a cell under one edit method: means over the prompts, one entry a budget."""

    budgets: tuple[int, ...]
    accuracy: tuple[Number, ...]
    weight: tuple[Number, ...]
    s: Figure | None = None
    """S of METHOD §7; none for an edit that no budget bounds, or where the skyline has too little to gain."""
    score: Figure | None = None
    """S beside that of matched random dictionaries; none where there are none, or the cell is not ranked."""


class AnchorCell(Record):
    """An anchor in one headline cell, by edit method."""

    name: str
    edits: dict[str, AnchorEdits]


class TrackCell(Record):
    """A headline cell of a track: what no suite changes."""

    name: str
    ranked: bool
    reason: str
    no_edit: Figure
    """Accuracy without an edit."""
    skyline: Figure
    """Accuracy of the mean codes' edit."""
    skyline_weight: Figure
    """Weight that it removes."""


class Anchor(Record):
    """A row: what one baseline reached in the headline cells."""

    name: str
    summary: str
    headline: dict[str, Figure]
    """By edit method, the mean score over the ranked cells, where it has scores."""
    cells: tuple[AnchorCell, ...]
    model: str | None = None
    """Another model than the track's, if it was judged on one."""
    track: tuple[TrackCell, ...] = ()
    """What no edit and the skyline reached on that model."""


class AnchorsMade(Record):
    """What a track's anchors were made from."""

    scoring: str
    """The version of the method (`ioi_bench.evaluation.score.SCORING`)."""
    model: str
    model_sha256: str
    circuit: str
    circuit_sha256: str
    spec: str
    spec_sha256: str
    split: str
    n_prompts: int
    n_train_prompts: int
    seed: int
    n_draws: int
    versions: dict[str, str]


class TrackAnchors(Record):
    """The anchors of a track: they are the same for every suite."""

    schema_version: Literal[1] = 1
    made: AnchorsMade
    cells: tuple[TrackCell, ...]
    rows: tuple[Anchor, ...]

    def row(self, name: str) -> Anchor:
        """The row of that name; `KeyError` if there is none."""
        return next((row for row in self.rows if row.name == name), None) or _missing(name)


class CardAnchors(Record):
    """The anchors on a card."""

    track: TrackAnchors | None
    """Of the track, computed once (``ioi-bench anchors``)."""
    note: str
    """Why there are none of the track; empty where there are."""
    suite: tuple[Anchor, ...]
    """Made from the suite itself, on the card's own prompts; only cells that are ranked."""


def _missing(name: str) -> Anchor:
    raise KeyError(name)
