"""Runs without edits: what a cross-section's reconstructions, and its explained features, do (METHOD §6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from ioi_bench.evaluation.codes import SiteCodes
from ioi_bench.evaluation.runs import CellBatch, distinct
from ioi_bench.lm.patching import CleanRun, patched_logits
from ioi_bench.metrics import (
    code_statistics,
    divergence,
    keep_explained,
    logit_difference,
    remove_explained,
    without_reconstruction,
)
from ioi_bench.metrics.interpretability import THRESHOLDS
from ioi_bench.sites import Site

if TYPE_CHECKING:
    from ioi_bench.lm.model import LanguageModel

__all__ = ["COLUMNS", "KEPT", "REMOVED", "faithfulness_runs"]

KEPT = {threshold: f"ld_kept_{threshold}" for threshold in THRESHOLDS}
REMOVED = {threshold: f"ld_removed_{threshold}" for threshold in THRESHOLDS}

COLUMNS = (
    *("ld_clean", "ld_mean", "ld_sae", "ld_without"),
    *(*KEPT.values(), *REMOVED.values()),
    *("kl_sae", "kl_without"),
)
"""Columns of `faithfulness_runs`, from patched runs; those of `KEPT` and `REMOVED` are NaN for unexplained codes."""


@torch.no_grad()
def faithfulness_runs(
    model: LanguageModel,
    clean: CleanRun,
    clean_logits: Float[Tensor, "prompt vocab"],
    batch: CellBatch,
    codes: Mapping[Site, SiteCodes],
) -> tuple[Float[Tensor, "prompt column"], Float[Tensor, "prompt site part"]]:
    """Mean ablation, reconstructions, activations without these, and explained features kept and removed.

    In each run this is done at all sites together.

    Returns:
        Columns `COLUMNS` per prompt; and per prompt and site the number of active features, ``‖a − â‖²``
        and ``‖a − E[a]‖²``.
    """
    mean, sae, without, parts = {}, {}, {}, []
    explained: list[dict[Site, Tensor]] = [{} for _ in (*KEPT, *REMOVED)]
    for site, a in batch.a_s.items():
        at = codes[site]
        x = a if at.reads is None else batch.read_s[site]
        f = at.encode(x, batch.base)
        reconstruction = at.reconstruct(x, f)
        stats = code_statistics(f, reconstruction, a, at.train_mean, at.fires)
        parts.append(torch.stack([stats.active, stats.residual, stats.variance], -1))
        mean[site], sae[site] = at.train_mean.expand_as(a), reconstruction
        without[site] = without_reconstruction(a, reconstruction, at.train_mean)
        for run, written in zip(explained, _explained(at, a, f), strict=False):
            run[site] = written
    whole = all(len(run) == len(batch.a_s) for run in explained)
    unique, index = distinct(explained if whole else [])
    runs = patched_logits(model, clean, [mean, sae, without, *unique])
    names = batch.names.to(runs.device)
    differences = logit_difference(torch.cat([clean_logits[None], runs]), names[:, 0], names[:, 1])
    of_explained = differences[4:][index] if whole else differences.new_full((len(explained), len(names)), torch.nan)
    nats = divergence(runs[1:3], clean_logits).nats
    return torch.cat([differences[:4], of_explained, nats]).T.cpu(), torch.stack(parts, 1)


def _explained(at: SiteCodes, a: Tensor, f: Tensor) -> list[Tensor]:
    """Activations with the explained features kept, then removed, by threshold; none where nobody asked for them."""
    if at.explanations is None:
        return []
    directions, masks = at.decoder.directions, [at.explanations.explained(threshold) for threshold in THRESHOLDS]
    kept = [keep_explained(f, at.mean, directions, mask, at.train_mean) for mask in masks]
    return kept + [remove_explained(a, f, at.mean, directions, mask) for mask in masks]
