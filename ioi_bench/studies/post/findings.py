"""The post's findings, each decided by a rule from figures with intervals; never by hand.

Sources: "SAEs Discover Meaningful Features in the IOI Task" (the post) as METHOD §9 gives its figures, and Korznikov et
al. 2026 (arXiv 2602.14111) for the frozen-decoder control. A bound is set before any figure is seen: METHOD's where it
has one, else one that the post's own figures keep. Agreement of seeds, edits of equal size and reliable sites were
asked for later, and the page says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ioi_bench.studies.post.chosen import AGNOSTIC, AWARE
from ioi_bench.studies.post.numbers import number
from ioi_bench.studies.post.tables import BUDGET, EQUAL_SIZE
from ioi_bench.studies.post.verdicts import (
    FAILS,
    HOLDS,
    UNKNOWN,
    Evidence,
    Finding,
    at_least_on_every_seed,
    at_most,
    on_every_seed,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["find"]

_CLEARLY_BETTER = 0.2  # METHOD §9
# In METHOD §9's table top-k falls behind gated by .065 at most, and gated behind the skyline by .017 (pos at nm-qk .866
# and .883; at ind-dt-out .899 and .900).
_ABOUT_AS_GOOD = -0.1
_STRONG = 0.5
_ALIGNED = 0.7  # within 45°
_OF_THE_POST = ("relu", "gated", "topk k=3")
_POOLED = "relu + gated"
_LAST, _TRAINED, _FROZEN = "topk k=3, last epoch", "topk k=3", "frozen-decoder k=3"
_TOWARDS = "codes → features"


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


def _compared(differences: pd.DataFrame, kind: str, left: str, right: str, budget: int = BUDGET) -> pd.DataFrame:
    """The paired differences of two suites, on all seeds."""
    own = differences[(differences["kind"] == kind) & (differences["budget"] == budget)]
    return own[(own["left"] == left) & (own["right"] == right)]


def _cells(differences: pd.DataFrame, left: str, right: str, note: str = "") -> list[Evidence]:
    """The paired differences of two suites' accuracies in all ranked cells, a row a seed."""
    own = _compared(differences, "accuracy", left, right)
    own = own[own["ranked"]]
    return [_evidence(row["cell"], f"seed {row['seed']}{note}", row) for row in own.to_dict("records")]


def _evidence(what: str, row: str, figures: Mapping[Any, Any]) -> Evidence:
    return Evidence(what, figures["value"], figures["low"], figures["high"], row)


def _means(own: pd.DataFrame, name: str, row: str = "") -> list[Evidence]:
    """Differences as means over the ranked cells; a row a seed, where no other is named."""
    own = own[own["cell"] == "mean"]
    return [_evidence(name, row or f"seed {one['seed']}", one) for one in own.to_dict("records")]


def _close_to_skyline(differences: pd.DataFrame) -> Finding:
    evidence = _cells(differences, "gated", "skyline")
    return Finding(
        "Features of SAEs come close to supervised ones for editing",
        "the post",
        "accuracy of tuned gated − skyline ≥ −.10 in every ranked cell, exchange, k = 2, on every seed",
        *at_least_on_every_seed(evidence, _ABOUT_AS_GOOD),
        tuple(evidence),
    )


def _gated_beats_relu(differences: pd.DataFrame) -> Finding:
    evidence = _cells(differences, "gated", "relu")
    return Finding(
        "Gated SAEs edit far better than vanilla ones across the board",
        "the post; METHOD §9",
        "accuracy of gated − relu, both tuned, ≥ .20 in every ranked cell, exchange, k = 2, on every seed",
        *at_least_on_every_seed(evidence, _CLEARLY_BETTER),
        tuple(evidence),
    )


def _untuned_topk(differences: pd.DataFrame) -> Finding:
    evidence = _cells(differences, _LAST, "gated", ", last epoch")
    judged = {one.row.partition(",")[0] for one in evidence}
    selected = _cells(differences, _TRAINED, "gated", ", selected epoch")
    evidence += [one for one in selected if evidence and one.row.partition(",")[0] not in judged]
    return Finding(
        "Top-k with k = 3, last epoch, untuned, is about as good as tuned gated",
        "the post; METHOD §9",
        "accuracy of top-k − tuned gated ≥ −.10 in every ranked cell, exchange, k = 2, on every seed; the last epoch "
        "was judged on one seed only, and of the others the epoch that was selected",
        *at_least_on_every_seed(evidence, _ABOUT_AS_GOOD),
        tuple(evidence),
    )


def _price(differences: pd.DataFrame) -> Finding:
    matched: dict[int, list[Evidence]] = {EQUAL_SIZE: [], BUDGET: []}
    for budget, evidence in matched.items():
        row = f"aware k = {budget}, exchange k = {BUDGET}"
        for one in _OF_THE_POST:
            own = _compared(differences, "accuracy", f"{one} · {AWARE}", f"{one} · {AGNOSTIC}", budget)
            evidence += _means(own, one, row)
    return Finding(
        "Interpretability has a price: aware edits are less accurate than agnostic ones",
        "the post",
        f"accuracy of aware at k = {EQUAL_SIZE} − exchange at k = {BUDGET}, each tuned for its method, ≤ 0 for relu, "
        "gated and top-k (k = 3), mean over ranked cells. These edits are of equal size: k counts the features that "
        "exchange changes, and those that aware removes while it adds as many. Equal k stands beside it and decides "
        "nothing. One seed only has suites that were tuned for aware",
        *at_most(matched[EQUAL_SIZE], 0.0),
        (*matched[EQUAL_SIZE], *matched[BUDGET]),
    )


def _weight(differences: pd.DataFrame) -> Finding:
    pairs = [(one, _compared(differences, "weight", one, "skyline")) for one in _OF_THE_POST]
    evidence = [found for name, own in pairs for found in _means(own, name)]
    return Finding(
        "Edits of sparse features weigh more than those of the skyline",
        "the paper, Fig. 4; METHOD §9's weights",
        "weight of the edit − the skyline's ≥ 0 for relu, gated and top-k (k = 3), mean over ranked cells, "
        "exchange, k = 2, on every seed",
        *at_least_on_every_seed(evidence, 0.0),
        tuple(evidence),
    )


_BySeed = dict[str, list[Evidence]]


def _sites(correlations: pd.DataFrame, attribute: str, measure: str, what: str) -> _BySeed:
    """By seed: ρ at every site where it is defined and the measure can be relied on, a row a site."""
    own = correlations[(correlations["group"] == _POOLED) & (correlations["attribute"] == attribute)]
    own = own[own["measure"] == measure]
    usable = own[own["reliable"] & own["value"].notna()]
    return {
        f"seed {seed}": [_evidence(what, row["site"], row) for row in usable[usable["seed"] == seed].to_dict("records")]
        for seed in own["seed"].drop_duplicates()
    }


def _mean(sites: Sequence[Evidence], row: str) -> Evidence:
    values = [one.value for one in sites]
    return Evidence(sites[0].what, sum(values) / len(values), min(values), max(values), row, "range")


def _means_of(by_seed: _BySeed) -> dict[str, Evidence]:
    """The mean over sites of each seed that has any, with the range of these sites."""
    return {seed: _mean(sites, f"{seed}, mean over {len(sites)} sites") for seed, sites in by_seed.items() if sites}


def _over_seeds(by_seed: _BySeed) -> list[Evidence]:
    """Each site's mean over seeds, with the range of these."""
    every = [one for sites in by_seed.values() for one in sites]
    by_site = {row: [one for one in every if one.row == row] for row in dict.fromkeys(one.row for one in every)}
    return [_mean(own, f"{row}, mean over {len(own)} seeds") for row, own in by_site.items()]


def _l0(correlations: pd.DataFrame, attribute: str, post: str) -> Finding:
    sites = _sites(correlations, attribute, "l0", "ρ of L0")
    means = _means_of(sites)
    found = {}
    for seed in sites:
        found[seed] = UNKNOWN, "no site has enough dictionaries"
        if mean := means.get(seed):
            verdict = HOLDS if mean.value >= _STRONG and mean.low > 0 else FAILS
            found[seed] = verdict, f"mean ρ {number(mean.value)}, at worst {number(mean.low)}"
    return Finding(
        f"L0 correlates strongly with edit distance ({attribute})",
        f"the post: mean ρ {post} (METHOD §9)",
        "Spearman's ρ over checkpoints × λ of relu and gated: mean over sites ≥ .50, and above 0 at every site, on "
        "every seed",
        *on_every_seed(found),
        (*means.values(), *_over_seeds(sites)),
    )


def _ld_weaker(correlations: pd.DataFrame, attribute: str, post: str) -> Finding:
    ld = _sites(correlations, attribute, "ld_recovered", "ρ of LD recovered")
    at = {seed: {one.row for one in sites} for seed, sites in ld.items()}
    every = _sites(correlations, attribute, "l0", "ρ of L0")
    l0 = {seed: [one for one in sites if one.row in at.get(seed, ())] for seed, sites in every.items()}
    strong, weak = _means_of(l0), _means_of(ld)
    found = {}
    for seed in ld:
        found[seed] = UNKNOWN, "LD recovered means something at no site"
        if seed in strong and seed in weak:
            rho, beside = weak[seed].value, strong[seed].value
            verdict = HOLDS if rho < 0 and -rho < beside else FAILS
            found[seed] = verdict, f"mean ρ {number(rho)} beside {number(beside)}, over {len(ld[seed])} sites"
    return Finding(
        f"LD recovered correlates less, and negatively ({attribute})",
        f"the post: mean ρ {post} (METHOD §9)",
        "mean ρ below 0, that of L0 above 0 and larger in size, over the sites whose ablation moves the logit "
        "difference enough for LD recovered to mean something, on every seed",
        *on_every_seed(found),
        (*strong.values(), *weak.values(), *_over_seeds(l0), *_over_seeds(ld)),
    )


def _cosine(cosines: pd.DataFrame) -> Finding:
    own = cosines[cosines["served"] & (cosines["direction"] == _TOWARDS)]
    found = {name: _cosines_of(own[own["label"] == name]) for name in ("gated", _FROZEN)}
    return Finding(
        "The skyline's codes have features that point their way",
        "METHOD §6; no figure of the post is at hand",
        "mean maximal cosine of the codes of the attribute that is edited with tuned gated's features ≥ .70 at every "
        f"cross-section, on every seed (from train: no interval over prompts). The null beside it: {_FROZEN}, whose "
        "directions are random and were never trained",
        *at_least_on_every_seed(found["gated"], _ALIGNED),
        (*found["gated"], *(replace(one, row=f"null: {_FROZEN}, {one.row}") for one in found[_FROZEN])),
        of_the_post=False,
    )


def _cosines_of(own: pd.DataFrame) -> list[Evidence]:
    """A row a seed."""
    places = own["attribute"] + "@" + own["cross_section"]
    figures = zip(places, own["value"], own["seed"], strict=True)
    return [Evidence(place, x, x, x, f"seed {seed}", "none") for place, x, seed in figures]


def _frozen(differences: pd.DataFrame) -> Finding:
    evidence = _cells(differences, _FROZEN, _TRAINED)
    return Finding(
        "SAEs with frozen random decoders edit as well as trained ones",
        "not the post: Korznikov et al. 2026 (arXiv 2602.14111)",
        "accuracy of frozen-decoder − top-k, both k = 3 and tuned, ≥ −.10 in every ranked cell, exchange, k = 2, on "
        "every seed",
        *at_least_on_every_seed(evidence, _ABOUT_AS_GOOD),
        tuple(evidence),
        of_the_post=False,
    )
