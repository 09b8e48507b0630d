"""The post's findings, each decided by a rule from figures with intervals; never by hand.

Sources: "SAEs Discover Meaningful Features in the IOI Task" (the post) as METHOD §9 gives its figures, and Korznikov et
al. 2026 (arXiv 2602.14111) for the frozen-decoder control. A bound is set before any figure is seen: METHOD's where it
has one, else one that the post's own figures keep.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ioi_bench.studies.post.chosen import AGNOSTIC, AWARE
from ioi_bench.studies.post.numbers import number

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FAILS", "HOLDS", "UNKNOWN", "Evidence", "Finding", "at_least", "at_most", "find"]

HOLDS, FAILS, UNKNOWN = "holds", "does not hold", "not measurable"

_CLEARLY_BETTER = 0.2  # METHOD §9
_ABOUT_AS_GOOD = (
    -0.1
)  # in METHOD §9's table top-k falls behind gated by .065 at most, and gated behind the skyline not at all
_STRONG = 0.5
_ALIGNED = 0.7  # within 45°
_OF_THE_POST = ("relu", "gated", "topk k=3")
_POOLED = "relu + gated"
_LAST, _TRAINED, _FROZEN = "topk k=3, last epoch", "topk k=3", "frozen-decoder k=3"


@dataclass(frozen=True)
class Evidence:
    """A figure that a finding rests on, with its 95 % interval, or with the range over sites where ``what`` says so."""

    what: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Finding:
    """What was claimed, and what became of it.

    Attributes:
        claim: in one sentence.
        source: who claims it.
        rule: what decides.
        verdict: `HOLDS`, `FAILS` or `UNKNOWN`.
        reason: the figures that decided.
        evidence: all figures.
    """

    claim: str
    source: str
    rule: str
    verdict: str
    reason: str
    evidence: tuple[Evidence, ...]


def at_least(evidence: Sequence[Evidence], bound: float) -> tuple[str, str]:
    """Whether all figures reach the bound: verdict and reason.

    It holds if every interval begins at the bound or above it, and does not if one ends below it. Otherwise the prompts
    do not decide, and neither do we.

    >>> at_least([Evidence("a", 0.3, 0.25, 0.35)], 0.2)[0], at_least([Evidence("a", 0.1, 0.05, 0.15)], 0.2)[0]
    ('holds', 'does not hold')
    >>> at_least([Evidence("a", 0.21, 0.15, 0.27)], 0.2)
    ('not measurable', 'the interval holds the bound at a')
    """
    if not evidence:
        return UNKNOWN, "there is nothing to compare"
    if missing := [one.what for one in evidence if any(math.isnan(x) for x in (one.value, one.low, one.high))]:
        return UNKNOWN, f"no figure for {_listed(missing)}"
    if short := [one.what for one in evidence if one.high < bound]:
        return FAILS, f"not at {_listed(short)}"
    if open_ := [one.what for one in evidence if one.low < bound]:
        return UNKNOWN, f"the interval holds the bound at {_listed(open_)}"
    return HOLDS, f"at all {len(evidence)}" if len(evidence) > 1 else "the interval lies beyond the bound"


def at_most(evidence: Sequence[Evidence], bound: float) -> tuple[str, str]:
    """The same from above."""
    return at_least([Evidence(one.what, -one.value, -one.high, -one.low) for one in evidence], -bound)


def find(differences: pd.DataFrame, correlations: pd.DataFrame, cosines: pd.DataFrame) -> tuple[Finding, ...]:
    """All findings, from the tables of `ioi_bench.studies.post.tables` and `ioi_bench.studies.post.correlations`."""
    return (
        _close_to_skyline(differences),
        _gated_beats_relu(differences),
        _untuned_topk(differences),
        _price(differences),
        _weight(differences),
        *(_l0(correlations, attribute, post) for attribute, post in (("io", ".91"), ("pos", ".73"))),
        *(_ld_weaker(correlations, attribute, post) for attribute, post in (("io", "−.64"), ("pos", "−.17"))),
        _cosine(cosines),
        _frozen(differences),
    )


def _cells(differences: pd.DataFrame, kind: str, left: str, right: str) -> list[Evidence]:
    """The paired differences of two suites in all ranked cells."""
    own = differences[(differences["kind"] == kind) & (differences["left"] == left) & (differences["right"] == right)]
    own = own[own["ranked"]]
    return [_evidence(row["cell"], row) for row in own.to_dict("records")]


def _evidence(what: str, row: Mapping[Any, Any]) -> Evidence:
    return Evidence(what, row["value"], row["low"], row["high"])


def _means(differences: pd.DataFrame, kind: str, pairs: Sequence[tuple[str, str, str]]) -> list[Evidence]:
    """The paired differences of pairs of suites, mean over the ranked cells, by a name for each."""
    found = []
    for name, left, right in pairs:
        own = differences[(differences["kind"] == kind) & (differences["left"] == left)]
        own = own[(own["right"] == right) & (own["cell"] == "mean")]
        found += [_evidence(name, row) for row in own.to_dict("records")]
    return found


def _close_to_skyline(differences: pd.DataFrame) -> Finding:
    evidence = _cells(differences, "accuracy", "gated", "skyline")
    return Finding(
        "Features of SAEs come close to supervised ones for editing",
        "the post",
        "accuracy of tuned gated − skyline ≥ −.10 in every ranked cell, exchange, k = 2",
        *at_least(evidence, _ABOUT_AS_GOOD),
        tuple(evidence),
    )


def _gated_beats_relu(differences: pd.DataFrame) -> Finding:
    evidence = _cells(differences, "accuracy", "gated", "relu")
    return Finding(
        "Gated SAEs edit far better than vanilla ones across the board",
        "the post; METHOD §9",
        "accuracy of gated − relu, both tuned, ≥ .20 in every ranked cell, exchange, k = 2",
        *at_least(evidence, _CLEARLY_BETTER),
        tuple(evidence),
    )


def _untuned_topk(differences: pd.DataFrame) -> Finding:
    evidence = _cells(differences, "accuracy", _LAST, "gated")
    return Finding(
        "Top-k with k = 3, last epoch, untuned, is about as good as tuned gated",
        "the post; METHOD §9",
        "accuracy of top-k − tuned gated ≥ −.10 in every ranked cell, exchange, k = 2",
        *at_least(evidence, _ABOUT_AS_GOOD),
        tuple(evidence),
    )


def _price(differences: pd.DataFrame) -> Finding:
    pairs = [(one, f"{one} · {AWARE}", f"{one} · {AGNOSTIC}") for one in _OF_THE_POST]
    evidence = _means(differences, "accuracy", pairs)
    return Finding(
        "Interpretability has a price: aware edits are less accurate than agnostic ones",
        "the post",
        "accuracy of aware − exchange, each tuned for its method, ≤ 0 for relu, gated and top-k (k = 3), mean over "
        "ranked cells, k = 2",
        *at_most(evidence, 0.0),
        tuple(evidence),
    )


def _weight(differences: pd.DataFrame) -> Finding:
    evidence = _means(differences, "weight", [(one, one, "skyline") for one in _OF_THE_POST])
    return Finding(
        "Sparse features remove more weight than the skyline",
        "the paper, Fig. 4; METHOD §9's weights",
        "centred weight removed − the skyline's ≥ 0 for relu, gated and top-k (k = 3), mean over ranked cells, "
        "exchange, k = 2",
        *at_least(evidence, 0.0),
        tuple(evidence),
    )


def _rho(correlations: pd.DataFrame, attribute: str, measure: str) -> list[float]:
    own = correlations[(correlations["group"] == _POOLED) & (correlations["attribute"] == attribute)]
    return [value for value in own[own["measure"] == measure]["value"] if not math.isnan(value)]


def _range(what: str, values: Sequence[float]) -> Evidence:
    return Evidence(
        f"{what}, mean and range over {len(values)} sites", sum(values) / len(values), min(values), max(values)
    )


def _l0(correlations: pd.DataFrame, attribute: str, post: str) -> Finding:
    values = _rho(correlations, attribute, "l0")
    verdict, reason = UNKNOWN, "no site has enough dictionaries"
    evidence: tuple[Evidence, ...] = ()
    if values:
        evidence = (_range("ρ of L0", values),)
        verdict = HOLDS if evidence[0].value >= _STRONG and evidence[0].low > 0 else FAILS
        reason = f"mean ρ {number(evidence[0].value)}, at worst {number(evidence[0].low)}"
    return Finding(
        f"L0 correlates strongly with edit distance ({attribute})",
        f"the post: mean ρ {post} (METHOD §9)",
        "Spearman's ρ over checkpoints × λ of relu and gated: mean over sites ≥ .50, and above 0 at every site",
        verdict,
        reason,
        evidence,
    )


def _ld_weaker(correlations: pd.DataFrame, attribute: str, post: str) -> Finding:
    l0, ld = (_rho(correlations, attribute, measure) for measure in ("l0", "ld_recovered"))
    verdict, reason = UNKNOWN, "no site has enough dictionaries"
    evidence: tuple[Evidence, ...] = ()
    if l0 and ld:
        evidence = (_range("ρ of L0", l0), _range("ρ of LD recovered", ld))
        strong, weak = (one.value for one in evidence)
        verdict = HOLDS if weak < 0 and -weak < strong else FAILS
        reason = f"mean ρ {number(weak)} beside {number(strong)}"
    return Finding(
        f"LD recovered correlates less, and negatively ({attribute})",
        f"the post: mean ρ {post} (METHOD §9)",
        "mean ρ over sites below 0, that of L0 above 0 and larger in size",
        verdict,
        reason,
        evidence,
    )


def _cosine(cosines: pd.DataFrame) -> Finding:
    own = cosines[(cosines["label"] == "gated") & cosines["served"] & (cosines["direction"] == "codes → features")]
    evidence = [
        Evidence(f"{row['attribute']}@{row['cross_section']}", *[row["value"]] * 3) for row in own.to_dict("records")
    ]
    return Finding(
        "The skyline's codes have features that point their way",
        "METHOD §6; no figure of the post is at hand",
        "mean maximal cosine of the codes of the attribute that is edited with tuned gated's features ≥ .70 at every "
        "cross-section (from train: no interval over prompts)",
        *at_least(evidence, _ALIGNED),
        tuple(evidence),
    )


def _frozen(differences: pd.DataFrame) -> Finding:
    evidence = _cells(differences, "accuracy", _FROZEN, _TRAINED)
    return Finding(
        "SAEs with frozen random decoders edit as well as trained ones",
        "not the post: Korznikov et al. 2026 (arXiv 2602.14111)",
        "accuracy of frozen-decoder − top-k, both k = 3 and tuned, ≥ −.10 in every ranked cell, exchange, k = 2",
        *at_least(evidence, _ABOUT_AS_GOOD),
        tuple(evidence),
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
