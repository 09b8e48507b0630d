"""The study of tactics in words: ``ABLATION.md``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from ioi_bench.evaluation.bootstrap import Interval
from ioi_bench.studies.ablation import FULL, TACTICS, reading
from ioi_bench.studies.ablation_study import METHODS, AblationRow, AblationStudy

__all__ = ["CAVEATS", "FIGURE", "ablation_markdown", "difference_text"]

FIGURE = "ablation.png"
"""The name of the figure beside the page."""

CAVEATS = (
    "The interval is over sites alone: seeds, attributes and validation prompts are not resampled, and sites of one "
    "cross-section resemble each other. It says whether the sites agree, not whether another model would.",
    "Of all these intervals one in twenty would exclude 0 by chance.",
    "The candidates are selected and compared on the same validation prompts, with the tactic and without it.",
    "Without dense_checkpoints there is less to select among, so that its difference cannot be negative.",
    "Without input_scale the same λ weighs another way, since inputs are longer or shorter: its row is of both.",
)
"""What to keep in mind with every such table."""


def ablation_markdown(study: AblationStudy) -> str:
    """The page: what was done, what was shown, a table a variant, and what to keep in mind."""
    recipe = study.recipe
    trained = study.provenance.get("train_prompts", "all")
    sparsities = "; ".join(f"{name} {', '.join(f'{v:g}' for v in values)}" for name, values in recipe.variants.items())
    intervals = [found.difference for row in study.removed if not row.same_weights for found in row.effects.values()]
    clear = sum(reading(one) in ("helps", "harms") for one in intervals)
    lines = [
        "# What the tactics of training are worth",
        "",
        f"Written by `ioi-bench study ablation` on {study.model}: {sparsities} (λ, or k); "
        f"seeds {', '.join(map(str, recipe.seeds))}; d_sae {recipe.d_sae}; {recipe.epochs} epochs of {trained} train "
        f"prompts at a learning rate of {recipe.learning_rate:g}; dead features start again after epochs "
        f"{', '.join(map(str, recipe.resample_after)) or '–'}, with a warm-up of {recipe.resample_warmup}. "
        "The recipe is trained with all tactics, and again with each one removed.",
        "",
        "Of each run the candidate of least edit distance on validation is selected, per variant, seed, k, site and "
        f"attribute ({study.n_prompts:,} prompts, {study.budget} rounds). *Distance* is its edit distance as a share "
        "of the unedited one, mean over sites. *Difference* is the distance without the tactic less that with it, "
        "paired: above 0 the tactic helps. In brackets its 95 % interval, by a bootstrap over sites "
        f"({_sites(study)} of them; each keeps its attributes, seeds and k).",
        "",
        "## What was shown",
        "",
        f"{clear} of {len(intervals)} intervals exclude 0, of runs that were trained without a tactic.",
        "",
        *(f"- {line}" for line in _findings(study)),
        "",
        f"![Differences with intervals]({FIGURE})",
        "",
    ]
    for variant in study.variants:
        lines += [f"## {variant}", "", *_table(study.rows(variant)), ""]
    lines += [
        "‖x − x̂‖² and L0 are of the last checkpoint on validation, inputs scaled to the mean norm √d_in; dead is the"
    ]
    lines += ["share of features that no train prompt activates then.", "", "## What to keep in mind", ""]
    return "\n".join([*lines, *(f"- {caveat}" for caveat in CAVEATS)]) + "\n"


def difference_text(found: Interval) -> str:
    """A difference with its interval, signs throughout.

    >>> difference_text(Interval(0.0213, -0.004, 0.05)), difference_text(Interval(-0.1, float("nan"), float("nan")))
    ('+.021 [−.004, +.050]', '−.100')
    """
    value, low, high = (_signed(one) for one in (found.value, found.low, found.high))
    return value if math.isnan(found.low) else f"{value} [{low}, {high}]"


def _signed(value: float) -> str:
    text = f"{abs(value):.3f}"
    sign = "" if float(text) == 0 else "−" if value < 0 else "+"
    return sign + (text.removeprefix("0") if value == value else "–")


def _sites(study: AblationStudy) -> str:
    counts = sorted({found.sites for row in study.full for found in row.effects.values()})
    return " or ".join(map(str, counts))


def _findings(study: AblationStudy) -> Iterable[str]:
    """A line a tactic: what each variant's intervals say, method by method."""
    for tactic in TACTICS:
        rows = [row for row in study.removed if row.tactic == tactic]
        if rows[0].unmeasured:
            yield f"**{tactic}**: not measured: {rows[0].same_weights}."
            continue
        parts = []
        for method in METHODS:
            said: dict[str, list[str]] = {}
            for row in rows:
                said.setdefault(reading(row.effects[method].difference), []).append(row.variant)
            parts.append(f"{method}: " + ", ".join(f"{word} ({', '.join(names)})" for word, names in said.items()))
        yield f"**{tactic}**: {'; '.join(parts)}."


def _table(rows: Sequence[AblationRow]) -> Iterable[str]:
    heads = ["removed", *(text for method in METHODS for text in (f"{method}: distance", "difference", ""))]
    yield "| " + " | ".join([*heads, "‖x − x̂‖²", "L0", "dead"]) + " |"
    yield "|---|" + "---:|---:|---|" * len(METHODS) + "---:|---:|---:|"
    for row in rows:
        cells = ["nothing" if row.tactic == FULL else row.tactic]
        for method in METHODS:
            found = row.effects[method]
            cells += [f"{found.removed:.3f}".removeprefix("0"), *_compared(row, found.difference)]
        last = row.final
        yield "| " + " | ".join([*cells, f"{last.error:.3g}", f"{last.l0:.1f}", f"{last.dead:.0%}"]) + " |"


def _compared(row: AblationRow, difference: Interval) -> tuple[str, str]:
    if row.tactic == FULL:
        return "", ""
    if row.unmeasured:
        return "", "same weights"
    return difference_text(difference), reading(difference)
