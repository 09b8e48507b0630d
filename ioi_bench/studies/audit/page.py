"""docs/audit.md: the audit in words and tables."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ioi_bench.evaluation.score import HEADLINE_METHOD, SCORED_METHODS
from ioi_bench.studies.audit.corruptions import CORRUPTIONS, GROUP
from ioi_bench.studies.audit.gates import FAMILIES, PAIRS
from ioi_bench.studies.audit.measured import METRICS
from ioi_bench.studies.audit.plan import CHECKPOINTED, SUITES
from ioi_bench.studies.audit.planted import PARTS
from ioi_bench.studies.post.markdown import markdown_table

if TYPE_CHECKING:
    from ioi_bench.studies.audit.study import Audit

__all__ = ["audit_page"]

_SCORES = tuple(f"score.{method}" for method in SCORED_METHODS)
_PICTURES = {
    "retest": "Intraclass correlations of every figure",
    "suites": "Scores of all suites on all splits",
    "planted": "Figures against the share of features that is spoilt",
    "checkpoints": "Scores by epoch",
}
_WIDTH = 118
_SMALL = 0.02  # of a score: less than that is no cost worth the name
_ABOUT = {
    "noise": "a feature's direction becomes half noise, at its norm",
    "merging": "two features of one kind become one, active where either was, along their mean",
    "splitting": f"a feature becomes {PARTS}, each active in a part of its prompts, all along its direction",
    "missing": "a feature is not there",
    "rotated": f"{GROUP} features become {GROUP} dense mixtures of themselves, by an orthogonal map; what they "
    "reconstruct is what it was",
}


def audit_page(found: Audit) -> str:
    """The page; figures lie in ``audit/NAME.png``."""
    shown = {
        _retest: ("retest", "suites"),
        _planted: ("planted",),
        _checkpoints: ("checkpoints",),
    }
    lines: list[str] = []
    for part in (_top, _verdicts, _retest, _seeds, _separation, _planted, _checkpoints):
        lines += [*part(found), ""]
        for name in shown.get(part, ()):
            there = found.tables.get(name, True)  # no figure of what was not measured
            lines += [f"![{_PICTURES[name]}](audit/{name}.png)", ""] if there else []
    lines += _made(found)
    return "\n".join(_wrapped(lines)).rstrip() + "\n"


def _wrapped(lines: Iterable[str]) -> Iterator[str]:
    """Paragraphs and list entries of even lines; tables, headings, pictures and blocks of code as they are.

    >>> list(_wrapped(["- one", "entry", "", "| a |"]))
    ['- one entry', '', '| a |', '']
    """
    paragraph: list[str] = []
    for line in [*lines, ""]:
        if not line or line.startswith(("|", "#", "!", "```", "$ ", "- ")):
            text = " ".join(" ".join(paragraph).split())
            indent = "  " if text.startswith("- ") else ""
            yield from textwrap.wrap(
                text, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
            )
            paragraph = [line] if line.startswith("- ") else []
            if not line.startswith("- "):
                yield line
        else:
            paragraph.append(line)


def _top(found: Audit) -> Iterator[str]:
    made = found.made
    yield "# The benchmark's own report card"
    yield ""
    yield f"Written by `ioi-bench audit` on {made['date']}; do not edit. Model {made['model']} "
    yield f"(`{made['model_sha256'][:12]}`), prompts of {made['spec']} (`{made['spec_sha256'][:12]}`), circuit "
    yield f"`{made['circuit_sha256'][:12]}`, suites `{made['suites_sha256'][:12]}`, scoring {made['scoring']} (code "
    yield f"`{made['code_sha256'][:12]}`). All data: [audit.json](audit.json)."
    yield ""
    yield "A figure may rank suites only if it passes three gates. One that fails is shown, and never ranks: the "
    yield "leaderboard does not sort by it, and a printed card says so."
    yield ""
    gates = made["gates"]
    yield f"- **Test–retest**: ICC(2,1) ≥ {gates['icc']} over splits of {made['amount']['prompts']:,} prompts drawn"
    yield "anew."
    yield f"- **Separation**: {', '.join(FAMILIES)} differ, every pair with p < {gates['p']} over prompts."
    yield f"- **Planted truth**: as known features are spoilt, the figure falls: Spearman's ρ ≥ {gates['rho']} for"
    yield "each of "
    yield f"{', '.join(CORRUPTIONS)}."


def _verdicts(found: Audit) -> Iterator[str]:
    yield "## What may rank"
    yield ""
    rows = []
    for name, verdict in found.verdicts.items():
        gates = [f"{'yes' if gate.passed else '**no**'} {_gate(gate.name, gate.value)}" for gate in verdict.gates]
        worst = "; ".join(gate.worst for gate in verdict.gates if not gate.passed and gate.worst)
        rows.append([METRICS[name].words, "**yes**" if verdict.ranks else "no", *gates, worst])
    headings = ["figure", "may rank", "test–retest (ICC)", "separation (largest p)", "planted truth (least ρ)"]
    yield from markdown_table([*headings, "fails for"], rows)
    yield ""
    headline = found.verdicts[f"score.{HEADLINE_METHOD}"]
    if headline.ranks:
        yield f"The headline, the IOI score under {HEADLINE_METHOD}, passes."
        yield from _over_seeds(found)
    else:
        yield f"**The headline, the IOI score under {HEADLINE_METHOD}, fails** ({headline.reason}): by the rule"
        yield "above no "
        yield "suite has a rank until that is mended."


def _over_seeds(found: Audit) -> Iterator[str]:
    """Which pairs the headline does not tell apart where seeds are drawn too: no gate, and not to be overlooked."""
    row = next(one for one in found.tables["separation"] if one["metric"] == f"score.{HEADLINE_METHOD}")
    values = [(pair, p) for pair, p in row["p_over_seeds"].items() if p is not None and p >= found.made["gates"]["p"]]
    if values:
        pairs = ", ".join(f"{pair} (p = {_number(p)})" for pair, p in values)
        yield "It tells the suites apart, and not always the variants: over prompts and seeds it does not show"
        yield "that these"
        yield f"differ: {pairs}."


def _gate(name: str, value: float | None) -> str:
    digits = 4 if name == "separation" else 3
    return f"({_number(value, digits)})"


def _retest(found: Audit) -> Iterator[str]:
    rows = found.tables["retest"]
    if not rows:
        return
    yield "## Over prompts: test and retest"
    yield ""
    yield f"{rows[0]['suites']} suites, one a variant, on {rows[0]['splits']} splits of new prompts. ICC(2,1):"
    yield "two-way random "
    yield "effects, absolute agreement, one measurement (Shrout & Fleiss 1979). CV: standard deviation over mean,"
    yield "of one "
    yield "suite over the splits. Figures that come from train alone cannot vary here. Scores of single cells are"
    yield "below."
    yield ""
    body = [
        [_words(row["metric"]), _interval(row), _percent(row["cv_median"]), _percent(row["cv_most"])] for row in rows
    ]
    yield from markdown_table(["figure", "ICC [95 %]", "CV, median suite", "CV, worst suite"], body)


def _seeds(found: Audit) -> Iterator[str]:
    rows = found.tables["seeds"]
    if not rows or rows[0]["icc"] is None:
        return
    yield "## Over seeds of training"
    yield ""
    yield f"{rows[0]['variants']} variants with {rows[0]['seeds']} seeds each, on one split. ICC(1,1): the share of"
    yield "the variance "
    yield "that is between variants and not between seeds of one. Shown, not a gate: seeds may really differ."
    yield ""
    body = [
        [_words(row["metric"]), _interval(row), _number(row["sd_between"]), _number(row["sd_within"])] for row in rows
    ]
    yield from markdown_table(["figure", "ICC [95 %]", "SD between variants", "SD between seeds"], body)


def _separation(found: Audit) -> Iterator[str]:
    rows = found.tables["separation"]
    yield "## What is told apart"
    yield ""
    yield "Pairs of suites whose paired 95 % interval over prompts leaves out 0, and the number of tie groups"
    yield "(what is tied"
    yield "with its first). Suites that are tied share a rank."
    yield ""
    body = [
        [METRICS[row["metric"]].words, _percent(row["between"], 0), _percent(row["within"], 0), _groups(row)]
        for row in rows
    ]
    yield from markdown_table(["figure", "pairs of two variants", "pairs of one variant", "tie groups"], body)
    yield ""
    yield "p values of pairs of variants, by their means over seeds: a two-sided paired bootstrap over prompts,"
    yield "clustered by"
    yield "pair of names, the suites taken as they are. This is the gate."
    yield f"{', '.join(f'{name} is {variant}' for name, variant in FAMILIES.items() if name != variant)}."
    yield ""
    yield from _p_values(rows, "p")
    yield ""
    yield "The same over prompts and over seeds, the seeds' deviations stretched by √(n/(n−1)): whether the"
    yield "*variants* differ,"
    yield "on whatever seeds. Shown, not a gate. Figures from train alone have no other p."
    yield ""
    yield from _p_values(rows, "p_over_seeds")


def _groups(row: dict[str, Any]) -> str:
    return "–" if row["groups"] is None else f"{row['groups']} of {row['suites']}"


def _p_values(rows: Sequence[dict[str, Any]], which: str) -> Iterator[str]:
    pairs = ["–".join(pair) for pair in PAIRS]
    body = [[METRICS[row["metric"]].words, *(_number(row[which].get(pair), 4) for pair in pairs)] for row in rows]
    yield from markdown_table(["figure", *pairs], body)


def _planted(found: Audit) -> Iterator[str]:
    rows = found.tables["planted"]
    if not rows:
        return
    amount = found.made["amount"]
    yield "## Planted truth"
    yield ""
    yield "A dictionary whose features are known: a feature for every value of IO, S, pattern, context, place and"
    yield "object, "
    yield "with least-squares codes as directions and linear discriminants as encoder"
    yield "(`ioi_bench.studies.audit.planted`). "
    yield f"It is spoilt in five ways, at the shares {', '.join(f'{share:g}' for share in amount['shares'])} of its"
    yield "features, with "
    yield f"{amount['seeds']} seeds, and judged by `evaluate` on {amount['planted_prompts']:,} prompts."
    yield ""
    yield from (f"- **{name}**: {_ABOUT[name]}." for name in CORRUPTIONS)
    yield ""
    yield "Spearman's ρ between the share that is left and the figure (signed so that higher is better), of the"
    yield "mean over "
    yield "seeds; in brackets how far the figure falls from the truth to the last share. – where it does not change"
    yield "at all."
    yield ""
    body = []
    for name, metric in METRICS.items():
        own = {row["corruption"]: row for row in rows if row["metric"] == name}
        body.append([metric.words, *(_rho(own[corruption], found.made["gates"]["rho"]) for corruption in CORRUPTIONS)])
    yield from markdown_table(["figure", *CORRUPTIONS], body)
    yield ""
    yield from _findings(rows)


def _rho(row: dict[str, Any], least: float) -> str:
    if row["rho"] is None:
        return "–"
    text = f"{_number(row['rho'])} ({_number(row['fall'], 3)})"
    return text if row["rho"] >= least else f"**{text}**"


def _findings(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """What the scores do not see, and what they reward."""
    blind, rewarded = [], []
    for row in rows:
        if row["metric"] in _SCORES:
            name = f"{METRICS[row['metric']].words}: {row['corruption']}"
            if row["rise"] is not None and row["rise"] > _SMALL:
                rewarded.append(f"{name} (up to {_number(row['rise'])} above the truth)")
            elif row["fall"] is None or row["fall"] < _SMALL:
                blind.append(f"{name} (falls by {_number(row['fall'], 3)})")
    yield f"Corruptions that a score **rewards** (by more than {_SMALL}): {'; '.join(rewarded) or 'none'}."
    yield ""
    yield f"Corruptions that hardly **cost** it anything (less than {_SMALL}): {'; '.join(blind) or 'none'}."
    if blind:
        yield ""
        yield "The gate asks for the order of the falls, not for their size. What moves a score by so little is"
        yield "its null, which"
        yield "searches among more random directions where a dictionary has more features."
    if any("splitting" in one for one in (*blind, *rewarded)):
        yield ""
        yield "Splitting: `exchange` and `aware` ask how many features an edit of *this* prompt changes, not how"
        yield "many stand "
        yield "for a value over all prompts. A feature that was split is exchanged for one part of another, at the"
        yield "same cost. "
        yield "What they would need is a price for the number of features that a value is spread over; `universal`"
        yield "has one, "
        yield "for it must name its features before it sees the prompt."


def _checkpoints(found: Audit) -> Iterator[str]:
    rows = found.tables["checkpoints"]
    yield "## Over checkpoints"
    yield ""
    if not rows:
        yield "Not measured: no training run was given (`--run`)."
        return
    variants = list(dict.fromkeys(row["variant"] for row in rows))
    taken = ", ".join(f"{name} at {CHECKPOINTED[name]:g}" for name in variants)
    yield "Spearman's ρ of a figure (signed so that higher is better) with the epoch, over"
    yield f"{rows[0]['checkpoints']} checkpoints "
    yield f"of one seed ({taken}: λ or k). Shown, not a gate: training minimises another loss."
    yield ""
    by = {(row["variant"], row["metric"]): row for row in rows}
    body = [[metric.words, *(_rise(by[variant, name]) for variant in variants)] for name, metric in METRICS.items()]
    yield from markdown_table(["figure", *(f"{variant}: ρ (first → last)" for variant in variants)], body)


def _rise(row: dict[str, Any]) -> str:
    return f"{_number(row['rho'])} ({_number(row['first'])} → {_number(row['last'])})"


def _made(found: Audit) -> Iterator[str]:
    made, amount = found.made, found.made["amount"]
    yield "## How it was made"
    yield ""
    yield "```console"
    yield f"$ {made['command']}"
    yield "```"
    yield ""
    train = "all train prompts" if amount["train_prompts"] is None else f"{amount['train_prompts']:,} train prompts"
    suites = sorted({row["suite"] for row in found.rows if row["part"] == SUITES})
    yield f"Suites: {', '.join(suites)}."
    yield ""
    yield f"Suites and checkpoints on {amount['prompts']:,} prompts a split (`drawn:audit-0`, `-1`, …) with"
    yield f"{train}; planted "
    planted = amount["planted_train_prompts"]
    yield f"dictionaries on {amount['planted_prompts']:,} with {'all' if planted is None else f'{planted:,}'} train"
    yield "prompts. All "
    yield "seeds of a variant are judged on the first split, its first seed on the others. Cells: "
    yield f"{', '.join(made['cells'])}. Methods {', '.join(made['methods'])}, budgets"
    yield f"{', '.join(map(str, made['budgets']))}."
    yield ""
    yield f"Card schema {made['card_schema']};"
    yield f"{', '.join(f'{name} {version}' for name, version in made['versions'].items())}."


def _words(metric: str) -> str:
    return METRICS[metric].words if metric in METRICS else f"score, {metric.removeprefix('score.')}"


def _interval(row: dict[str, Any]) -> str:
    if row["icc"] is None:
        return "–"
    return f"{_number(row['icc'], 3)} [{_number(row['low'], 3)} {_number(row['high'], 3)}]"


def _percent(value: float | None, digits: int = 1) -> str:
    """A share in per cent.

    >>> _percent(0.0123), _percent(None)
    ('1.2 %', '–')
    """
    return "–" if value is None else f"{100 * value:.{digits}f} %"


def _number(value: float | None, digits: int = 2) -> str:
    """A number with a true minus.

    >>> _number(-0.5), _number(0.12345, 4), _number(None), _number(-0.001)
    ('−0.50', '0.1235', '–', '0.00')
    """
    return "–" if value is None else f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")
