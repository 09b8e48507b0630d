"""Parts of adversaries that say nothing at some sites, or in some prompts."""

from __future__ import annotations

import torch
from zoo import Plain


def silent(known, site):
    """One feature that is never active."""
    mean = known.mean(site)
    return Plain(torch.ones(1, len(mean)), mean, lambda x: torch.zeros(len(x), 1))


def half_of_the_names(known, site):
    """1 in prompts whose S name is in the first half, as a linear discriminant of train's labels reads it, else 0."""
    x, s = known.train(site), known.inputs.train.values["s"]
    names, index = s.unique(return_inverse=True)
    means = torch.stack([x[index == i].mean(0) for i in range(len(names))])
    within = x - means[index]
    spread = within.T @ within / len(x)
    spread += 1e-3 * spread.diagonal().mean() * torch.eye(len(spread))
    weights = torch.linalg.solve(spread, means.T)
    offset = 0.5 * (means * weights.T).sum(1)
    return lambda x: ((x @ weights - offset).argmax(1) < len(names) // 2).float()[:, None]
