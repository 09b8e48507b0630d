"""Selection of reference SAEs (METHOD §8): least edit distance on validation, over λ and checkpoints.

`candidates_table` judges every member of a run at every checkpoint, `select` chooses among them, and `selected_suite`
gathers what was chosen into a suite that says in its metadata what chose it. Nothing is read from the test split.
docs/selection.md is the user's page.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from ioi_bench.dictionaries.suite import Suite
from ioi_bench.errors import InputError, UnknownNameError
from ioi_bench.evaluation.candidate_rows import COLUMNS
from ioi_bench.evaluation.candidates import candidates_table
from ioi_bench.evaluation.finished_run import FinishedRun, MemberT, edits_at, headline_attributes
from ioi_bench.sites import Site

if TYPE_CHECKING:
    import pandas as pd

    from ioi_bench.lm.circuit import Circuit
    from ioi_bench.lm.model import LanguageModel

__all__ = [
    "COLUMNS",
    "FIXED_SPARSITY",
    "candidates_table",
    "headline_attributes",
    "select",
    "selected_suite",
    "suite_name",
    "with_chosen",
]

FIXED_SPARSITY = ("topk", "batchtopk", "matryoshka", "frozen-decoder", "frozen-encoder")
"""Variants whose sparsity is k, which is not selected over: the post compares k = 3 with the others."""

HEADLINE = "headline"
_GROUP = ["suite", "variant", "seed", "site", "attribute", "method"]
_RUNNER_UP = ("sparsity", "epoch", "distance")


def select(
    table: pd.DataFrame,
    *,
    by: str = "distance",
    last_epoch: bool = False,
    fixed: Collection[str] = FIXED_SPARSITY,
) -> pd.DataFrame:
    """Choose, per variant, seed, site, attribute and method, the sparsity and the checkpoint of least edit distance.

    Ties go to the lower sparsity, then to the earlier checkpoint, whatever the order of the table. NaN never wins: a
    group with nothing else has no row in the result.

    Args:
        table: of `candidates_table`.
        by: the column that should be least.
        last_epoch: only the last checkpoint of each variant; λ alone is selected.
        fixed: variants of which every sparsity is chosen for apart, as a suite of its own.

    Returns:
        One row a choice: ``suite`` (``gated-s0``, ``topk-k3-s0``), the columns of the table, ``runner_up_sparsity``,
        ``runner_up_epoch`` and ``runner_up_distance`` (NaN where there is none), and ``by`` and ``last_epoch``.

    Raises:
        UnknownNameError: the table has no such column.
        InputError: nothing in it can be chosen.
    """
    import numpy as np

    if by not in table.columns:
        raise UnknownNameError("column", by, table.columns)
    found = table[np.isfinite(table[by])]
    if last_epoch:
        found = found[found["epoch"] == found["variant"].map(table.groupby("variant")["epoch"].max())]
    if found.empty:
        reasons = sorted({problem for problem in table.get("problem", ()) if problem})
        raise InputError(
            f"nothing can be selected: none of {len(table)} rows{' of the last checkpoint' if last_epoch else ''} has "
            f"a finite {by}" + (f" ({reasons[0]})" if reasons else "") + "; look at the run's losses, and train anew"
        )
    names = [
        suite_name(*row, fixed=fixed)
        for row in found[["variant", "sparsity", "seed"]].itertuples(index=False, name=None)
    ]
    found = found.assign(suite=names).sort_values([by, "sparsity", "epoch"], kind="stable")
    best = found.groupby(_GROUP, sort=False).nth(0).set_index(_GROUP)
    second = found.groupby(_GROUP, sort=False).nth(1).set_index(_GROUP)[list(_RUNNER_UP)].add_prefix("runner_up_")
    choices = best.join(second).reset_index().assign(by=by, last_epoch=last_epoch)
    order = {
        name: {value: i for i, value in enumerate(table[name].drop_duplicates())} for name in ("attribute", "method")
    }
    return choices.sort_values(
        _GROUP, kind="stable", key=lambda one: one.map(order[one.name]) if one.name in order else one
    ).reset_index(drop=True)


def suite_name(variant: str, sparsity: float, seed: int, *, fixed: Collection[str] = FIXED_SPARSITY) -> str:
    """What a suite is called.

    >>> suite_name("gated", 2.5, 0), suite_name("topk", 3.0, 1)
    ('gated-s0', 'topk-k3-s1')
    """
    return f"{variant}-k{sparsity:g}-s{seed}" if variant in fixed else f"{variant}-s{seed}"


def with_chosen(table: pd.DataFrame, choices: pd.DataFrame) -> pd.DataFrame:
    """The table with one more column: whether `select` took the row."""
    keys = ["variant", "sparsity", "seed", "site", "epoch", "attribute", "method"]
    taken = set(choices[keys].itertuples(index=False, name=None))
    return table.assign(chosen=[row in taken for row in table[keys].itertuples(index=False, name=None)])


def selected_suite(
    run: FinishedRun[MemberT],
    choices: pd.DataFrame,
    variant: str,
    seed: int,
    method: str,
    attribute: str = HEADLINE,
    *,
    model: LanguageModel,
    circuit: Circuit,
    sparsity: float | None = None,
    half: bool = False,
    name: str | None = None,
) -> Suite:
    """One dictionary a site, as chosen for an attribute and a method; all choices are in the suite's metadata.

    Args:
        run: where the weights are.
        choices: of `select`.
        variant, seed: which members.
        method: the edit method whose choices are taken.
        attribute: ``headline`` takes at each site the attribute that it serves (`headline_attributes`: of the first
            headline cell that holds it). An attribute, such as ``s``, is taken where the circuit edits it, and the
            headline attribute elsewhere.
        model, circuit: what the run was trained on.
        sparsity: k, for variants that were chosen for each k apart.
        half: store weights in half precision (computing stays float32).
        name: of the suite; by default as in ``choices``.

    Raises:
        UnknownNameError: no choices for that variant, method or attribute.
        InputError: none for that seed or k, several k, or a site where nothing could be chosen.
        DictionaryError: a weight does not fit into half precision.
    """
    own = _own(choices, variant, seed, method, sparsity)
    every = edits_at(circuit)
    if attribute != HEADLINE and not any(attribute in edits for edits in every.values()):
        raise UnknownNameError(
            "attribute", attribute, [HEADLINE, *sorted({e for edits in every.values() for e in edits})]
        )
    members = {(m.site, float(m.sparsity)): m for m in run.members if (m.variant, m.seed) == (variant, seed)}
    trained = {site for site, _ in members}
    rows = {(row["site"], row["attribute"]): row for row in own[own["method"] == method].to_dict("records")}
    dictionaries, chosen = {}, {}
    for site, edits in every.items():
        if site not in trained:
            continue
        wanted = attribute if attribute in edits else edits[0]
        row = rows.get((str(site), wanted))
        if row is None:
            raise InputError(
                f"{own['suite'].iloc[0]}: nothing could be chosen for {wanted} at {site} by {method}: no candidate "
                "there has a finite edit distance (the table's column 'problem' says why); train it anew"
            )
        dictionaries[site] = run.dictionary(members[site, row["sparsity"]], int(row["epoch"]))
        chosen[str(site)] = {"attribute": wanted, **_figures(row)}
    first = own.iloc[0]
    selection = {
        "split": "validation",
        "by": first["by"],
        "method": method,
        "attribute": attribute,
        "last_epoch": bool(first["last_epoch"]),
        **{name: int(first[name]) for name in ("budget", "prompts", "train_prompts")},
        "chosen": chosen,
        "headline_of_several": {str(site): list(edits) for site, edits in _contested(circuit).items()},
        "choices": [
            {**{key: row[key] for key in ("site", "attribute", "method")}, **_figures(row)}
            for row in own.to_dict("records")
        ],
    }
    metadata = {
        "variant": variant,
        "seed": int(seed),
        "task": circuit.task,
        "training": _plain(run.recipe),
        "provenance": dict(run.provenance),
        "selection": selection,
    }
    suite = Suite(name or str(first["suite"]), model.name, dictionaries, model.sha256, metadata)
    return suite.to(torch.float16) if half else suite


def _own(choices: pd.DataFrame, variant: str, seed: int, method: str, sparsity: float | None) -> pd.DataFrame:
    """The choices of one suite."""
    for kind, given in (("variant", variant), ("method", method)):
        known = sorted(set(choices[kind]))
        if given not in known:
            raise UnknownNameError(kind, given, known)
    own = choices[(choices["variant"] == variant) & (choices["seed"] == seed)]
    if own.empty:
        raise InputError(
            f"nothing was chosen for {variant} with seed {seed}: there are the seeds {sorted(set(choices['seed']))}"
        )
    suites = sorted(set(own["suite"]))
    wanted = suites[0] if sparsity is None else suite_name(variant, sparsity, seed, fixed=(variant,))
    if wanted not in suites or (sparsity is None and len(suites) > 1):
        given = "none was given" if sparsity is None else f"got {sparsity:g}"
        raise InputError(
            f"{variant} with seed {seed} was chosen as {', '.join(suites)}: give sparsity where the name has a k, and "
            f"nothing where it has none; {given}"
        )
    return own[own["suite"] == wanted]


def _figures(row: Mapping[Any, Any]) -> dict[str, Any]:
    """What was chosen, what it scored, and what came second, as JSON values."""

    def number(value: float) -> float | None:
        return None if math.isnan(value) else float(value)

    second = {name: number(row[f"runner_up_{name}"]) for name in _RUNNER_UP}
    return {
        "sparsity": float(row["sparsity"]),
        "epoch": int(row["epoch"]),
        **{name: number(row[name]) for name in ("distance", "distance_relative", "l0", "fvu", "ld_recovered")},
        "sha256": row["sha256"],
        "runner_up": None if second["distance"] is None else second,
    }


def _plain(recipe: Any) -> Any:
    """A recipe as JSON values."""
    return recipe.model_dump(mode="json") if hasattr(recipe, "model_dump") else recipe


def _contested(circuit: Circuit) -> dict[Site, tuple[str, ...]]:
    """Sites that headline cells edit for several attributes: the first cell's is taken there."""
    every = edits_at(replace(circuit, further=()))
    return {site: edits for site, edits in every.items() if len(edits) > 1}
