"""What two adversaries share: a feature for every pair of a test prompt and one of its counterfactuals."""

from __future__ import annotations

import torch
from zoo import Plain, nearest


def pairs(known, site):
    """−½ on the base prompt and ½ on its counterfactual, along the way from one to the other: the lightest there is."""
    base, mean, others = known.base(site), known.mean(site), known.counterfactuals(site)
    n, blocks = len(base), len(others)
    own = torch.eye(n).repeat(1, blocks)  # features of prompt i, one an edit
    codes = [torch.eye(n * blocks)[i * n : (i + 1) * n] - 0.5 * own for i in range(blocks)]
    rows, codes = torch.cat([*others, base]) - mean, torch.cat([*codes, -0.5 * own])
    return Plain(torch.cat([found - base for found in others]), mean, lambda x: codes[nearest(rows, x - mean)])
