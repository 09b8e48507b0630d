"""The IOI score of a suite under every draw of the bootstrap, from its results per prompt.

Two suites that were judged on the same prompts are drawn alike, so that their difference has an interval of its own
(METHOD §7: comparisons are paired). A submission's file is not trusted: it is read only as far as its sizes are
sound (`prompts_reading.read_columns`), and used only where it gives the score that the card states.

`prompts_reading.read_prompts` is not used here: it wants a track and a split that this installation has, which one's
own cards in a report need not be of, and reads all columns where six are needed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ioi_bench.errors import InputError
from ioi_bench.evaluation.bootstrap import Bootstrap
from ioi_bench.evaluation.card import Card, CardCell
from ioi_bench.evaluation.prompts_reading import opened, read_columns
from ioi_bench.evaluation.score import HEADLINE_METHOD, SCORED_BUDGETS, cell_value, edit_value, null_normalised

__all__ = ["PROMPTS", "CellScores", "Cluster", "ScoreDraws", "draw_cells", "draw_score", "read_draws", "scored_cells"]

PROMPTS = "prompts.parquet"
Cluster = Literal["pair", "io", "s"]
"""What is drawn: pairs of names, as the card does it; or IO names, or S names, each with all their prompts."""

_TOLERANCE = 1e-3  # per-prompt weights are stored as float32
_MAX_ROWS, _MAX_BYTES = 20_000_000, 2 << 30
_MAX_DRAWS, _MAX_SEEDS = 10_000, 16
_MAX_DRAWN = 50_000_000  # draws by prompts, or by edits; a card of 5,000 prompts and 1,000 draws has a tenth
_DICTIONARY, _SUITE = "dictionary", "suite"
_PROMPT = ("template", "prefix", "pattern", "io", "s")
_RESULTS = ("accuracy", "weight", "moved")
_FIGURES = ("cell", "prompt", "method", "budget", *_RESULTS)
_NO_EDIT, _SKYLINE = ("no-edit", 0), ("skyline", 1)


@dataclass(frozen=True, eq=False)
class ScoreDraws:
    """The score in the sample (row 0) and in every draw.

    Attributes:
        paired_with: equal for suites whose draws are paired: same prompts, draws and seed.
        scores: ``[draw]``.
    """

    paired_with: str
    scores: np.ndarray


@dataclass(frozen=True, eq=False)
class CellScores:
    """The same for every ranked headline cell.

    Attributes:
        cells: by name, in the card's order.
        scores: ``[draw, cell]``.
    """

    paired_with: str
    cells: tuple[str, ...]
    scores: np.ndarray

    @property
    def mean(self) -> ScoreDraws:
        """The IOI score."""
        return ScoreDraws(self.paired_with, self.scores.mean(1))


def scored_cells(card: Card) -> tuple[CardCell, ...]:
    """The ranked headline cells."""
    return tuple(cell for cell in card.cells if cell.headline and cell.ranked)


def read_draws(card: Card, folder: Path) -> ScoreDraws | None:
    """The draws of a suite's score; None where the card has no score.

    Where the file has the random dictionaries' results too, the null of each cell is drawn along; else it is held at
    the card's value.

    Args:
        card: which figures to expect.
        folder: where ``prompts.parquet`` lies.

    Raises:
        InputError: the file cannot be read, or does not give the card's score.
    """
    headline = card.headline.get(HEADLINE_METHOD)
    if headline is None or headline.score.value is None:
        return None
    return _as_stated(card, draw_score(card, folder))


def _as_stated(card: Card, draws: ScoreDraws) -> ScoreDraws:
    found, stated = float(draws.scores[0]), card.headline[HEADLINE_METHOD].score.value
    if stated is None or not abs(found - stated) <= _TOLERANCE:
        raise InputError(f"{PROMPTS} gives the score {found:.4f}, and the card says {stated or 0:.4f}")
    return draws


def draw_score(card: Card, folder: Path) -> ScoreDraws:
    """The same, whatever score the card states.

    Raises:
        InputError: the file cannot be read, or lacks results from which a score follows.
    """
    return draw_cells(card, folder)["pair"].mean


def draw_cells(card: Card, folder: Path, by: Sequence[Cluster] = ("pair",)) -> dict[Cluster, CellScores]:
    """The scores of the ranked headline cells, whatever the card states, drawn in one or more ways.

    Raises:
        InputError: the file cannot be read, or lacks results from which a score follows.
    """
    import pyarrow as pa

    path = folder / PROMPTS
    try:
        found = _drawn(card, _table(path), by)
    # Whatever a hostile file may hold.
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError, IndexError) as error:
        raise InputError(f"{str(path)!r} cannot be read as a table of prompts: {str(error)[:200]}") from error
    if found is None:
        raise InputError(f"{str(path)!r} does not have each row that the card's score is made of exactly once")
    return found


def _table(path: Path) -> Any:
    """The columns that are needed, of the rows that are scored."""
    import pyarrow as pa

    with opened(path) as file:
        meta = file.metadata
        size = sum(meta.row_group(i).total_byte_size for i in range(meta.num_row_groups))
        if meta.num_rows > _MAX_ROWS or size > _MAX_BYTES:
            raise InputError(f"{str(path)!r} has {meta.num_rows:,} rows, {size:,} bytes: too many to be read")
        own = [_DICTIONARY] if _DICTIONARY in file.schema_arrow.names else []
        table = read_columns(path, file, [*_FIGURES, *_PROMPT, *own])
    method = _index(table["method"], (HEADLINE_METHOD, "no-edit", "skyline"))
    wanted = (method > 0) | ((method == 0) & np.isin(table["budget"].to_numpy(), SCORED_BUDGETS))
    return table.filter(pa.array(wanted)).combine_chunks()


def _of(table: Any, dictionary: str) -> Any:
    """The rows of the suite's own dictionaries, or of random ones; None where the file has none of these."""
    import pyarrow as pa

    if _DICTIONARY not in table.column_names:
        return table if dictionary == _SUITE else None
    found = table.filter(pa.array(_index(table[_DICTIONARY], (dictionary,)) == 0)).combine_chunks()
    return found if found.num_rows else None


def _drawn(card: Card, table: Any, by: Sequence[Cluster]) -> dict[Cluster, CellScores] | None:
    made, scored = card.made, scored_cells(card)
    drawn_from = max(made.n_prompts, table.num_rows // max(made.n_prompts, 1))
    if made.n_draws > _MAX_DRAWS or made.n_draws * drawn_from > _MAX_DRAWN:
        raise InputError(f"{made.n_draws:,} draws of {made.n_prompts:,} prompts are too many to be drawn")
    budgets = [budget for budget in made.budgets if budget in SCORED_BUDGETS]
    edits = [(HEADLINE_METHOD, budget) for budget in budgets]
    cells = tuple(cell.name for cell in scored)
    own = _of(table, _SUITE)
    grid = _grid(own, cells, [_NO_EDIT, _SKYLINE, *edits], made.n_prompts)
    if grid is None:
        return None
    figures, first = grid
    prompts = _prompts(own.select(_PROMPT).take(first))
    seeds = {cell.scores[HEADLINE_METHOD].null.seeds for cell in scored}
    found = [_grid(_of(table, f"random {i}"), cells, edits, made.n_prompts) for i in range(min(max(seeds), _MAX_SEEDS))]
    nulls = [null[0] for null in found if null is not None]
    stated = [cell.scores[HEADLINE_METHOD].s_null.value for cell in scored]
    if 0 < len(nulls) < len(found) or (not nulls and any(value is None for value in stated)):
        return None
    paired = hashlib.sha256(f"{prompts.sha256} {made.n_draws} {made.seed}".encode()).hexdigest()
    drawn = {}
    for cluster in by:
        boot = _bootstrap(prompts, made.n_draws, made.seed, cluster)
        means = _means(boot, figures)
        s = _cell_values(means, means[:, :, 2:], budgets)
        random = [_cell_values(means, _means(boot, null), budgets) for null in nulls]
        s_null = torch.stack(random).mean(0) if random else torch.tensor(stated, dtype=s.dtype).expand_as(s)
        drawn[cluster] = CellScores(paired, cells, null_normalised(s, s_null).numpy())
    return drawn


def _means(boot: Bootstrap, figures: np.ndarray) -> Tensor:
    """``[draw, cell, edit, (accuracy, weight)]``; the weight's is by how far each prompt was moved."""
    accuracy, weight, moved = torch.from_numpy(figures).unbind(-1)
    return torch.stack([boot.mean(accuracy), boot.mean_by(weight, moved)], -1)


def _cell_values(means: Tensor, edited: Tensor, budgets: Sequence[int]) -> Tensor:
    """S ``[draw, cell]`` of edits, against no edit and the skyline, the first two of ``means``."""
    accuracy, weight = means.unbind(-1)
    at = {"no_edit": accuracy[..., :1], "skyline": accuracy[..., 1:2], "skyline_weight": weight[..., 1:2]}
    return cell_value(edit_value(*edited.unbind(-1), **at), budgets)


@dataclass(frozen=True)
class _Prompts:
    """Which prompts they are; equal by hash alone, so that the draws over them are kept."""

    sha256: str
    io: tuple[str, ...] = field(compare=False)
    s: tuple[str, ...] = field(compare=False)


def _prompts(rows: Any) -> _Prompts:
    """A row a prompt, in order."""
    digest = hashlib.sha256()
    for name in _PROMPT:
        column = rows[name].combine_chunks()
        plain = column.dictionary_decode() if hasattr(column, "dictionary_decode") else column
        for part in (repr(column.type), *plain.buffers()):
            digest.update(part.encode() if isinstance(part, str) else b"" if part is None else part)
    return _Prompts(digest.hexdigest(), *(tuple(rows[name].to_pylist()) for name in ("io", "s")))


def _grid(
    table: Any, cells: Sequence[str], keys: Sequence[tuple[str, int]], n: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """``[prompt, cell, edit, result]`` (`_RESULTS`), and a row of each prompt; None where one is missing or twice."""
    if table is None or not cells:
        return None
    cell, prompt, edit = _index(table["cell"], cells), table["prompt"].to_numpy(), _edit_index(table, keys)
    kept = (cell >= 0) & (edit >= 0) & (prompt >= 0) & (prompt < n)
    if kept.sum() != n * len(cells) * len(keys):
        return None
    where = prompt[kept], cell[kept], edit[kept]
    grid = np.full((n, len(cells), len(keys), len(_RESULTS)), np.nan)
    seen = np.zeros(grid.shape[:3], dtype=bool)
    seen[where] = True
    if not seen.all():
        return None
    for i, name in enumerate(_RESULTS):
        grid[(*where, i)] = table[name].to_numpy()[kept]
    first = np.full(n, -1)
    first[prompt[kept]] = np.flatnonzero(kept)
    return grid, first


def _index(column: Any, names: Sequence[str]) -> np.ndarray:
    """Per row, which of the names it holds; −1 for another."""
    encoded = column.combine_chunks() if hasattr(column, "combine_chunks") else column
    place = {name: i for i, name in enumerate(names)}
    of_word = np.array([place.get(word, -1) for word in encoded.dictionary.to_pylist()] or [-1])
    return of_word[encoded.indices.to_numpy()]


def _edit_index(table: Any, keys: Sequence[tuple[str, int]]) -> np.ndarray:
    methods = list(dict.fromkeys(method for method, _ in keys))
    method, budget = _index(table["method"], methods), table["budget"].to_numpy()
    found = np.full(len(method), -1)
    for i, (name, most) in enumerate(keys):
        found[(method == methods.index(name)) & (budget == most)] = i
    return found


@lru_cache(maxsize=4)
def _bootstrap(prompts: _Prompts, draws: int, seed: int, by: Cluster) -> Bootstrap:
    pairs = [(min(both), max(both)) for both in zip(prompts.io, prompts.s, strict=True)]
    clusters: Sequence[object] = {"pair": pairs, "io": prompts.io, "s": prompts.s}[by]
    return Bootstrap.of(clusters, draws=draws, seed=seed)
