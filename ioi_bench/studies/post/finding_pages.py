"""The page's last section: what became of the findings, and what decided it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from ioi_bench.studies.post.markdown import markdown_table
from ioi_bench.studies.post.numbers import number
from ioi_bench.studies.post.verdicts import FAILS, HOLDS, UNKNOWN, Evidence, Finding

__all__ = ["counted_verdicts", "finding_lines", "gpt2_lines"]

_Numbered = Sequence[tuple[int, Finding]]


def counted_verdicts(findings: Sequence[Finding]) -> str:
    """How often each verdict was reached, in words."""
    verdicts = Counter(finding.verdict for finding in findings)
    return ", ".join(f"{verdicts[verdict]} {verdict}" for verdict in (HOLDS, FAILS, UNKNOWN))


def finding_lines(findings: Sequence[Finding], model: str) -> Iterator[str]:
    """The section: the post's findings, those beside them, and each with its rule and figures."""
    numbered = list(enumerate(findings, 1))
    yield "## Findings of the post"
    yield ""
    yield f"Each is decided on {model} by a rule, and by code. On a seed it *holds* if every interval begins at"
    yield "the bound or beyond, *does not hold* if one ends short of it, and is *not measurable* where the prompts"
    yield "leave that open or there is nothing to compare. Intervals are over prompts and say nothing of other"
    yield "seeds: the seeds stand beside each other, and where they disagree the finding is not measurable. The"
    yield "price of interpretability is of one seed. What decides of rank correlations are each seed's means over"
    yield "sites, with the range of the sites."
    yield ""
    yield "Bounds were set before the figures of this run were seen. That seeds must agree, that the price is one"
    yield "of edits of equal size, and that LD recovered counts only where it means something was added after that."
    yield ""
    yield from _verdicts([(i, one) for i, one in numbered if one.of_the_post], model)
    yield ""
    yield "### Beside the post's"
    yield ""
    yield from _verdicts([(i, one) for i, one in numbered if not one.of_the_post], model)
    yield ""
    yield "### What decided"
    for i, one in numbered:
        yield ""
        yield f"**{i}. {one.claim}: {one.verdict}.** Source: {one.source}. Rule: {one.rule}."
        if one.evidence:
            yield ""
            yield from _evidence(one.evidence)


def _verdicts(numbered: _Numbered, model: str) -> Iterator[str]:
    rows = ([f"{i}. {one.claim}", f"**{one.verdict}**", one.reason] for i, one in numbered)
    yield from markdown_table(["finding", model, "why"], rows)


def _evidence(evidence: Sequence[Evidence]) -> Iterator[str]:
    """What it is of, by column; seeds, sites or other things, by row."""
    columns = list(dict.fromkeys(one.what for one in evidence))
    shown = {(one.row, one.what): _shown(one) for one in evidence}
    rows = dict.fromkeys(one.row for one in evidence)
    yield from markdown_table(["", *columns], ([row, *(shown.get((row, one), "–") for one in columns)] for row in rows))


def _shown(one: Evidence) -> str:
    if one.bracket == "none":
        return number(one.value)
    if one.bracket == "range":
        return f"{number(one.value)}, range {number(one.low)} to {number(one.high)}"
    return f"{number(one.value)} [{number(one.low)} {number(one.high)}]"


def gpt2_lines(model: str) -> Iterator[str]:
    """How to ask GPT-2 small, for pages of other models."""
    if model == "gpt2":
        return
    yield "### gpt2"
    yield ""
    yield "All of them: **needs weights**. With GPT-2 small at hand (a GPU for the training):"
    yield ""
    yield "```console"
    yield "$ ioi-bench train reference_saes/recipes/gpt2.toml --out runs/gpt2 --device cuda"
    yield "$ ioi-bench study post runs/gpt2 --model gpt2 --out reference_saes/gpt2"
    yield "```"
