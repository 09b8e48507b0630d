"""Attention scores taken apart into pairs of feature kinds (after Makelov, Lange & Nanda 2024, arXiv 2405.08366).

A head's query at END and its keys at IO and at S1 are each a sum of parts: the train mean, one part a kind of feature,
and the error. The score ``q·k / √d`` is bilinear, so it is the sum over all pairs of parts ``q_i·k_j / √d``. Nothing is
left out, and nothing is approximated: the terms of a prompt add up to the score that the model computes.

Every part but ``mean`` is centred on train. So ``mean × mean`` is what the head scores whatever the prompt, and no
feature that is always on can pass for one that decides.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ioi_bench.dictionaries.codes import Labels, SupervisedCodes
from ioi_bench.errors import InputError, UnknownNameError
from ioi_bench.evaluation.bootstrap import Bootstrap, Interval, interval
from ioi_bench.sites import Role

__all__ = [
    "ERROR",
    "EXPECTED_PAIRS",
    "KEY_ROLES",
    "MEAN",
    "TARGETS",
    "PairTerms",
    "Parts",
    "TargetFigures",
    "expected_mask",
    "pair_terms",
    "skyline_parts",
    "target_figures",
]

MEAN, ERROR = "mean", "error"
KEY_ROLES = (Role.IO, Role.S1)

TARGETS = ("both", "difference", "io", "s1")
"""What is taken apart.

``both``: the score over prompts × the two keys, whose variance is mostly what tells IO from S1. ``difference``: score
at IO − score at S1. ``io``, ``s1``: the score at one key. A pair that tells IO from S1 by the same amount on every
prompt (``pos × pos``, since pos has two values) carries the difference's mean but none of its variance.
"""

EXPECTED_PAIRS = (("pos", "pos"), ("s", "io"), ("s", "s"))
"""Query part × key part by which a name mover can tell IO from S1 (Wang et al. 2023, arXiv 2211.00593).

S-inhibition writes into the query where S was, and which name it was. The first is compared with the key's own place
(``pos × pos``), the second with the key's own name: ``io`` at IO, ``s`` at S1.
"""

_SAME = 1e-10


@dataclass(frozen=True, eq=False)
class Parts:
    """An activation as a sum of named parts, in double precision.

    Raises:
        InputError: names and vectors do not fit.
    """

    names: tuple[str, ...]
    vectors: Float[Tensor, "part prompt d_in"]

    def __post_init__(self) -> None:
        if self.vectors.ndim != 3 or len(self.vectors) != len(self.names) or len(set(self.names)) != len(self.names):
            raise InputError(
                f"parts {', '.join(self.names)} with vectors {tuple(self.vectors.shape)}: expected distinct names and "
                "[part, prompt, d_in]"
            )

    def __len__(self) -> int:
        return self.vectors.shape[1]

    @property
    def total(self) -> Float[Tensor, "prompt d_in"]:
        """The activation."""
        return self.vectors.sum(0)


def skyline_parts(a: Float[Tensor, "prompt d_in"], codes: SupervisedCodes, labels: Labels) -> Parts:
    """``a = ā + Σ_i u[i, a_i] + error`` with supervised codes (METHOD §3): parts ``mean``, one a block, ``error``.

    >>> from ioi_bench.dictionaries.codes import Layout
    >>> layout = Layout({"pos": ("ABB", "BAB")}, (("pos",),))
    >>> codes = SupervisedCodes(layout, torch.tensor([3.0]), torch.tensor([[-1.0], [1.0]]), torch.tensor([1, 1]))
    >>> parts = skyline_parts(torch.tensor([[4.5]]), codes, {"pos": torch.tensor([1])})
    >>> dict(zip(parts.names, parts.vectors.flatten().tolist()))
    {'mean': 3.0, 'pos': 1.0, 'error': 0.5}

    Raises:
        InputError: labels that are missing or out of range, shapes that do not fit, NaN or Inf.
    """
    features = codes.layout.features(labels)
    _require_activations(a, len(features), codes.d_in)
    exact, u = a.double(), codes.codes.double()
    known = [codes.mean.double().expand_as(exact), *(u[column] for column in features.T)]
    names = (MEAN, *("|".join(block) for block in codes.layout.blocks), ERROR)
    return Parts(names, torch.stack([*known, exact - torch.stack(known).sum(0)]))


def _require_activations(a: Float[Tensor, "prompt d_in"], prompts: int, d_in: int) -> None:
    if tuple(a.shape) != (prompts, d_in):
        raise InputError(f"activations {tuple(a.shape)}, expected [prompt, d_in] = ({prompts}, {d_in})")
    if not a.isfinite().all():
        raise InputError("the activations have NaN or Inf in them: check the model's weights")


@dataclass(frozen=True, eq=False)
class PairTerms:
    """A head's scores at its two keys as sums of terms.

    Attributes:
        q, k: names of the query's and of the keys' parts.
        terms: per key, ``q_i·k_j / √d``.
    """

    q: tuple[str, ...]
    k: tuple[str, ...]
    terms: Mapping[Role, Float[Tensor, "prompt q_part k_part"]]

    def of(self, target: str) -> Float[Tensor, "key prompt q_part k_part"]:
        """The terms of a target; ``both`` has two keys, all others one row a prompt.

        Raises:
            UnknownNameError: no such target.
        """
        if target not in TARGETS:
            raise UnknownNameError("target", target, TARGETS)
        at_io, at_s1 = (self.terms[role] for role in KEY_ROLES)
        rows = {"difference": (at_io - at_s1,), "both": (at_io, at_s1), "io": (at_io,), "s1": (at_s1,)}
        return torch.stack(rows[target])


def pair_terms(q: Parts, keys: Mapping[Role, Parts]) -> PairTerms:
    """All terms ``q_i·k_j / √d_head``, per prompt and key.

    Raises:
        InputError: not the keys at IO and S1, or parts of other names, prompts or widths.
    """
    if set(keys) != set(KEY_ROLES):
        raise InputError(f"keys at {', '.join(map(str, keys))}: expected io and s1")
    at_io, at_s1 = (keys[role] for role in KEY_ROLES)
    shapes = {parts.vectors.shape[1:] for parts in (q, at_io, at_s1)}
    if at_io.names != at_s1.names or len(shapes) != 1:
        raise InputError(
            f"the parts do not fit: keys of {', '.join(at_io.names)} and of {', '.join(at_s1.names)}; "
            f"[prompt, d_in] {sorted(map(tuple, shapes))}"
        )
    scale = q.vectors.shape[-1] ** -0.5
    terms = {role: scale * torch.einsum("ipd,jpd->pij", q.vectors, keys[role].vectors) for role in KEY_ROLES}
    return PairTerms(q.names, at_io.names, terms)


def expected_mask(
    terms: PairTerms, pairs: Collection[tuple[str, str]] = EXPECTED_PAIRS
) -> Bool[Tensor, "q_part k_part"]:
    """Which pairs are expected."""
    return torch.tensor([[(i, j) in pairs for j in terms.k] for i in terms.q])


@dataclass(frozen=True, eq=False)
class TargetFigures:
    """A score taken apart.

    Attributes:
        score, spread: mean and standard deviation of the whole score.
        mean: mean of every term; they add up to ``score``.
        share: share of the score's variance that every term carries, ``cov(term, score) / var(score)``. The shares add
            up to 1; one is negative where a term runs against the score.
        expected_mean: of the expected pairs together, the share of the mean score, with its interval.
        expected_share: the same of the variance.
    """

    score: float
    spread: float
    mean: Float[Tensor, "q_part k_part"]
    share: Float[Tensor, "q_part k_part"]
    expected_mean: Interval
    expected_share: Interval


def target_figures(
    terms: Float[Tensor, "key prompt q_part k_part"], expected: Bool[Tensor, "q_part k_part"], boot: Bootstrap
) -> TargetFigures:
    """Means and shares of variance of all terms, over prompts (and keys, where there are two).

    The score is 3 and 7: the first term gives 1 and 5, the second 2 both times. So the first carries all variance:

    >>> terms = torch.tensor([[1.0, 2.0], [5.0, 2.0]], dtype=torch.float64).view(1, 2, 1, 2)
    >>> found = target_figures(terms, torch.tensor([[True, False]]), Bootstrap.of(["a", "b"], draws=9))
    >>> found.score, found.spread, found.mean.tolist(), found.share.tolist()
    (5.0, 2.0, [[3.0, 2.0]], [[1.0, 0.0]])
    >>> found.expected_mean.value, found.expected_share.value
    (0.6, 1.0)

    Raises:
        InputError: the score is the same on all prompts: there is no variance to share out.
    """
    score = terms.sum((-1, -2))
    centre = score.mean()
    variance = (score - centre).square().mean()
    if not variance > _SAME * score.square().mean():
        raise InputError(f"the score is the same ({centre:.3g}) on all {score.shape[1]} prompts: give other prompts")
    mean = terms.mean((0, 1))
    covariance = torch.einsum("cpij,cp->ij", terms - mean, score - centre) / score.numel()
    chosen = (terms * expected).sum((-1, -2))
    # Moments per prompt, from which every draw has its own variance and covariance; centred, so that none cancels.
    x, y = chosen - chosen.mean(), score - centre
    moments = boot.mean(torch.stack([x, y, x * y, y * y], -1).mean(0))
    m_x, m_y, m_xy, m_yy = moments.unbind(-1)
    spread = m_yy - m_y.square()
    spread = spread.where(spread > _SAME * variance, torch.nan)  # a draw in which the score does not vary
    return TargetFigures(
        score=centre.item(),
        spread=variance.sqrt().item(),
        mean=mean,
        share=covariance / variance,
        expected_mean=interval((m_x + chosen.mean()) / (m_y + centre)),
        expected_share=interval((m_xy - m_x * m_y) / spread),
    )
