"""What the cards say, as tidy tables; and suites compared, prompt by prompt (METHOD §7: paired)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ioi_bench.errors import InputError
from ioi_bench.evaluation.bootstrap import Bootstrap, interval
from ioi_bench.studies.post.chosen import AGNOSTIC, AWARE, Chosen

if TYPE_CHECKING:
    import pandas as pd
    from jaxtyping import Float
    from torch import Tensor

    from ioi_bench.evaluation.card import Card, EditFigures, Figure
    from ioi_bench.studies.post.judging import Judged

__all__ = [
    "BUDGET",
    "DIRECTIONS",
    "EQUAL_SIZE",
    "Outcomes",
    "cosine_table",
    "difference_table",
    "edit_table",
    "faithful_table",
    "meaning_table",
    "nothing_kept",
    "score_table",
]

BUDGET = 2
"""The post's budget."""

EQUAL_SIZE = 1
"""The budget at which ``aware`` changes as many features as ``exchange`` at `BUDGET`: it removes so many and adds as
many; exchange's budget counts both."""

DIRECTIONS = ("codes → features", "features → codes")

_KINDS = ("accuracy", "weight")


@dataclass(frozen=True)
class Outcomes:
    """What happened in each prompt under the edits of one suite."""

    judged: Judged

    @cached_property
    def _rows(self) -> dict[Any, pd.DataFrame]:
        return dict(iter(self.judged.prompts.groupby(["cell", "method", "budget"], observed=True)))

    def of(self, cell: str, method: str, budget: int, kind: str) -> Float[Tensor, " prompt"]:
        """Accuracy (0 or 1), weight of the edit, or how far it moves (``moved``), of every prompt.

        ``skyline`` is a method, of budget 1.
        """
        import torch

        rows = self._rows[cell, method, budget].sort_values("prompt")
        return torch.tensor(rows[kind].to_numpy(dtype=float))

    @cached_property
    def bootstrap(self) -> Bootstrap:
        """The same draws as the card's: clustered by pair of names."""
        made = self.judged.card.made
        first = self._rows[self.judged.card.cells[0].name, "no-edit", 0].sort_values("prompt")
        pairs = [(min(io, s), max(io, s)) for io, s in zip(first["io"], first["s"], strict=True)]
        return Bootstrap.of(pairs, draws=made.n_draws, seed=made.seed)


def score_table(judged: Iterable[Judged]) -> pd.DataFrame:
    """IOI scores: label, seed, value, low, high; ``method`` of the edits, and by which the suite was ``selected``."""
    import pandas as pd

    rows = []
    for one in judged:
        for method, headline in one.card.headline.items():
            about = {**_about(one.chosen), "method": method, "selected": one.chosen.method}
            rows.append({**about, "n_cells": headline.n_cells, **_figure(headline.score)})
    return pd.DataFrame(rows)


def edit_table(judged: Sequence[Judged]) -> pd.DataFrame:
    """Accuracy and weight of every edit: a row a suite, cell and budget; the skyline and no edit come first."""
    import pandas as pd

    rows = list(_baseline_rows(judged[0].card))
    for one in judged:
        for cell in one.card.cells:
            about = {**_about(one.chosen), "cell": cell.name, "ranked": cell.ranked}
            rows += [{**about, **_edit(edit)} for edit in cell.edits if edit.method == one.chosen.method]
    return pd.DataFrame(rows)


def _baseline_rows(card: Card) -> Iterator[dict[str, Any]]:
    for cell in card.cells:
        about = {"variant": "", "sparsity": None, "seed": None, "cell": cell.name, "ranked": cell.ranked}
        nothing = {"budget": 0, **_prefixed("accuracy", cell.no_edit), "weight": 0.0}
        yield {"label": "no edit", "method": "no edit", **about, **nothing}
        yield {"label": "skyline", "method": "skyline", **about, **_edit(cell.skyline["mean"])}


def _edit(edit: EditFigures) -> dict[str, Any]:
    figures = {**_prefixed("accuracy", edit.accuracy), **_prefixed("weight", edit.weight)}
    return {"budget": edit.budget, **figures, "n_removed": edit.n_removed, "n_added": edit.n_added}


def difference_table(judged: Sequence[Judged]) -> pd.DataFrame:
    """Paired differences with their intervals: seed, kind, budget, left, right, cell, ranked, value, low, high.

    Of every seed at k = 2: every variant less the skyline (``accuracy`` and ``weight``), and the pairs that the
    findings ask for. Aware (``budget``: its) less agnostic at k = 2, where there are suites selected for aware. The
    row ``mean`` is the mean over the ranked cells.

    Raises:
        InputError: the suites were judged on different prompts.
    """
    import pandas as pd

    if len({(one.card.made.spec_sha256, one.card.made.n_prompts) for one in judged}) > 1:
        raise InputError("the cards are of different prompts, and cannot be compared prompt by prompt")
    rows: list[dict[str, Any]] = []
    for seed in dict.fromkeys(one.chosen.seed for one in judged):
        own = [one for one in judged if one.chosen.seed == seed]
        rows += [{"seed": seed, **row} for row in _differences(own)]
    return pd.DataFrame(rows)


def _differences(judged: Sequence[Judged]) -> Iterator[dict[str, Any]]:
    """Of one seed."""
    agnostic = {one.chosen.label: Outcomes(one) for one in judged if one.chosen.method == AGNOSTIC}
    aware = {one.chosen.label: Outcomes(one) for one in judged if one.chosen.method == AWARE}
    for label, outcomes in agnostic.items():
        for kind in _KINDS:
            yield from _difference(kind, (label, outcomes, AGNOSTIC, BUDGET), ("skyline", outcomes, "skyline", 1))
        if label in aware:
            for budget in (EQUAL_SIZE, BUDGET):
                left = (f"{label} · {AWARE}", aware[label], AWARE, budget)
                yield from _difference("accuracy", left, (f"{label} · {AGNOSTIC}", outcomes, AGNOSTIC, BUDGET))
    for one, other in _pairs(list(agnostic)):
        left, right = ((name, agnostic[name], AGNOSTIC, BUDGET) for name in (one, other))
        yield from _difference("accuracy", left, right)


def _pairs(labels: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Suites that are compared, where both are there."""
    last = "topk k=3, last epoch"
    wanted = [("gated", "relu"), (last, "gated"), (last, "relu"), ("topk k=3", "gated")]
    wanted += [(f"frozen-decoder k={k}", f"topk k={k}") for k in (3, 6, 12, 24)]
    return ((one, other) for one, other in wanted if one in labels and other in labels)


_Side = tuple[str, Outcomes, str, int]


def _difference(kind: str, left: _Side, right: _Side) -> Iterator[dict[str, Any]]:
    import torch

    card, boot = left[1].judged.card, left[1].bootstrap
    one, other = (_means(kind, side, card, boot) for side in (left, right))
    draws = one - other
    ranked = [cell.ranked for cell in card.cells]
    columns = {cell.name: (cell.ranked, draws[:, i]) for i, cell in enumerate(card.cells)}
    if any(ranked):
        columns["mean"] = (False, draws[:, torch.tensor(ranked)].mean(1))
    for name, (counts, of_cell) in columns.items():
        found = interval(of_cell)
        about = {"kind": kind, "budget": left[3], "left": left[0], "right": right[0], "cell": name, "ranked": counts}
        yield {**about, "value": found.value, "low": found.low, "high": found.high}


def _means(kind: str, side: _Side, card: Card, boot: Bootstrap) -> Float[Tensor, "draw cell"]:
    import torch

    def of(column: str) -> Tensor:
        _, outcomes, method, budget = side
        return torch.stack([outcomes.of(cell.name, method, budget, column) for cell in card.cells], 1)

    return boot.mean_by(of("weight"), of("moved")) if kind == "weight" else boot.mean(of(kind))


def cosine_table(judged: Iterable[Judged]) -> pd.DataFrame:
    """Mean maximal cosines with the skyline's codes: label, cross_section, attribute, served, direction, value."""
    import pandas as pd

    rows = []
    for one in judged:
        served = {(cell.cross_section, cell.attribute) for cell in one.card.cells if cell.headline}
        for section in one.card.cross_sections:
            for attribute, found in section.geometry.items():
                is_served = (section.name, attribute) in served
                about = {"cross_section": section.name, "attribute": attribute, "served": is_served}
                values = (found.codes_to_features.value, found.features_to_codes.value)
                for direction, value in zip(DIRECTIONS, values, strict=True):
                    number = float("nan") if value is None else value
                    rows.append({**_about(one.chosen), **about, "direction": direction, "value": number})
    return pd.DataFrame(rows)


def meaning_table(judged: Iterable[Judged]) -> pd.DataFrame:
    """Explained features by threshold: their share, and what keeping and removing them does."""
    import pandas as pd

    rows = []
    for one in judged:
        for section in one.card.cross_sections:
            for found in section.explained:
                about = {**_about(one.chosen), "cross_section": section.name, "threshold": found.threshold}
                kept, removed = _prefixed("kept", found.kept), _prefixed("removed", found.removed)
                rows.append({**about, "share": _figure(found.share)["value"], **kept, **removed})
    return pd.DataFrame(rows)


def faithful_table(judged: Iterable[Judged]) -> pd.DataFrame:
    """L0, dead share, FVU, sufficiency and necessity by cross-section."""
    import pandas as pd

    rows = []
    for one in judged:
        sections = {cell.cross_section: cell.faithfulness for cell in one.card.cells}
        for name, found in sections.items():
            figures: dict[str, Any] = {}
            for column in ("l0", "dead_share", "fvu", "ld_recovered", "sufficiency", "necessity"):
                figures |= _prefixed(column, getattr(found, column))
            rows.append({**_about(one.chosen), "cross_section": name, **figures})
    return pd.DataFrame(rows)


def nothing_kept(meaning: pd.DataFrame) -> pd.DataFrame:
    """``kept`` where no feature is explained, which is mean ablation, by cross-section: where some suite has such.

    Args:
        meaning: of `meaning_table`.
    """
    own = meaning[(meaning["share"] == 0) & meaning["kept"].notna()].drop_duplicates("cross_section")
    return own.set_index("cross_section")[["kept", "kept_low", "kept_high", "removed", "removed_low", "removed_high"]]


def _about(chosen: Chosen) -> dict[str, Any]:
    return {
        "label": chosen.label,
        "variant": chosen.variant,
        "sparsity": chosen.sparsity,
        "seed": chosen.seed,
        "method": chosen.method,
    }


def _figure(figure: Figure) -> dict[str, float]:
    nan = float("nan")
    return {name: nan if (x := getattr(figure, name)) is None else x for name in ("value", "low", "high")}


def _prefixed(name: str, figure: Figure) -> Mapping[str, float]:
    found = _figure(figure)
    return {name: found["value"], f"{name}_low": found["low"], f"{name}_high": found["high"]}
