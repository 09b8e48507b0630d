"""RESULTS.md: the study as a page, every number of it from the tables."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from ioi_bench.studies.post.chosen import AGNOSTIC, AWARE
from ioi_bench.studies.post.correlations import MEASURES
from ioi_bench.studies.post.finding_pages import counted_verdicts, finding_lines, gpt2_lines
from ioi_bench.studies.post.markdown import markdown_table
from ioi_bench.studies.post.numbers import number, with_interval, with_spread
from ioi_bench.studies.post.tables import BUDGET, DIRECTIONS, EQUAL_SIZE, nothing_kept
from ioi_bench.studies.post.training_pages import training_lines, what_they_are

if TYPE_CHECKING:
    import pandas as pd

    from ioi_bench.studies.post.study import PostStudy

__all__ = ["results_page"]

_MEASURE_HEADINGS = [name.replace("|", "\\|") for name in MEASURES.values()]
_EXPLAINED = 0.8


def results_page(study: PostStudy, figures: Collection[str], commands: Sequence[str], *, readme: bool = False) -> str:
    """The whole page, in Markdown.

    Args:
        study: what was found.
        figures: the names of the figures that were drawn.
        commands: what makes the page again.
        readme: whether a README.md lies beside the page.
    """
    found, differences = study.tables, study.of_main("differences")
    sections = [
        _head(study, commands),
        what_they_are(study, readme),
        training_lines(found["curves"], study.steady),
        _scores(found["scores"], study.seed),
        _accuracy(found["edits"]),
        _weights(found["edits"]),
        _price(differences, found["edits"]),
        _correlations(found["mean_correlations"], found["correlations"], study.candidates),
        _cosines(found["cosines"]),
        _topk(differences, "topk" in figures),
        _meaning(found["meaning"], found["faithful"]),
        finding_lines(study.findings, study.made["model"]),
        gpt2_lines(study.made["model"]),
    ]
    return "\n\n".join(filter(None, map("\n".join, sections))) + "\n"


def _head(study: PostStudy, commands: Sequence[str]) -> Iterator[str]:
    made = study.made
    yield f"# The post's results on {made['model']}"
    yield ""
    yield 'What "SAEs Discover Meaningful Features in the IOI Task" (the post) found on GPT-2 small, asked of'
    yield f"{made['model']} and its reference SAEs. The page, its figures and `results.json` are written by:"
    yield ""
    yield "```console"
    yield from (f"$ {command}" for command in commands)
    yield "```"
    yield ""
    own, beside = ([one for one in study.findings if one.of_the_post is which] for which in (True, False))
    yield f"[Findings of the post](#findings-of-the-post), {len(own)}, by verdict: {counted_verdicts(own)}."
    yield f"[Beside the post's](#beside-the-posts), {len(beside)}: {counted_verdicts(beside)}."
    yield ""
    versions = ", ".join(f"{name} {version}" for name, version in made["versions"].items())
    hashes = [
        (f"model `{made['model']}`", made["model_sha256"]),
        (f"task `{made['spec']}`", made["spec_sha256"]),
        (f"circuit `{made['circuit']}`", made["circuit_sha256"]),
        ("recipe", made["recipe_sha256"]),
        ("training run", made["run"]),
    ]
    yield from markdown_table(["made from", "sha256"], ((name, f"`{sha[:16]}`") for name, sha in hashes))
    yield ""
    yield f"{made['prompts']:,} test prompts, {made['train_prompts']:,} of train, {made['validation_prompts']:,} of"
    yield f"validation for selection. {versions}."
    yield ""
    yield f"Brackets hold 95 % intervals: {made['draws']:,} draws of prompts, clustered by pair of names; differences"
    yield "are paired. Variants with a k stand there once for each k; of the others λ was selected, and of all"
    yield "the checkpoint: site by site, on validation, for the row's edit method (`docs/selection.md`). Tables show"
    yield f"seed {study.seed}, those of scores, rank correlations, cosines and findings all seeds: a mean over seeds"
    yield "(least to largest)."
    yield f"*Agnostic* edits are `{AGNOSTIC}`, *aware* ones `{AWARE}` (METHOD §5)."
    yield from (f"\nLeft out: {name}: {reason}" for name, reason in study.failed.items())


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
    yield from markdown_table(headings, rows)


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
    yield from markdown_table(["", "edit", *headings], [*rows, *_edit_rows(edits, "accuracy")])


def _weights(edits: pd.DataFrame) -> Iterator[str]:
    cells, headings = _cell_headings(edits)
    yield f"## 2. Accuracy against the weight of the edit, k = {BUDGET}"
    yield ""
    yield "![Accuracy against the weight of the edit](figures/weight.png)"
    yield ""
    yield "Weight of the edit (docs/method-changes.md):"
    yield ""
    rows = [["skyline", "", *_by_cell(edits[edits["label"] == "skyline"], cells, "weight")]]
    yield from markdown_table(["", "edit", *headings], [*rows, *_edit_rows(edits, "weight")])


def _price(differences: pd.DataFrame, edits: pd.DataFrame) -> Iterator[str]:
    yield "## 3. The price of interpretability"
    yield ""
    yield "Accuracy of aware less agnostic edits, each variant selected for either; paired. Below 0: being"
    yield "interpretable costs accuracy. The last column is the mean over the ranked cells. The k of agnostic edits"
    yield "counts every feature that they change; aware ones remove k features and add as many. Edits of equal size are"
    yield f"k = {EQUAL_SIZE} (aware) and k = {BUDGET} (agnostic)."
    yield ""
    yield "![The price of interpretability](figures/price.png)"
    own = differences[differences["left"].str.endswith(f" · {AWARE}")]
    own = own.assign(name=own["left"].str.removesuffix(f" · {AWARE}"))
    for budget, heading in ((EQUAL_SIZE, "equal size"), (BUDGET, "equal k, aware about twice the size")):
        yield ""
        yield f"Aware k = {budget}, agnostic k = {BUDGET} ({heading}):"
        yield ""
        yield from _difference_rows(own[own["budget"] == budget], "variant")
    yield ""
    yield "Features changed (removed and added) per prompt and site, mean over the ranked cells:"
    yield ""
    yield from _sizes(edits)


def _sizes(edits: pd.DataFrame) -> Iterator[str]:
    own = edits[edits["ranked"] & (edits["variant"] != "")]
    size = (own["n_removed"] + own["n_added"]).groupby([own["label"], own["method"], own["budget"]], sort=False).mean()
    shown = ((AGNOSTIC, BUDGET), (AWARE, EQUAL_SIZE), (AWARE, BUDGET))
    names = own.loc[own["method"] == AWARE, "label"].drop_duplicates()
    rows = ([str(name), *(number(size.get((name, *key))) for key in shown)] for name in names)
    yield from markdown_table(["variant", *(f"{method}, k = {budget}" for method, budget in shown)], rows)


def _difference_rows(own: pd.DataFrame, heading: str) -> Iterator[str]:
    cells, headings = _cell_headings(own)
    headings = [name.replace("mean (unranked)", "mean") for name in headings]
    rows = ([str(name), *_by_cell(some, cells, "value")] for name, some in own.groupby("name", sort=False))
    yield from markdown_table([heading, *headings], rows)


def _correlations(means: pd.DataFrame, sites: pd.DataFrame, candidates: pd.DataFrame) -> Iterator[str]:
    yield "## 4. Do cheap measures rank SAEs as edits do?"
    yield ""
    yield "Spearman's ρ with edit distance (agnostic, k = 2, validation) over checkpoints × sparsities of a site."
    yield "A good measure of sparsity or error has ρ near 1; LD recovered should have one near −1."
    reliable = candidates.groupby("site")["ld_reliable"].any()
    yield f"At {int((~reliable).sum())} of {len(reliable)} sites ablating the site alone hardly moves the logit"
    yield "difference: LD recovered means little there, and is left out."
    yield ""
    yield "![Rank correlations](figures/correlations.png)"
    yield "![One name mover](figures/scatter.png)"
    yield ""
    yield "Means over sites, over seeds (least to largest); METHOD §9 has, of the post, L0 .91 (`io`) and .73 (`pos`),"
    yield "LD recovered −.64 and −.17:"
    yield ""
    rows = []
    for (group, attribute), own in means.groupby(["group", "attribute"], sort=False):
        of = dict(iter(own.groupby("measure")))
        counts = [f"{of[one]['n_sites'].max()}" for one in ("l0", "ld_recovered")]
        rows.append([str(group), str(attribute), *counts, *(with_spread(of[one]["value"]) for one in MEASURES)])
    yield from markdown_table(["SAEs", "attribute", "sites", "of LD", *_MEASURE_HEADINGS], rows)
    yield ""
    group = "relu + gated" if "relu + gated" in set(sites["group"]) else "all"
    yield f"Site by site, {group}, over seeds (least to largest). `results.json` has 95 % intervals over SAEs, taken"
    yield "for exchangeable; checkpoints of one training run resemble each other, and the true intervals are wider:"
    yield ""
    rows = []
    for (site, attribute), own in sites[sites["group"] == group].groupby(["site", "attribute"], sort=False):
        own = own[own["reliable"]]
        shown = (with_spread(own[own["measure"] == one]["value"]) for one in MEASURES)
        rows.append([str(site), str(attribute), *shown])
    yield from markdown_table(["site", "attribute", *_MEASURE_HEADINGS], rows)


def _cosines(cosines: pd.DataFrame) -> Iterator[str]:
    yield "## 5. Cosine similarity with the skyline's codes"
    yield ""
    yield "Mean maximal cosines, means over the sites of a cross-section, over seeds (least to largest); agnostic"
    yield "selection. Only the attribute that is edited there; the figure and `results.json` have all."
    yield ""
    yield "![Cosine similarity](figures/cosine.png)"
    for direction in DIRECTIONS:
        own = cosines[(cosines["direction"] == direction) & cosines["served"]]
        places = list((own["attribute"] + "@" + own["cross_section"]).drop_duplicates())
        rows = []
        for label, some in own.groupby("label", sort=False):
            at = some["attribute"] + "@" + some["cross_section"]
            rows.append([str(label), *(with_spread(some[at == place]["value"]) for place in places)])
        yield ""
        yield from markdown_table([direction, *places], rows)


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
    yield "Share of living features that some explanation reaches at F1 ≥ t, mean over cross-sections (from train)."
    yield "A feature that is active on nearly every prompt has an F1 near ⅔ against `pos`: .50 and .60 say little of"
    yield "such features."
    yield ""
    thresholds = sorted(meaning["threshold"].unique())
    rows = []
    for label, own in meaning.groupby("label", sort=False):
        rows.append([str(label), *(number(own[own["threshold"] == t]["share"].mean()) for t in thresholds)])
    yield from markdown_table(["variant", *(f"F1 ≥ {number(t)}" for t in thresholds)], rows)
    yield ""
    yield f"*Kept*: logit difference with nothing but the features explained at {number(_EXPLAINED)}, as a share of"
    yield "the clean one. *Removed*: loss of it without them, as a share of mean ablation's. Sufficiency and necessity:"
    yield "the same with the whole reconstruction (METHOD §6). Where nothing is explained *kept* is mean ablation"
    yield "itself, the first row: only what lies above that was kept."
    ablated = nothing_kept(meaning)
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
        if section in ablated.index:
            nothing = [with_interval(ablated.loc[section], name) for name in ("kept", "removed")]
            rows.insert(0, ["nothing kept (mean ablation)", *nothing, "", "", "", ""])
        yield from markdown_table(["variant", "kept", "removed", "sufficiency", "necessity", "FVU", "L0"], rows)
