"""Which suites the study judges: each variant as each edit method selected it, and the seeds for the score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ioi_bench.evaluation.score import SCORED_METHODS
from ioi_bench.evaluation.selection import FIXED_SPARSITY, suite_name

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["AGNOSTIC", "AWARE", "LAST_EPOCH", "METHODS", "Chosen", "chosen_suites", "label"]

AGNOSTIC, AWARE = METHODS = ("exchange", "aware")
"""The post's two kinds of edit: interpretation-agnostic and interpretation-aware."""

LAST_EPOCH = ("topk", 3.0)
"""The SAE that the post compares without any tuning: top-k, k = 3, at the last epoch."""


@dataclass(frozen=True)
class Chosen:
    """One suite to judge.

    Attributes:
        variant: what the trainer calls it.
        sparsity: k, where it is fixed; None where λ is selected site by site.
        seed: of the members.
        method: the edit method that selected it, and whose figures the study shows of it.
        last_epoch: nothing was selected but, where there is one, λ.
    """

    variant: str
    sparsity: float | None
    seed: int
    method: str
    last_epoch: bool = False

    @property
    def label(self) -> str:
        """What tables and figures call it: ``gated``, ``topk k=3``."""
        return label(self.variant, self.sparsity) + (", last epoch" if self.last_epoch else "")

    @property
    def name(self) -> str:
        """Of the suite: what `ioi-bench select` calls it, ``gated-s0``, and what is special, ``gated-s0-aware``."""
        special = (self.method if self.method != AGNOSTIC else "", "last" if self.last_epoch else "")
        return "-".join(filter(None, (suite_name(self.variant, self.sparsity or 0.0, self.seed), *special)))

    @property
    def judged_by(self) -> tuple[str, ...]:
        """The edit methods on its card: all that are scored, for what `ioi-bench select` writes; else its own."""
        return SCORED_METHODS if self.method == AGNOSTIC and not self.last_epoch else (self.method,)


def label(variant: str, sparsity: float | None) -> str:
    """A variant in words.

    >>> label("gated", None), label("topk", 3.0)
    ('gated', 'topk k=3')
    """
    return variant if sparsity is None else f"{variant} k={sparsity:g}"


def chosen_suites(table: pd.DataFrame, *, seed: int) -> tuple[Chosen, ...]:
    """All suites, variants in the table's order.

    Of ``seed`` each variant (each k of variants that have one) is taken as either edit method selected it, and top-k
    with k = 3 at the last epoch; of all other seeds as ``exchange`` selected it.
    """
    found: list[Chosen] = []
    for variant in table["variant"].drop_duplicates():
        own = table[table["variant"] == variant]
        values = sorted(own["sparsity"].unique()) if variant in FIXED_SPARSITY else [None]
        for value in values:
            sparsity = None if value is None else float(value)
            for one in sorted(own["seed"].unique()):
                methods = METHODS if one == seed else (AGNOSTIC,)
                found += [Chosen(variant, sparsity, int(one), method) for method in methods]
            if (variant, sparsity) == LAST_EPOCH:
                found.append(Chosen(variant, sparsity, seed, AGNOSTIC, last_epoch=True))
    return tuple(found)
