"""One batch of prompts in one cell: edits, patched runs, and what they show of each prompt (METHOD §5, §6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ioi_bench.editing import Edit, EditInputs, EditMethod
from ioi_bench.editing.base import apply_rounds
from ioi_bench.evaluation.codes import SiteCodes, Values
from ioi_bench.lm.patching import CleanRun, patched_logits
from ioi_bench.metrics import (
    Contributions,
    FeatureWeights,
    contributions,
    divergence,
    edit_accuracy,
    edit_distance,
    edit_weight,
    effect,
    feature_weights,
    logit_difference_gap,
    moved,
    moved_aside,
)
from ioi_bench.sites import Site

if TYPE_CHECKING:
    from ioi_bench.evaluation.measures import Measure
    from ioi_bench.lm.model import LanguageModel

__all__ = [
    "COLUMNS",
    "Activations",
    "CellBatch",
    "JudgedRuns",
    "SiteEdits",
    "compare",
    "distinct",
    "edit_sites",
    "exchange_codes",
    "judge",
    "per_effect",
    "unedited",
]

Activations = Mapping[Site, Float[Tensor, "prompt d_in"]]

JUDGED = ("accuracy", "accuracy_names", "ld_gap", "kl", "effect")
MOVED = (
    "weight",
    "moved",
    "weight_added",
    "weight_removed_paper",
    "weight_added_paper",
    "distance",
    "distance_unedited",
    "n_removed",
    "n_added",
    "nan_share",
)
COLUMNS = JUDGED + MOVED
"""What is known of each prompt under each edit: from the patched run, then from the edit itself (mean over sites).

``weight`` is what scores; its mean, over sites as over prompts, is weighted by ``moved``: how far the edit goes there.
"""

_LOGITS_AT_ONCE = 1 << 26


@dataclass(frozen=True)
class CellBatch:
    """Some prompts of a cell: activations on both sides, attribute values, the tokens of the names.

    Attributes:
        edit: the attributes that change, such as ``pos+s``.
        a_s, a_t: activations at the cell's sites on the base prompts and on their counterfactuals.
        base, target: attribute values of both.
        names: tokens of the base's IO and S and of the counterfactual's IO and S.
        read_s, read_t: of sites whose dictionaries read elsewhere, the activations there.
    """

    edit: str
    a_s: Activations
    a_t: Activations
    base: Values
    target: Values
    names: Int64[Tensor, "prompt name"]
    read_s: Activations = field(default_factory=dict)
    read_t: Activations = field(default_factory=dict)


@dataclass(frozen=True)
class SiteEdits:
    """Edits of all sites of a cell: what to write, and what was moved (columns `MOVED`)."""

    keys: tuple[tuple[str, int], ...]
    activations: tuple[Activations, ...]
    moved: Float[Tensor, "prompt edit column"]


def edit_sites(
    batch: CellBatch, codes: Mapping[Site, SiteCodes], methods: Mapping[str, EditMethod], budgets: tuple[int, ...]
) -> SiteEdits:
    """All methods × budgets at all sites of a cell."""
    keys = tuple((method, budget) for method in methods for budget in budgets)
    written: dict[Site, Tensor] = {}
    of_sites = []
    for site, a_s in batch.a_s.items():
        pair = _site_pair(batch, site, codes[site])
        edits = [method(pair.inputs, budgets) for method in methods.values()]
        written[site] = torch.cat([edit.edited for edit in edits])
        of_sites.append(torch.cat([_moved(pair, edit, a_s, batch.a_t[site]) for edit in edits]))
    activations = tuple({site: values[i] for site, values in written.items()} for i in range(len(keys)))
    return SiteEdits(keys, activations, _over_sites(torch.stack(of_sites)).transpose(0, 1))


def _over_sites(each: Float[Tensor, "site edit prompt column"]) -> Float[Tensor, "edit prompt column"]:
    """Means over sites; weights that have no value are left out, and their share is the last column.

    The weight that scores is weighted by how far each site was moved: those that an edit leaves alone must not pay for
    the others.
    """
    found = each.nanmean(0)
    weight, far = (each[..., MOVED.index(name)] for name in ("weight", "moved"))
    far = far.masked_fill(weight.isnan(), 0.0)
    total = far.sum(0)
    found[..., MOVED.index("weight")] = torch.where(
        total > 0, (weight * far).nansum(0) / total, found[..., MOVED.index("weight")]
    )
    return found


def unedited(batch: CellBatch) -> Float[Tensor, "prompt edit column"]:
    """What no edit at all moves (columns `MOVED`): nothing."""
    to_go = torch.stack([edit_distance(a_s, a_s, batch.a_t[site]).unedited for site, a_s in batch.a_s.items()]).mean(0)
    zero = torch.zeros_like(to_go)
    columns = {"distance": to_go, "distance_unedited": to_go}
    return torch.stack([columns.get(name, zero) for name in MOVED], -1)[:, None]


def exchange_codes(inputs: EditInputs, _: tuple[int, ...]) -> Edit:
    """The skyline's edit ``a − u[v] + u[v']`` (METHOD §3): every one-hot code that changes, one for one, at once."""
    change = inputs.f_t - inputs.f_s
    rounds = max(1, int((change < 0).sum(1).max()))
    removed, added = (_where(changed, rounds) for changed in (change < 0, change > 0))
    return apply_rounds(inputs, (rounds,), removed, added, inputs.f_t.gather(1, added.clamp(min=0)))


def _where(chosen: Bool[Tensor, "prompt d_sae"], rounds: int) -> Int64[Tensor, "prompt round"]:
    """Indices of what is chosen in each row, then −1."""
    found, index = chosen.to(torch.uint8).sort(dim=1, descending=True, stable=True)
    return index[:, :rounds].masked_fill(found[:, :rounds] == 0, -1)


@dataclass(frozen=True)
class _SitePair:
    inputs: EditInputs
    codes: SiteCodes
    weights_s: FeatureWeights
    weights_t: FeatureWeights


def _site_pair(batch: CellBatch, site: Site, codes: SiteCodes) -> _SitePair:
    a_s, a_t = batch.a_s[site], batch.a_t[site]
    x_s, x_t = (a_s, a_t) if codes.reads is None else (batch.read_s[site], batch.read_t[site])
    f_s, f_t = codes.encode(x_s, batch.base), codes.encode(x_t, batch.target)
    train = codes.statistics(batch.edit)
    inputs = EditInputs(codes.decoder, a_s, a_t, f_s, f_t, batch.base[batch.edit], batch.target[batch.edit], train)
    return _SitePair(inputs, codes, _weights(codes, f_s, a_s), _weights(codes, f_t, a_t))


def _weights(codes: SiteCodes, f: Tensor, a: Tensor) -> FeatureWeights:
    return feature_weights(f, codes.decoder.directions, a, codes.base_mean, codes.base_activation)


def _weights_added(pair: _SitePair, edit: Edit) -> FeatureWeights:
    """Those of the counterfactual's side, each feature that was put in at the value that it was given."""
    if edit.added_value is None:
        return pair.weights_t
    f = torch.cat([pair.inputs.f_t, pair.inputs.f_t[:, :1]], 1)  # a column for the rounds that put in nothing
    nowhere = f.shape[1] - 1
    f.scatter_(1, edit.added.where(edit.added >= 0, nowhere), edit.added_value)
    return _weights(pair.codes, f[:, :nowhere], pair.inputs.a_t)


def _contributions(pair: _SitePair, edit: Edit) -> Contributions:
    codes, inputs = pair.codes, pair.inputs
    taken = inputs.f_s.gather(1, edit.removed.clamp_min(0))
    put = inputs.f_t.gather(1, edit.added.clamp_min(0)) if edit.added_value is None else edit.added_value
    return contributions(
        (edit.removed, taken), (edit.added, put), codes.decoder.directions, codes.base_mean, edit.budgets
    )


def _moved(pair: _SitePair, edit: Edit, a_s: Tensor, a_t: Tensor) -> Float[Tensor, "budget prompt column"]:
    weight = edit_weight(pair.weights_s, _weights_added(pair, edit), edit.removed, edit.added, edit.budgets)
    distance = edit_distance(edit.edited, a_s, a_t)
    centre = pair.codes.base_activation
    kinds = (
        weight.exchanged,
        _contributions(pair, edit).share(a_s, a_t, centre),
        moved_aside(edit.edited, a_s, a_t, centre),
    )
    columns = {
        "weight": torch.stack(kinds).amax(0),  # NaN where one is
        "moved": moved(edit.edited, a_s, pair.codes.base_variance),
        "weight_added": weight.added,
        "weight_removed_paper": weight.removed_paper,
        "weight_added_paper": weight.added_paper,
        "distance": distance.absolute,
        "distance_unedited": distance.unedited.expand_as(distance.absolute),
        "n_removed": torch.stack([edit.n_removed(budget) for budget in edit.budgets]).to(a_s.dtype),
        "n_added": torch.stack([edit.n_added(budget) for budget in edit.budgets]).to(a_s.dtype),
        "nan_share": weight.exchanged.isnan().to(a_s.dtype),
    }
    return torch.stack([columns[name] for name in MOVED], -1)


@dataclass(frozen=True)
class JudgedRuns:
    """Edited runs beside the truth-patched run (columns `JUDGED`), and what plugins' metrics say of them."""

    judged: Float[Tensor, "prompt edit column"]
    measured: Float[Tensor, "prompt edit metric"]


@torch.no_grad()
def judge(
    model: LanguageModel,
    clean: CleanRun,
    edits: Sequence[Activations],
    clean_logits: Float[Tensor, "prompt vocab"],
    truth: Float[Tensor, "prompt vocab"],
    names: Int64[Tensor, "prompt name"],
    measure: Measure | None = None,
) -> JudgedRuns:
    """Run edits and compare each with the truth-patched run; equal edits are run once."""
    unique, index = distinct(edits)
    at_once = max(1, _LOGITS_AT_ONCE // truth.numel())
    judged, measured = [], []
    for start in range(0, len(unique), at_once):
        some = unique[start : start + at_once]
        logits = patched_logits(model, clean, some)
        judged.append(compare(logits, clean_logits, truth, names))
        if measure is not None:
            measured += [measure(of, written) for of, written in zip(logits, some, strict=True)]
    found = torch.cat(judged, 1)[:, index]
    return JudgedRuns(found, torch.stack(measured, 1)[:, index] if measured else found[..., :0])


@torch.no_grad()
def compare(
    logits: Float[Tensor, "edit prompt vocab"],
    clean: Float[Tensor, "prompt vocab"],
    truth: Float[Tensor, "prompt vocab"],
    names: Int64[Tensor, "prompt name"],
) -> Float[Tensor, "prompt edit column"]:
    """Edited runs beside the truth-patched run (columns `JUDGED`)."""
    accuracy = edit_accuracy(logits, truth, names)
    gap = logit_difference_gap(logits, truth, names[:, 0], names[:, 1]).gap
    nats = divergence(logits, truth).nats
    had = effect(logits, clean, truth, names)
    return torch.stack([accuracy.vocabulary, accuracy.names, gap, nats, had], -1).transpose(0, 1).cpu()


def per_effect(columns: Float[Tensor, "prompt edit column"]) -> Float[Tensor, "prompt edit column"]:
    """Weights per effect (columns `COLUMNS`)."""
    found = columns.clone()
    found[..., COLUMNS.index("weight")] /= columns[..., COLUMNS.index("effect")]
    return found


def distinct(edits: Sequence[Activations]) -> tuple[list[Activations], list[int]]:
    """Edits without repetitions of the one before (a budget past the last active feature changes nothing more)."""
    unique: list[Activations] = []
    index = []
    for edit in edits:
        if not unique or not all(torch.equal(edit[site], unique[-1][site]) for site in edit):
            unique.append(edit)
        index.append(len(unique) - 1)
    return unique, index
