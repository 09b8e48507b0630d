"""Two results of one evaluation, compared: what may differ between machines, and what may not.

Another processor, BLAS or number of threads adds in another order, and moves float32 activations by about 1e-6 of
their size. Almost every result moves as little. A few are discrete: an argmax between two nearly equal logits, a
greedy choice between two nearly equal features, a feature just above zero. These flip, for few prompts, and then a
prompt's figures jump. Hence two kinds of bounds: tight ones that nearly all prompts must keep, and shares of prompts
that may lie outside. docs/verifying.md has the measurements behind the numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ioi_bench.evaluation.card import Card
from ioi_bench.leaderboard.records import Check

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["KEYS", "TOLERANCES", "Difference", "Tolerances", "compare_cards", "compare_prompts", "differences"]

KEYS = ("cell", "cross_section", "site", "dictionary", "method", "budget", "prompt")
"""Columns that name a row of ``prompts.parquet``, as far as the file has them."""
_PROMPTS, _FIGURES = "results per prompt, evaluated again", "figures, evaluated again"
_FIGURE = {"value", "low", "high", "direction"}
_SHOWN = 3


@dataclass(frozen=True)
class Tolerances:
    """How far two honest results of one evaluation may lie apart.

    Attributes:
        rtol, atol: of a prompt's continuous figures, ``|a − b| ≤ atol + rtol |b|``.
        of_edit: share of the prompts of one edit (cell × method × budget) that may lie outside, or one prompt.
        overall: the same share over all rows of the file.
        absolute, relative: of a figure on the card.
        interval: the same, as a share of the interval that was found; the largest of the three counts.
    """

    rtol: float = 1e-3
    atol: float = 1e-3
    of_edit: float = 0.02
    overall: float = 0.002
    absolute: float = 0.002
    relative: float = 0.002
    interval: float = 0.05

    def of(self, found: float, width: float) -> float:
        """What a figure may differ by, from the value and the width of the interval that were found."""
        return max(self.absolute, self.relative * abs(found), self.interval * width)


TOLERANCES = Tolerances()


def compare_prompts(given: pd.DataFrame, found: pd.DataFrame, tolerances: Tolerances = TOLERANCES) -> Check:
    """Row for row, joined on `KEYS`: the same rows, the same prompts, and figures within the tolerances."""
    if set(given) != set(found):
        odd = sorted(map(str, set(given) ^ set(found)))
        return Check(name=_PROMPTS, passed=False, detail=f"the columns differ: {', '.join(odd[:5])}")
    keys = [key for key in KEYS if key in found]
    given, found = _keyed(given, keys), _keyed(found, keys)
    if given.index.has_duplicates or len(given) != len(found) or not found.index.isin(given.index).all():
        detail = f"the rows are not the same: {len(given):,} were handed in, {len(found):,} found"
        return Check(name=_PROMPTS, passed=False, detail=detail)
    given = given.loc[found.index]
    for column in found.columns.difference(_figures(found)):
        if not (given[column].astype(str) == found[column].astype(str)).all():
            return Check(name=_PROMPTS, passed=False, detail=f"the prompts are not the same: {column} differs")
    return _shares(_outside(given, found, tolerances), tolerances)


def _keyed(frame: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """With the keys as its index; a row without a cell, say, has an empty one."""
    names = frame[keys].astype({key: str for key in keys if key not in ("budget", "prompt")})
    return frame.drop(columns=keys).set_index([names[key].where(frame[key].notna(), "") for key in keys])


def _figures(frame: pd.DataFrame) -> list[str]:
    """Columns that hold results and not what the prompt is: truths and real numbers."""
    return [str(name) for name in frame if frame[name].dtype.kind in "fb"]


def _outside(given: pd.DataFrame, found: pd.DataFrame, tolerances: Tolerances) -> pd.DataFrame:
    """Which rows lie outside, by column; a truth lies outside where it is another."""
    import numpy as np
    import pandas as pd

    def one(name: str) -> np.ndarray:
        a, b = (frame[name].to_numpy(dtype=np.float64, na_value=np.nan) for frame in (given, found))
        return ~np.isclose(a, b, rtol=tolerances.rtol, atol=tolerances.atol, equal_nan=True)

    return pd.DataFrame({name: one(name) for name in _figures(found)}, index=found.index)


def _shares(outside: pd.DataFrame, tolerances: Tolerances) -> Check:
    import numpy as np

    edits = [level for level in outside.index.names if level != "prompt"]
    groups = outside.groupby(level=edits, sort=False)
    shares = groups.mean()
    counted = shares.to_numpy() - 1 / groups.size().to_numpy()[:, None]  # one prompt is never too many
    edit, column = map(int, np.unravel_index(counted.argmax(), counted.shape))
    most, total = float(shares.to_numpy()[edit, column]), float(outside.mean().max())
    passed = bool(counted.max() <= tolerances.of_edit and total <= tolerances.overall + 1 / len(outside))
    where = " ".join(str(part) for part in shares.index.tolist()[edit] if part != "")
    detail = (
        f"{len(outside):,} rows; {shares.columns[column]} differs most, at {where}: in {most:.1%} of the prompts "
        f"(at most {tolerances.of_edit:.1%}); over all rows {total:.2%} (at most {tolerances.overall:.1%})"
    )
    return Check(name=_PROMPTS, passed=passed, detail=detail, worst=most, tolerance=tolerances.of_edit)


@dataclass(frozen=True)
class Difference:
    """An entry of two cards, the same or not.

    Attributes:
        allowed: how far numbers may lie apart; None for what must be equal.
    """

    where: str
    given: Any
    found: Any
    allowed: float | None = None

    @property
    def excess(self) -> float:
        """The difference over what is allowed; infinite for what should be equal and is not."""
        if self.allowed is None:
            return 0.0 if self.given == self.found else math.inf
        apart = abs(self.given - self.found) / self.allowed
        return apart if math.isfinite(apart) else math.inf  # NaN, too: it is no figure

    def __str__(self) -> str:
        return f"{self.where}: {_short(self.given)} on the card, {_short(self.found)} found"


def compare_cards(given: Card, found: Card, tolerances: Tolerances = TOLERANCES) -> Check:
    """Every figure of the card with its interval, every cell, every reason, and which warnings there are."""
    every = list(differences(_content(given), _content(found), tolerances))
    outside = sorted((one for one in every if one.excess > 1), key=lambda one: -one.excess)
    measured = [one for one in every if isinstance(one.given, float) and isinstance(one.found, float)]
    worst = max(measured, key=lambda one: one.excess, default=None)
    if outside:
        told = "; ".join(str(one) for one in outside[:_SHOWN]) + ("; …" if len(outside) > _SHOWN else "")
        detail = f"{len(outside)} of {len(every):,} entries differ: {told}"
    else:
        near = f"; nearest to its bound is {worst}" if worst is not None and worst.excess > 0 else ""
        detail = f"{len(every):,} entries agree{near}"
    return Check(
        name=_FIGURES,
        passed=not outside,
        detail=detail,
        worst=None if worst is None else abs(worst.given - worst.found),
        tolerance=None if worst is None else worst.allowed,
    )


def _content(card: Card) -> dict[str, Any]:
    """All but what made it, which is compared apart; of the warnings their kinds, for the words hold figures."""
    content = card.model_dump(mode="json", exclude={"made", "warnings"})
    return content | {"warnings": sorted(warning.code for warning in card.warnings)}


def differences(
    given: Any, found: Any, tolerances: Tolerances, where: str = "", width: float = 0.0
) -> Iterator[Difference]:
    """Every leaf of two JSON values that ought to be the same."""
    if isinstance(given, dict) and isinstance(found, dict):
        if given.keys() != found.keys():
            yield Difference(where, sorted(given), sorted(found))
            return
        if found.keys() == _FIGURE and None not in (found["low"], found["high"]):
            width = found["high"] - found["low"]
        for key, value in found.items():
            yield from differences(given[key], value, tolerances, f"{where} {key}".lstrip(), width)
    elif isinstance(given, list) and isinstance(found, list):
        if len(given) != len(found):
            yield Difference(where, f"{len(given)} entries", f"{len(found)}")
            return
        for i, (one, other) in enumerate(zip(given, found, strict=True)):
            yield from differences(one, other, tolerances, f"{where} {_called(other, i)}", width)
    elif isinstance(given, float) and isinstance(found, float):
        yield Difference(where, given, found, tolerances.of(found, width))
    elif type(given) is type(found) is int and where.endswith("nan_dropped"):
        yield Difference(where, given, found, max(1.0, tolerances.of_edit * found))
    else:
        yield Difference(where, given, found)


def _called(item: Any, i: int) -> str:
    """What a reader calls an entry of a list: its name, its method and budget, or its number."""
    if not isinstance(item, dict):
        return str(i)
    names = [str(item[key]) for key in ("name", "method", "budget", "threshold") if key in item]
    return " ".join(names) or str(i)


def _short(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 60 else text[:59] + "…"
