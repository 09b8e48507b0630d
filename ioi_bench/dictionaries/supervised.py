"""Fitting the skyline (METHOD §3; Makelov, Lange & Nanda 2024, §3.2): mean codes, MSE codes, and a linear encoder.

One pass over the train split gathers sums in double precision; the fits are closed forms of these sums, so that batches
of any size give the same codes. All sites share one design matrix X (the one-hot values of every block), whose Gram
matrix is inverted once for all of them.

- **Mean codes**: ``u[i, v] = mean(a | a_i = v) − ā``.
- **MSE codes**: least squares of ``a − ā`` on X. X is rank deficient (each block's columns add up to 1), so the
  solution of minimum norm is taken: ``u = (XᵀX)⁺ Xᵀ(a − ā)``.
- **Encoder** of ``skyline-encoded``: linear discriminant analysis a block. With ``μ_v`` the mean given the value and
  ``Σ`` the covariance within values (pooled, plus 1e-5 of its mean variance on the diagonal)::

      score_v(a) = (a − ā)ᵀ Σ⁻¹ (μ_v − ā) − ½ (μ_v − ā)ᵀ Σ⁻¹ (μ_v − ā)

  the most likely value under Gaussian noise of one covariance, all values equally frequent. To each attribute the
  variation of all others is noise, and is whitened. A value that train does not contain is never chosen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ioi_bench.dictionaries.architectures import Skyline
from ioi_bench.dictionaries.codes import COUPLED, INDEPENDENT, Labels, Layout, SupervisedCodes, index_labels
from ioi_bench.dictionaries.suite_content import Suite
from ioi_bench.errors import InputError, SuiteError
from ioi_bench.sites import Site

__all__ = [
    "COUPLED",
    "INDEPENDENT",
    "CodesFitter",
    "Labels",
    "Layout",
    "SupervisedCodes",
    "codes_metadata",
    "codes_of_suite",
    "fit_mean_codes",
    "fit_mse_codes",
    "index_labels",
]

NEVER = -1e30  # the score of a value that train does not contain; finite, so that the weights stay so
RIDGE = 1e-5
RANK_TOLERANCE = 1e-10  # relative to the largest eigenvalue of a Gram matrix of counts, whose zeros come out near 1e-13


class CodesFitter:
    """Gathers train activations batch by batch; every method that returns codes may be called at any time.

    >>> fitter = CodesFitter(Layout({"pos": ("ABB", "BAB")}, (("pos",),)))
    >>> site = Site.parse("z.0.0@end")
    >>> fitter.update({site: torch.tensor([[1.0], [2.0], [6.0]])}, {"pos": torch.tensor([0, 0, 1])})
    >>> codes = fitter.mean_codes()[site]
    >>> codes.mean.tolist(), codes.codes.tolist()
    ([3.0], [[-1.5], [3.0]])
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        size = sum(layout.sizes)
        self._gram = torch.zeros(size, size, dtype=torch.float64)
        self._sums: dict[Site, Float[Tensor, "d_sae d_in"]] = {}
        self._outer: dict[Site, Float[Tensor, "d_in d_in"]] = {}

    def update(self, activations: Mapping[Site, Float[Tensor, "prompt d_in"]], labels: Labels) -> None:
        """Add a batch: the same prompts at every site, the same sites in every batch.

        Raises:
            InputError: the sites or the numbers of prompts differ, NaN or Inf, or labels out of range.
        """
        features = self.layout.features(labels)
        if self._sums and activations.keys() != self._sums.keys():
            raise InputError("every batch must have the same sites")
        for site, a in activations.items():
            if len(a) != len(features):
                raise InputError(f"{site}: {len(a)} activations for {len(features)} labels")
            if not a.isfinite().all():
                raise InputError(f"{site}: the activations have NaN or Inf in them")
        size = len(self._gram)
        for row in features.T:
            for column in features.T:
                self._gram += torch.bincount(row * size + column, minlength=size * size).view(size, size)
        for site, a in activations.items():
            exact = a.double()
            sums = self._sums.setdefault(site, torch.zeros(size, a.shape[1], dtype=torch.float64))
            for column in features.T:
                sums.index_add_(0, column, exact)
            outer = self._outer.setdefault(site, torch.zeros(a.shape[1], a.shape[1], dtype=torch.float64))
            outer.addmm_(exact.T, exact)

    @property
    def _counts(self) -> Float[Tensor, " d_sae"]:
        return self._gram.diagonal()

    def _require_data(self) -> None:
        if not self._counts.any():
            raise InputError("no train activations were given: call update first")

    @property
    def _n(self) -> Float[Tensor, ""]:
        return self._counts[: self.layout.sizes[0]].sum()  # every prompt has one value in the first block

    def _mean(self, site: Site) -> Float[Tensor, " d_in"]:
        return self._sums[site][: self.layout.sizes[0]].sum(0) / self._n

    def _deviations(self, site: Site) -> Float[Tensor, "d_sae d_in"]:
        """``μ_v − ā``; 0 where the value was not seen."""
        counts = self._counts[:, None]
        return (self._sums[site] / counts.clamp(min=1) - self._mean(site)) * (counts > 0)

    def _codes(self, site: Site, codes: Float[Tensor, "d_sae d_in"]) -> SupervisedCodes:
        return SupervisedCodes(self.layout, self._mean(site).float(), codes.float(), self._counts.long())

    def mean_codes(self) -> dict[Site, SupervisedCodes]:
        """``u[i, v] = mean(a | a_i = v) − ā`` at every site.

        Raises:
            InputError: nothing was given yet.
        """
        self._require_data()
        return {site: self._codes(site, self._deviations(site)) for site in self._sums}

    def mse_codes(self) -> dict[Site, SupervisedCodes]:
        """Least squares of minimum norm, at every site.

        Raises:
            InputError: nothing was given yet.
        """
        self._require_data()
        counts = self._counts
        inverse = torch.linalg.pinv(self._gram, rtol=RANK_TOLERANCE, hermitian=True)
        return {
            site: self._codes(site, inverse @ (sums - counts[:, None] * self._mean(site)))
            for site, sums in self._sums.items()
        }

    def skylines(self, codes: Mapping[Site, SupervisedCodes]) -> dict[Site, Skyline]:
        """Codes with the fitted linear encoder, as dictionaries that can be stored like any other.

        Raises:
            InputError: nothing was given yet.
        """
        self._require_data()
        return {site: self._skyline(site, own) for site, own in codes.items()}

    def _skyline(self, site: Site, codes: SupervisedCodes) -> Skyline:
        n, seen, mean = self._n, self._counts > 0, self._mean(site)
        total = self._outer[site] / n - torch.outer(mean, mean)
        weights, biases = [], []
        for deviations, counts in zip(
            self._deviations(site).split(self.layout.sizes), self._counts.split(self.layout.sizes), strict=True
        ):
            within = total - (deviations * (counts / n)[:, None]).T @ deviations
            ridge = RIDGE * float(within.diagonal().clamp(min=0).mean()) or 1.0  # 1 for activations that never vary
            solved = torch.linalg.solve(within + ridge * torch.eye(len(within), dtype=torch.float64), deviations.T)
            weights.append(solved)
            biases.append(-0.5 * (deviations * solved.T).sum(1))
        return Skyline(
            W_enc=torch.cat(weights, 1).float(),
            b_enc=torch.cat(biases).where(seen, NEVER).float(),
            W_dec=codes.codes,
            b_dec=codes.mean,
            scale=1.0,
            block_sizes=self.layout.sizes,
        )


_HERE = Site.parse("resid_pre.0@end")  # a name for the only site where one alone is fitted


def _fitted(activations: Float[Tensor, "prompt d_in"], labels: Labels, layout: Layout) -> CodesFitter:
    fitter = CodesFitter(layout)
    fitter.update({_HERE: activations}, labels)
    return fitter


def fit_mean_codes(activations: Float[Tensor, "prompt d_in"], labels: Labels, layout: Layout) -> SupervisedCodes:
    """Mean codes of one site whose activations are all at hand.

    Raises:
        InputError: as `CodesFitter.update`.
    """
    return _fitted(activations, labels, layout).mean_codes()[_HERE]


def fit_mse_codes(activations: Float[Tensor, "prompt d_in"], labels: Labels, layout: Layout) -> SupervisedCodes:
    """MSE codes of one site whose activations are all at hand.

    Raises:
        InputError: as `CodesFitter.update`.
    """
    return _fitted(activations, labels, layout).mse_codes()[_HERE]


def codes_metadata(codes: SupervisedCodes) -> dict[str, Any]:
    """What a suite of skylines must carry for `codes_of_suite` (a suite's codes share their layout and counts)."""
    return {"layout": codes.layout.to_json(), "counts": codes.counts.tolist()}


def codes_of_suite(suite: Suite) -> dict[Site, SupervisedCodes]:
    """The oracle codes in an exported skyline.

    Raises:
        SuiteError: the suite is not of skylines, or lacks `codes_metadata`.
    """
    if not {"layout", "counts"} <= suite.metadata.keys():
        raise SuiteError(f"suite {suite.name!r} is no exported skyline: its metadata has no 'layout' and 'counts'")
    layout, counts = Layout.from_json(suite.metadata["layout"]), torch.tensor(suite.metadata["counts"])
    codes = {}
    for site, dictionary in suite.dictionaries.items():
        if not isinstance(dictionary, Skyline) or dictionary.block_sizes != layout.sizes:
            raise SuiteError(f"{site}: not a skyline of the layout that suite {suite.name!r} declares")
        codes[site] = SupervisedCodes(layout, dictionary.offset, dictionary.directions, counts)
    return codes
