"""How much of the activation an edit takes away and puts in (METHOD §6; the paper, §4.2; docs/method-changes.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = [
    "Contributions",
    "EditWeight",
    "FeatureWeights",
    "contributions",
    "edit_weight",
    "feature_weights",
    "moved",
    "moved_aside",
]

_RELATIVE_ZERO = 1e-12
_PICKS_AT_ONCE = 16


@dataclass(frozen=True)
class FeatureWeights:
    """The share that each feature carries: of the reconstruction (``paper``), of the activation (``centred``).

    NaN in a whole row where there is nothing to share out (norm zero).
    """

    paper: Float[Tensor, "prompt d_sae"]
    centred: Float[Tensor, "prompt d_sae"]


@dataclass(frozen=True)
class EditWeight:
    """The summed weight of the features that an edit changed, per budget and prompt; NaN where undefined."""

    removed: Float[Tensor, "budget prompt"]
    added: Float[Tensor, "budget prompt"]
    removed_paper: Float[Tensor, "budget prompt"]
    added_paper: Float[Tensor, "budget prompt"]

    @property
    def exchanged(self) -> Float[Tensor, "budget prompt"]:
        """What the edit takes out or what it puts in, whichever is more.

        To lay a whole other activation over the old one removes nothing, and is no finer for it.
        """
        return torch.maximum(self.removed, self.added)


def feature_weights(
    f: Float[Tensor, "prompt d_sae"],
    directions: Float[Tensor, "d_sae d_in"],
    a: Float[Tensor, "prompt d_in"],
    f_mean: Float[Tensor, " d_sae"],
    a_mean: Float[Tensor, " d_in"],
) -> FeatureWeights:
    """The paper's form, and the centred one that scores.

    The paper's is ``f_j d_j·c / ‖c‖²``, with c the reconstruction less the offset. The centred form is the share of
    the activation itself, both less their means over the prompts that are judged:
    ``(f_j − E f_j) d_j·(a − E a) / ‖a − E a‖²``. Nothing else in the dictionary can dilute it, and a feature's zero
    point does not enter it: a constant feature weighs nothing, and ``1 − f_j`` along ``−d_j`` weighs what ``f_j`` does.

    A constant feature (10 along x) beside one along y that is on or off (mean ½), which reconstruct the activation: in
    the paper's form the second carries 4/104 of it, centred it carries all of it:

    >>> f, mean = torch.tensor([[10.0, 2.0]]), torch.tensor([10.0, 1.0])
    >>> w = feature_weights(f, torch.eye(2), f, mean, mean)
    >>> w.paper.tolist()[0], w.centred.tolist()[0]
    ([0.961..., 0.038...], [0.0, 1.0])
    """
    total = f @ directions
    square = total.square().sum(-1, keepdim=True)
    # What is left after cancellation is rounding, not a reconstruction.
    scale = f.square() @ directions.square().sum(-1, keepdim=True)
    paper = f * (total @ directions.T) / torch.where(square > _RELATIVE_ZERO * scale, square, torch.nan)
    own = a - a_mean
    norm = own.square().sum(-1, keepdim=True)
    centred = (f - f_mean) * (own @ directions.T) / torch.where(norm > 0, norm, torch.nan)
    return FeatureWeights(paper, centred)


def edit_weight(
    before: FeatureWeights,
    after: FeatureWeights,
    removed: Int[Tensor, "prompt round"],
    added: Int[Tensor, "prompt round"],
    budgets: Sequence[int],
) -> EditWeight:
    """Sum the weights of the features changed in the first k rounds, for each budget k.

    ``before`` are the weights on the base prompts, ``after`` those on their counterfactuals. ``removed`` and ``added``
    hold one feature per round, or −1 where the round changed none on that side. The paper's form keeps signs. The
    centred form sums only what is positive: a negative share must not pay for a removal.

    The first round takes out feature 0 and puts in 2, the second takes out 1:

    >>> share = torch.tensor([[0.5, -0.1, 0.2]])
    >>> weights = FeatureWeights(share, share)
    >>> found = edit_weight(weights, weights, torch.tensor([[0, 1]]), torch.tensor([[2, -1]]), (1, 2))
    >>> found.removed.flatten().tolist(), found.removed_paper.flatten().tolist()
    ([0.5, 0.5], [0.5, 0.4...])
    """
    return EditWeight(
        removed=_summed(before.centred.clamp_min(0), removed, budgets),
        added=_summed(after.centred.clamp_min(0), added, budgets),
        removed_paper=_summed(before.paper, removed, budgets),
        added_paper=_summed(after.paper, added, budgets),
    )


@dataclass(frozen=True)
class Contributions:
    """What an edit's features contribute, as vectors and less their means.

    ``removed`` and ``added`` are of the features that it takes out, as they were, and of those that it puts in, as they
    become. ``before`` and ``after`` are of all of them: ``after − before`` is the step.
    """

    removed: Float[Tensor, "budget prompt d_in"]
    added: Float[Tensor, "budget prompt d_in"]
    before: Float[Tensor, "budget prompt d_in"]
    after: Float[Tensor, "budget prompt d_in"]

    def share(
        self, a_s: Float[Tensor, "prompt d_in"], a_t: Float[Tensor, "prompt d_in"], a_mean: Float[Tensor, " d_in"]
    ) -> Float[Tensor, "budget prompt"]:
        """The largest of ``‖removed‖² / ‖a_s − E a‖²``, ``‖added‖² / ‖a_t − E a‖²``, and the square of half of the
        step with what stands across it all the way, over the mean of these norms. NaN where a norm is 0.

        Unlike the shares of `feature_weights`, lengths cannot be brought down by a part that stands against the
        activation, and goes out only to come in again. The third does not depend on where features have their zero
        point: to exchange the complements of two entries is to exchange the entries. To exchange one whole activation
        for the other is 1 by the first two, and 1 by the third where both are as long.
        """
        own, other = ((a - a_mean).square().sum(-1) for a in (a_s, a_t))
        own, other = (torch.where(norm > 0, norm, torch.nan) for norm in (own, other))
        step, middle = self.after - self.before, (self.before + self.after) / 2
        across = middle - _along(middle, step)
        exchanged = step.square().sum(-1) / 4 + across.square().sum(-1)
        sides = (self.removed.square().sum(-1) / own, self.added.square().sum(-1) / other)
        return torch.stack([*sides, exchanged / ((own + other) / 2)]).amax(0)


def contributions(
    removed: tuple[Int[Tensor, "prompt round"], Float[Tensor, "prompt round"]],
    added: tuple[Int[Tensor, "prompt round"], Float[Tensor, "prompt round"]],
    directions: Float[Tensor, "d_sae d_in"],
    f_mean: Float[Tensor, " d_sae"],
    budgets: Sequence[int],
) -> Contributions:
    """What goes out and what comes in, as vectors, for each budget.

    ``removed`` and ``added`` are features, one a round or −1, and the values at which they are taken out and put in.
    Before and after, a feature that is changed on one side only is taken to be 0 on the other.

    Feature 0 (value 2, mean ½) is exchanged for feature 1 (value 3, mean 0):

    >>> def of(feature, value):
    ...     return torch.tensor([[feature]]), torch.tensor([[value]])
    >>> found = contributions(of(0, 2.0), of(1, 3.0), torch.eye(2), torch.tensor([0.5, 0.0]), (1,))
    >>> found.removed.tolist(), found.added.tolist()
    ([[[1.5, 0.0]]], [[[0.0, 3.0]]])
    >>> found.before.tolist(), found.after.tolist()
    ([[[1.5, 0.0]]], [[[-0.5, 3.0]]])
    """

    def mean(picks: Tensor, counts: Sequence[int]) -> Tensor:
        return _carried(picks, f_mean[picks.clamp_min(0)], directions, counts)

    changed = _once(torch.stack([removed[0], added[0]], 2).flatten(1))
    either = mean(changed, [2 * budget for budget in budgets])
    out, into = (_carried(*side, directions, budgets) for side in (removed, added))
    return Contributions(
        removed=out - mean(removed[0], budgets),
        added=into - mean(added[0], budgets),
        before=out - either,
        after=into - either,
    )


def _carried(
    picks: Int[Tensor, "prompt pick"],
    values: Float[Tensor, "prompt pick"],
    directions: Float[Tensor, "d_sae d_in"],
    counts: Sequence[int],
) -> Float[Tensor, "count prompt d_in"]:
    """``Σ f d`` over the first picks."""
    values = values.masked_fill(picks < 0, 0.0)
    total, found, start = values.new_zeros(len(picks), directions.shape[1]), [], 0
    for count in counts:
        for first in range(start, min(count, picks.shape[1]), _PICKS_AT_ONCE):
            part = slice(first, min(count, first + _PICKS_AT_ONCE))
            total = total + torch.einsum("pk,pkd->pd", values[:, part], directions[picks[:, part].clamp_min(0)])
        start = count
        found.append(total)
    return torch.stack(found)


def moved_aside(
    edited: Float[Tensor, "budget prompt d_in"],
    a_s: Float[Tensor, "prompt d_in"],
    a_t: Float[Tensor, "prompt d_in"],
    a_mean: Float[Tensor, " d_in"],
) -> Float[Tensor, "budget prompt"]:
    """How much of the edit is no part of the way to the counterfactual: ``‖step − its part along a_t − a_s‖²``, as a
    share of ``‖a_s − E a‖²``. NaN where that is 0.

    Shares of features are along the activation. A feature that stands across it has none, whatever it moves: an edit
    that lays the difference of two other prompts over this one would weigh what the attribute does, and change all.

    Half of the way, and as far again aside:

    >>> moved_aside(torch.tensor([[[1.0, 1.0]]]), torch.zeros(1, 2), torch.tensor([[2.0, 0.0]]), torch.ones(2)).tolist()
    [[0.5]]
    """
    step = edited - a_s
    aside = step - _along(step, a_t - a_s)
    whole = (a_s - a_mean).square().sum(-1)
    return aside.square().sum(-1) / torch.where(whole > 0, whole, torch.nan)


def moved(
    edited: Float[Tensor, "budget prompt d_in"], a_s: Float[Tensor, "prompt d_in"], variance: float
) -> Float[Tensor, "budget prompt"]:
    """How far an edit moves the activation: ``‖edited − a_s‖² / E ‖a − E a‖²``; 0 where activations do not vary.

    The unit is the site's, so that sites and prompts can be weighed against each other.

    >>> moved(torch.tensor([[[1.0, 1.0]]]), torch.zeros(1, 2), 8.0).tolist()
    [[0.25]]
    """
    square = (edited - a_s).square().sum(-1)
    return square / variance if variance > 0 else torch.zeros_like(square)


def _along(some: Float[Tensor, "*row d_in"], direction: Float[Tensor, "*row d_in"]) -> Float[Tensor, "*row d_in"]:
    """The part along a direction; 0 where that has no length."""
    length = direction.norm(dim=-1, keepdim=True)
    unit = direction / torch.where(length > 0, length, 1.0)
    return (some * unit).sum(-1, keepdim=True) * unit


def _once(picks: Int[Tensor, "prompt pick"]) -> Int[Tensor, "prompt pick"]:
    """Picks with −1 where the feature was picked before."""
    earlier = torch.ones(picks.shape[1], picks.shape[1], dtype=torch.bool, device=picks.device).tril(-1)
    again = ((picks[:, :, None] == picks[:, None, :]) & earlier).any(2)
    return picks.masked_fill(again, -1)


def _summed(
    weights: Float[Tensor, "prompt d_sae"], picks: Int[Tensor, "prompt pick"], counts: Sequence[int]
) -> Float[Tensor, "count prompt"]:
    each = weights.gather(1, picks.clamp_min(0)).masked_fill(picks < 0, 0.0)
    undefined = weights.isnan().any(1)  # also where nothing was changed: 0 of nothing is no share
    sums = torch.stack([each[:, :count].sum(1) for count in counts])
    return sums.masked_fill(undefined, torch.nan)
