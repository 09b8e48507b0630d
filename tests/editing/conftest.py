from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ioi_bench.dictionary import AffineDecoder
from ioi_bench.editing import EditInputs, FeatureStatistics


def make_inputs(
    seed: int = 0,
    *,
    prompts: int = 5,
    d_sae: int = 12,
    d_in: int = 4,
    n_values: int = 3,
    density: float = 0.5,
    whole: bool = False,
    negative: bool = True,
    duplicates: bool = True,
    dtype: torch.dtype = torch.float64,
) -> EditInputs:
    """Random inputs. ``whole`` numbers make ties exact; duplicates are pairs of identical features."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        drawn = torch.randn(*shape, generator=generator, dtype=torch.float64)
        return (2 * drawn).round() if whole else drawn

    def below(limit: int, *shape: int) -> Tensor:
        return torch.randint(limit, shape, generator=generator)

    def features() -> Tensor:
        drawn = normal(prompts, d_sae) * (torch.rand(prompts, d_sae, generator=generator) < density)
        return drawn if negative else drawn.abs()

    directions, f_s, f_t = normal(d_sae, d_in), features(), features()
    same = below(4, d_sae) == 0  # some features that the counterfactual leaves alone
    f_t[:, same] = f_s[:, same]
    if duplicates and d_sae > 1:
        for _ in range(d_sae // 3):
            first, second = below(d_sae, 2).tolist()
            for table in (directions.T, f_s, f_t):
                table[:, second] = table[:, first]
        directions[int(below(d_sae, 1))] = 0
    a_s = f_s @ directions + (normal(prompts, d_in) if seed % 2 else 0)
    a_t = f_t @ directions + (normal(prompts, d_in) if seed % 3 else 0)
    f1 = torch.tensor([0, 0.25, 0.5, 1, float("nan")], dtype=torch.float64)[below(5, n_values, d_sae)]
    mean = normal(n_values, d_sae) * (torch.rand(n_values, d_sae, generator=generator) < 0.7)
    a_s, a_t, f_s, f_t, directions, f1, mean = (x.to(dtype) for x in (a_s, a_t, f_s, f_t, directions, f1, mean))
    return EditInputs(
        AffineDecoder(directions, torch.zeros(d_in, dtype=dtype)),
        a_s,
        a_t,
        f_s,
        f_t,
        below(n_values, prompts),
        below(n_values, prompts),
        FeatureStatistics(f1, mean, mean.mean(0)),
    )


@pytest.fixture
def inputs_of() -> Callable[..., EditInputs]:
    return make_inputs
