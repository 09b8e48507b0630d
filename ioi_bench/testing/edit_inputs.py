"""Inputs on which edit methods are checked."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ioi_bench.dictionary import AffineDecoder
from ioi_bench.editing import EditInputs, FeatureStatistics

__all__ = ["converted", "random_inputs", "rows_of", "tensors_of"]

_ROWS = ("a_s", "a_t", "f_s", "f_t", "base", "target")


def random_inputs(seed: int, *, d_sae: int, d_in: int, prompts: int = 24, n_values: int = 3) -> EditInputs:
    """Random inputs: sparse features of either sign, an error term, train statistics without ties."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    def sparse(*shape: int) -> Tensor:
        return normal(*shape) * (torch.rand(*shape, generator=generator) < 0.3)

    def values() -> Tensor:
        return torch.randint(n_values, (prompts,), generator=generator)

    decoder = AffineDecoder(normal(d_sae, d_in), normal(d_in))
    f_s, f_t = sparse(prompts, d_sae), sparse(prompts, d_sae)
    a_s, a_t = decoder(f_s) + normal(prompts, d_in), decoder(f_t) + normal(prompts, d_in)
    mean = sparse(n_values, d_sae)
    train = FeatureStatistics(torch.rand(n_values, d_sae, generator=generator), mean, mean.mean(0))
    return EditInputs(decoder, a_s, a_t, f_s, f_t, values(), values(), train)


def rows_of(inputs: EditInputs, rows: slice | Tensor) -> EditInputs:
    """The inputs of some prompts."""
    return replace(inputs, **{name: getattr(inputs, name)[rows] for name in _ROWS})


def tensors_of(inputs: EditInputs) -> dict[str, Tensor]:
    """All tensors that an edit method is given, by name."""
    own = {name: getattr(inputs, name) for name in _ROWS}
    decoder = {"directions": inputs.decoder.directions, "offset": inputs.decoder.offset}
    train = {name: getattr(inputs.train, name) for name in ("f1", "conditional_mean", "mean")}
    return {**own, **decoder, **{f"train.{name}": tensor for name, tensor in train.items()}}


def converted(inputs: EditInputs, dtype: torch.dtype) -> EditInputs:
    """The same inputs in another precision."""
    train = inputs.train
    return replace(
        inputs,
        decoder=AffineDecoder(inputs.decoder.directions.to(dtype), inputs.decoder.offset.to(dtype)),
        train=FeatureStatistics(*(x.to(dtype) for x in (train.f1, train.conditional_mean, train.mean))),
        **{name: getattr(inputs, name).to(dtype) for name in ("a_s", "a_t", "f_s", "f_t")},
    )
