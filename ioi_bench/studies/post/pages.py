"""RESULTS.md: the study as a page, every number of it from the tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from ioi_bench.studies.post.chosen import AGNOSTIC, AWARE
from ioi_bench.studies.post.correlations import MEASURES
from ioi_bench.studies.post.findings import FAILS, HOLDS, UNKNOWN, Finding
from ioi_bench.studies.post.numbers import number, with_interval
from ioi_bench.studies.post.tables import BUDGET, DIRECTIONS

if TYPE_CHECKING:
    import pandas as pd

    from ioi_bench.studies.post.study import PostStudy

__all__ = ["results_page"]

_MEASURE_HEADINGS = [name.replace("|", "\\|") for name in MEASURES.values()]
_EXPLAINED = 0.8


def results_page(study: PostStudy, figures: Collection[str], commands: Sequence[str]) -> str:
    """The whole page, in Markdown.

    Args:
        study: what was found.
        figures: the names of the figures that were drawn.
        commands: what makes the page again.
    """
    found = study.tables
    sections = [
        _head(study, commands),
        _training(found["curves"]),
        _scores(found["scores"], study.seed),
        _accuracy(found["edits"]),
        _weights(found["edits"]),
        _price(found["differences"]),
        _correlations(found["mean_correlations"], found["correlations"], study.candidates),
        _cosines(found["cosines"]),
        _topk(found["differences"], "topk" in figures),
        _meaning(found["meaning"], found["faithful"]),
        _findings(study.findings, study.made["model"]),
    ]
    return "\n\n".join("\n".join(section) for section in sections) + "\n"


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(headings)} |"
    yield "|" + "---|" * len(headings)
    yield from (f"| {' | '.join(row)} |" for row in rows)


def _head(study: PostStudy, commands: Sequence[str]) -> Iterator[str]:
    made, verdicts = study.made, Counter(finding.verdict for finding in study.findings)
    yield f"# The post's results on {made['model']}"
    yield ""
    yield 'What "SAEs Discover Meaningful Features in the IOI Task" (the post) found on GPT-2 small, asked of'
    yield f"{made['model']} and its reference SAEs. The page, its figures and `results.json` are written by:"
    yield ""
    yield "```console"
    yield from (f"$ {command}" for command in commands)
    yield "```"
    yield ""
    counts = ", ".join(f"{verdicts[verdict]} {verdict}" for verdict in (HOLDS, FAILS, UNKNOWN))
    yield f"[Findings of the post](#findings-of-the-post), {len(study.findings)} in all, by verdict: {counts}."
    yield ""
    versions = ", ".join(f"{name} {version}" for name, version in made["versions"].items())
    hashes = [
        (f"model `{made['model']}`", made["model_sha256"]),
        (f"task `{made['spec']}`", made["spec_sha256"]),
        (f"circuit `{made['circuit']}`", made["circuit_sha256"]),
        ("recipe", made["recipe_sha256"]),
        ("training run", made["run"]),
    ]
    yield from _table(["made from", "sha256"], ((name, f"`{sha[:16]}`") for name, sha in hashes))
    yield ""
    yield f"{made['prompts']:,} test prompts, {made['train_prompts']:,} of train, {made['validation_prompts']:,} of"
    yield f"validation for selection. {versions}."
    yield ""
    yield f"Brackets hold 95 % intervals: {made['draws']:,} draws of prompts, clustered by pair of names; differences"
    yield "are paired. Variants with a k stand there once for each k; of the others λ was selected, and of all"
    yield "the checkpoint: site by site, on validation, for the row's edit method (`docs/selection.md`). Tables show"
    yield f"seed {study.seed}. *Agnostic* edits are `{AGNOSTIC}`, *aware* ones `{AWARE}` (METHOD §5)."
    yield from (f"\nLeft out: {name}: {reason}" for name, reason in study.failed.items())


def _training(curves: pd.DataFrame) -> Iterator[str]:
    yield "## Training"
    yield ""
    yield "![Training curves](figures/curves.png)"
    yield ""
    yield "Where training ended: means over sites and seeds. *Late change*: of the error, over the last tenth of the"
    yield "epochs."
    yield ""
    last = curves[curves["epoch"] == curves["epoch"].max()]
    rows = (
        (r.variant, f"{r.sparsity:g}", number(r.error), f"{r.l0:.1f}", number(r.dead), f"{100 * r.late_change:+.1f} %")
        for r in last.itertuples()
    )
    yield from _table(["variant", "λ or k", "error", "L0", "dead share", "late change"], rows)


def _scores(scores: pd.DataFrame, seed: int) -> Iterator[str]:
    yield "## IOI scores"
    yield ""
    yield "0 is a matched random dictionary, 1 the skyline (METHOD §7). *Spread*: the largest score of a seed less the"
    yield "smallest."
    yield ""
    agnostic = scores[(scores["method"] == AGNOSTIC) & (scores["selected"] == AGNOSTIC)]
    aware = scores[(scores["method"] == AWARE) & (scores["selected"] == AWARE)].set_index("label")
    seeds = sorted(agnostic["seed"].unique())
    rows = []
    for label, own in agnostic.groupby("label", sort=False):
        of_seed = own.set_index("seed")
        shown = [with_interval(of_seed.loc[one]) if one in of_seed.index else "–" for one in seeds]
        spread = number(own["value"].max() - own["value"].min()) if len(own) > 1 else "–"
        rows.append([str(label), *shown, spread, with_interval(aware.loc[label]) if label in aware.index else "–"])
    headings = ["variant", *(f"agnostic, seed {one}" for one in seeds), "spread", f"aware, seed {seed}"]
    yield from _table(headings, rows)


def _by_cell(frame: pd.DataFrame, cells: Sequence[str], column: str) -> list[str]:
    own = {row["cell"]: row for row in frame.to_dict("records")}
    return [with_interval(own[cell], column) if cell in own else "–" for cell in cells]


def _cell_headings(edits: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Cells, and their headings: those that do not count are marked."""
    own = edits[["cell", "ranked"]].drop_duplicates()
    return list(own["cell"]), [cell if ranked else f"{cell} (unranked)" for cell, ranked in own.itertuples(index=False)]


def _edit_rows(edits: pd.DataFrame, column: str) -> Iterator[list[str]]:
    cells, _ = _cell_headings(edits)
    for (name, method), own in edits[edits["budget"] == BUDGET].groupby(["label", "method"], sort=False):
        kind = {AGNOSTIC: "agnostic", AWARE: "aware"}[str(method)]
        yield [str(name), kind, *_by_cell(own, cells, column)]


def _accuracy(edits: pd.DataFrame) -> Iterator[str]:
    cells, headings = _cell_headings(edits)
    yield f"## 1. Edit accuracy at k = {BUDGET}"
    yield ""
    yield "![Edit accuracy](figures/accuracy.png)"
    yield ""
    nothing = edits[edits["label"] == "no edit"]
    rows = [["no edit", "", *_by_cell(nothing, cells, "accuracy")]]
    rows.append(["skyline", "", *_by_cell(edits[edits["label"] == "skyline"], cells, "accuracy")])
    yield from _table(["", "edit", *headings], [*rows, *_edit_rows(edits, "accuracy")])


def _weights(edits: pd.DataFrame) -> Iterator[str]:
    cells, headings = _cell_headings(edits)
    yield f"## 2. Accuracy against weight removed, k = {BUDGET}"
    yield ""
    yield "![Accuracy against weight removed](figures/weight.png)"
    yield ""
    yield "Weight removed, centred (METHOD §6):"
    yield ""
    rows = [["skyline", "", *_by_cell(edits[edits["label"] == "skyline"], cells, "weight")]]
    yield from _table(["", "edit", *headings], [*rows, *_edit_rows(edits, "weight")])


def _price(differences: pd.DataFrame) -> Iterator[str]:
    yield "## 3. The price of interpretability"
    yield ""
    yield f"Accuracy of aware less agnostic edits at k = {BUDGET}, each variant selected for either; paired. Below 0:"
    yield "being interpretable costs accuracy. The last column is the mean over the ranked cells."
    yield ""
    yield "![The price of interpretability](figures/price.png)"
    yield ""
    own = differences[differences["left"].str.endswith(f" · {AWARE}")]
    yield from _difference_rows(own.assign(name=own["left"].str.removesuffix(f" · {AWARE}")), "variant")


def _difference_rows(own: pd.DataFrame, heading: str) -> Iterator[str]:
    cells, headings = _cell_headings(own)
    headings = [name.replace("mean (unranked)", "mean") for name in headings]
    rows = ([str(name), *_by_cell(some, cells, "value")] for name, some in own.groupby("name", sort=False))
    yield from _table([heading, *headings], rows)


def _correlations(means: pd.DataFrame, sites: pd.DataFrame, candidates: pd.DataFrame) -> Iterator[str]:
    yield "## 4. Do cheap measures rank SAEs as edits do?"
    yield ""
    yield "Spearman's ρ with edit distance (agnostic, k = 2, validation) over checkpoints × sparsities of a site."
    yield "A good measure of sparsity or error has ρ near 1; LD recovered should have one near −1."
    reliable = candidates.groupby("site")["ld_reliable"].any()
    yield f"At {int((~reliable).sum())} of {len(reliable)} sites ablating the site alone hardly moves the logit"
    yield "difference: LD recovered means little there."
    yield ""
    yield "![Rank correlations](figures/correlations.png)"
    yield "![One name mover](figures/scatter.png)"
    yield ""
    yield "Means over sites; METHOD §9 has, of the post, L0 .91 (`io`) and .73 (`pos`), LD recovered −.64 and −.17:"
    yield ""
    rows = []
    for (group, attribute), own in means.groupby(["group", "attribute"], sort=False):
        of = own.set_index("measure")["value"]
        rows.append([str(group), str(attribute), f"{own['n_sites'].max()}", *(number(of[one]) for one in MEASURES)])
    yield from _table(["SAEs", "attribute", "sites", *_MEASURE_HEADINGS], rows)
    yield ""
    group = "relu + gated" if "relu + gated" in set(sites["group"]) else "all"
    yield f"Site by site, {group}; brackets: 95 % over SAEs, taken for exchangeable:"
    yield ""
    rows = []
    for (site, attribute), own in sites[sites["group"] == group].groupby(["site", "attribute"], sort=False):
        of_measure = own.set_index("measure")
        rows.append([str(site), str(attribute), *(with_interval(of_measure.loc[one]) for one in MEASURES)])
    yield from _table(["site", "attribute", *_MEASURE_HEADINGS], rows)


def _cosines(cosines: pd.DataFrame) -> Iterator[str]:
    yield "## 5. Cosine similarity with the skyline's codes"
    yield ""
    yield "Mean maximal cosines, means over the sites of a cross-section; agnostic selection. Only the attribute that"
    yield "is edited there; the figure and `results.json` have all."
    yield ""
    yield "![Cosine similarity](figures/cosine.png)"
    for direction in DIRECTIONS:
        own = cosines[(cosines["direction"] == direction) & cosines["served"]]
        places = list((own["attribute"] + "@" + own["cross_section"]).drop_duplicates())
        rows = []
        for label, some in own.groupby("label", sort=False):
            found = dict(zip(some["attribute"] + "@" + some["cross_section"], some["value"], strict=True))
            rows.append([str(label), *(number(found.get(place)) for place in places)])
        yield ""
        yield from _table([direction, *places], rows)


def _topk(differences: pd.DataFrame, drawn: bool) -> Iterator[str]:
    yield "## 6. Untuned top-k beside tuned variants"
    yield ""
    if not drawn:
        yield "The run has no top-k with k = 3."
        return
    yield "Accuracy of top-k, k = 3, last epoch, less that of the skyline, and of gated and relu with selected λ and"
    yield f"checkpoint; budget {BUDGET}."
    yield ""
    yield "![Top-k](figures/topk.png)"
    yield ""
    own = differences[(differences["left"] == "topk k=3, last epoch") & (differences["kind"] == "accuracy")]
    yield from _difference_rows(own.assign(name="− " + own["right"]), "less")


def _meaning(meaning: pd.DataFrame, faithful: pd.DataFrame) -> Iterator[str]:
    yield "## 7. Interpretability, sufficiency and necessity"
    yield ""
    yield "![Explained features](figures/explained.png)"
    yield ""
    yield "Share of living features that some explanation reaches at F1 ≥ t, mean over cross-sections (from train):"
    yield ""
    thresholds = sorted(meaning["threshold"].unique())
    rows = []
    for label, own in meaning.groupby("label", sort=False):
        rows.append([str(label), *(number(own[own["threshold"] == t]["share"].mean()) for t in thresholds)])
    yield from _table(["variant", *(f"F1 ≥ {number(t)}" for t in thresholds)], rows)
    yield ""
    yield f"*Kept*: logit difference with nothing but the features explained at {number(_EXPLAINED)}, as a share of"
    yield "the clean one. *Removed*: loss of it without them, as a share of mean ablation's. Sufficiency and necessity:"
    yield "the same with the whole reconstruction (METHOD §6)."
    for section in meaning["cross_section"].drop_duplicates():
        yield ""
        yield f"`{section}`:"
        yield ""
        kept = meaning[(meaning["cross_section"] == section) & (meaning["threshold"] == _EXPLAINED)].set_index("label")
        own = faithful[faithful["cross_section"] == section].set_index("label")
        rows = [
            [
                str(label),
                *(with_interval(kept.loc[label], name) for name in ("kept", "removed")),
                *(with_interval(own.loc[label], name) for name in ("sufficiency", "necessity", "fvu")),
                f"{own.loc[label]['l0']:.1f}",
            ]
            for label in own.index
        ]
        yield from _table(["variant", "kept", "removed", "sufficiency", "necessity", "FVU", "L0"], rows)


def _findings(findings: Sequence[Finding], model: str) -> Iterator[str]:
    yield "## Findings of the post"
    yield ""
    yield f"Each is decided on {model} by a rule that was set beforehand, and by code. It *holds* if every interval"
    yield "begins at the bound or beyond, *does not hold* if one ends short of it, and is *not measurable* where the"
    yield "prompts leave that open or there is nothing to compare."
    yield ""
    rows = ([f"{i}. {one.claim}", f"**{one.verdict}**", one.reason] for i, one in enumerate(findings, 1))
    yield from _table(["finding", model, "why"], rows)
    for i, one in enumerate(findings, 1):
        yield ""
        yield f"**{i}. {one.claim}: {one.verdict}.** Source: {one.source}. Rule: {one.rule}."
        if one.evidence:
            yield ""
            exact = all(e.low == e.value == e.high for e in one.evidence)
            shown = (
                number(e.value) if exact else f"{number(e.value)} [{number(e.low)} {number(e.high)}]"
                for e in one.evidence
            )
            yield from _table([e.what for e in one.evidence], [list(shown)])
    if model != "gpt2":
        yield ""
        yield "### gpt2"
        yield ""
        yield "All of them: **needs weights**. With GPT-2 small at hand (a GPU for the training):"
        yield ""
        yield "```console"
        yield "$ ioi-bench train reference_saes/recipes/gpt2.toml --out runs/gpt2 --device cuda"
        yield "$ ioi-bench study post runs/gpt2 --model gpt2 --out reference_saes/gpt2"
        yield "```"
