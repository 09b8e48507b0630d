"""What the programs of all variants share: parameters, gradients and buffers of many dictionaries of one size.

A *program* is a variant's loss and gradients, written out by hand for all members (dictionaries that are trained
together) at once. Everything lies in buffers that are allocated once. All parameters are views of one flat vector, so
that the optimiser is one operation whatever there is to train, and so are their gradients. ``encoder`` is ``W_enc``
with the bias as a last row, to match the inputs ``[x − b_dec, 1]``: one product gives pre-activations, one the
gradients of both.

For one batch ``x`` of B prompts in the SAE's units, with ``e = x̂ − x``, a member's gradients are::

    ∂/∂x̂     = 2 e / B
    ∂/∂W_dec = fᵀ ∂/∂x̂
    ∂/∂f     = ∂/∂x̂ W_decᵀ, and what the penalty adds
    ∂/∂W_enc = [x − b_dec, 1]ᵀ ∂/∂π        π the pre-activations; from ∂/∂f as the activation function says
    ∂/∂b_dec = Σ_prompts ∂/∂x̂ − W_enc · Σ_prompts ∂/∂π

This is several times faster than autograd on a processor, and tests hold every program equal to autograd.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ioi_bench.dictionaries.architectures import Architecture
from ioi_bench.errors import InputError

__all__ = ["Batch", "Figures", "Program", "where_above"]

# `grad` where `x` > `threshold`, otherwise 0: one pass, where a mask takes several
where_above = torch.ops.aten.threshold_backward.grad_input


@dataclass(frozen=True)
class Batch:
    """What a step is given: inputs in the SAEs' units, and what only some variants read.

    Attributes:
        x: one row a prompt.
        gradient: of the logit difference by ``x``, in the same order, scaled like ``x``: each member's so that their
            mean norm over the train prompts is √d_in; None where the variant does not ask for it.
        progress: the share of all steps that is done, from 0 to below 1.
    """

    x: Float[Tensor, "member prompt d_in"]
    gradient: Float[Tensor, "member prompt d_in"] | None = None
    progress: float = 0.0


@dataclass(frozen=True)
class Figures:
    """Of one batch, per member: mean loss, mean squared error, number of active features, sum of each |feature|."""

    loss: Float[Tensor, " member"]
    error: Float[Tensor, " member"]
    active: Float[Tensor, " member"]
    feature_sums: Float[Tensor, "member d_sae"]


class Program:
    """A variant: how many members of it learn together. Subclasses give `encode`, `backward` and `export`.

    Args:
        sparsity: of each member: the weight λ of its penalty, or its k.
        batch: prompts a step.
        device: where everything lies.
        half: whether matrix products take bfloat16 inputs; weights, sums and moments stay float32.
    """

    name: ClassVar[str]
    sparsity_is: ClassVar[str] = "lam"  # or "k", a whole number from 1 to d_sae
    initial: ClassVar[Mapping[str, float]] = MappingProxyType({})  # further parameters [d_sae], and their first value
    bias: ClassVar[str] = "b_enc"  # what the architecture calls the encoder's last row
    frozen: ClassVar[tuple[str, ...]] = ()  # what keeps its first values: "decoder", "W_enc"; its gradients stay 0
    dense_start: ClassVar[bool] = True  # about half of the features are active at first
    needs_gradient: ClassVar[bool] = False  # whether `Batch.gradient` is read

    def __init__(
        self,
        sparsity: Float[Tensor, " member"],
        d_in: int,
        d_sae: int,
        batch: int,
        *,
        device: str = "cpu",
        half: bool = False,
    ) -> None:
        members = len(sparsity)
        shapes = {"encoder": (d_in + 1, d_sae), "decoder": (d_sae, d_in), "b_dec": (d_in,)}
        shapes |= dict.fromkeys(self.initial, (d_sae,))
        sizes = [members * prod(shape) for shape in shapes.values()]
        self.flat, self.flat_gradient = (torch.zeros(sum(sizes), device=device) for _ in range(2))
        self.parameters, self.gradients = (
            {n: part.view(members, *s) for (n, s), part in zip(shapes.items(), vector.split(sizes), strict=True)}
            for vector in (self.flat, self.flat_gradient)
        )
        self.batch, self.sparsity, self.d_in, self.half = batch, sparsity.to(device), d_in, half
        self.state: dict[str, Tensor] = {}  # what else a step leaves to the next one, [member]: checkpoints keep it
        self._inputs = torch.ones(members, batch, d_in + 1, device=device)
        self._f, self._g = (torch.empty(members, batch, d_sae, device=device) for _ in range(2))
        self._e = torch.empty(members, batch, d_in, device=device)

    @classmethod
    def check(cls, sparsity: float, d_sae: int) -> None:
        """Whether a member may have this sparsity.

        Raises:
            InputError: it may not.
        """
        if cls.sparsity_is == "k" and not (1 <= sparsity <= d_sae and sparsity == int(sparsity)):
            raise InputError(f"{cls.name}: k is {sparsity:g}, expected a whole number from 1 to d_sae = {d_sae}")
        if cls.sparsity_is == "lam" and not 0 <= sparsity < float("inf"):
            raise InputError(f"{cls.name}: λ is {sparsity}, expected a number of at least 0")

    def initialise(self, member: int, mean: Float[Tensor, " d_in"], generator: torch.Generator) -> None:
        """Random unit decoder rows, the encoder their transpose times a gain, ``b_dec`` the mean input, all else 0.

        Where half of the features are active at first, the gain ``2 d_in / d_sae`` (at most 1) makes ``x̂ ≈ x``: with 1,
        the reconstruction would overshoot by the inverse, and Adam's even steps would take long to undo that.
        """
        rows = torch.randn(self.parameters["decoder"].shape[1:], generator=generator).to(mean.device)
        rows /= rows.norm(dim=1, keepdim=True)
        self.parameters["decoder"][member] = rows
        gain = min(1.0, 2 * self.d_in / len(rows)) if self.dense_start else 1.0
        self.parameters["encoder"][member, : self.d_in] = gain * rows.T
        self.parameters["b_dec"][member] = mean
        for name, value in self.initial.items():
            self.parameters[name][member] = value

    # -- what a variant gives --------------------------------------------------------------------------------------

    def encode(self) -> None:
        """Features of the inputs in `_inputs`, into `_f`."""
        raise NotImplementedError

    def backward(self, batch: Batch) -> Figures:
        """Fill `gradients` with those of this batch."""
        raise NotImplementedError

    @classmethod
    def export(cls, weights: Mapping[str, Tensor], sparsity: float, scale: float) -> Architecture:
        """One member's frozen dictionary, from its parameters."""
        raise NotImplementedError

    # -- parts that variants share -----------------------------------------------------------------------------------

    def reconstruct(self, x: Float[Tensor, "member prompt d_in"]) -> Float[Tensor, "member prompt d_in"]:
        """``x̂ − x``, in a buffer; features are in `_f` then."""
        centred = torch.sub(x, self.parameters["b_dec"][:, None], out=self._inputs[..., : self.d_in])
        self.encode()
        return self._product(self._f, self.parameters["decoder"], self._e, minus=centred)

    def remove_parallel_gradient(self) -> None:
        """Drop the decoder gradient's part along each row, which the next `normalise` would undo."""
        if "decoder" in self.frozen:
            return
        rows, gradient = self.parameters["decoder"], self.gradients["decoder"]
        gradient -= (gradient * rows).sum(2, keepdim=True) * rows

    def normalise(self) -> None:
        """Make decoder rows unit norm; a frozen decoder has them from the start, and keeps its very bits."""
        if "decoder" in self.frozen:
            return
        rows = self.parameters["decoder"]
        rows /= rows.norm(dim=2, keepdim=True).clamp(min=1e-12)

    @classmethod
    def tensors(cls, weights: Mapping[str, Tensor]) -> dict[str, Any]:
        """A member's parameters under their architecture's names, copied."""
        own = {name: tensor.detach().cpu().clone() for name, tensor in weights.items()}
        encoder = own.pop("encoder")
        return {"W_enc": encoder[:-1].clone(), cls.bias: encoder[-1].clone(), "W_dec": own.pop("decoder"), **own}

    def _product(self, a: Tensor, b: Tensor, out: Tensor, minus: Tensor | None = None, plus: Any = None) -> Tensor:
        """``a @ b``, less or plus something, into ``out``."""
        if self.half:
            out.copy_(torch.bmm(a.bfloat16(), b.bfloat16()))
            if minus is not None:
                out.sub_(minus)
            return out if plus is None else out.add_(plus)
        if minus is not None:
            return torch.baddbmm(minus, a, b, beta=-1, out=out)
        return torch.bmm(a, b, out=out) if plus is None else torch.baddbmm(plus, a, b, out=out)

    def _pre_activations(self, out: Tensor) -> Tensor:
        return self._product(self._inputs, self.parameters["encoder"], out)

    def _count(self) -> Float[Tensor, " member"]:
        """How many features are active in the batch; spends `_g`."""
        return torch.sign(self._f, out=self._g).sum((1, 2))

    def _decoder_gradient(self) -> Float[Tensor, " member"]:
        """Mean ``‖e‖²``; ``∂/∂x̂`` in place of the error, ``∂/∂W_dec``, the decoder's share of ``∂/∂b_dec``."""
        error = self._e.square().sum((1, 2)) / self.batch
        self._e *= 2 / self.batch
        if "decoder" not in self.frozen:
            self._product(self._f.transpose(1, 2), self._e, self.gradients["decoder"])
        torch.sum(self._e, 1, out=self.gradients["b_dec"])
        return error

    def _feature_gradient(self, penalty: Any = None) -> Float[Tensor, "member prompt d_sae"]:
        """``∂/∂f`` of the squared error, and of a penalty (broadcast), into `_g`."""
        return self._product(self._e, self.parameters["decoder"].transpose(1, 2), self._g, plus=penalty)

    def _encoder_gradient(self, outer: Float[Tensor, "member prompt d_sae"]) -> None:
        """From ``∂/∂π``: that of the encoder, and the encoder's share of ``∂/∂b_dec``."""
        weights, sums = self.parameters["encoder"][:, : self.d_in], self.gradients["encoder"][:, self.d_in]
        if "W_enc" in self.frozen:
            torch.sum(outer, 1, out=sums)
        else:
            self._product(self._inputs.transpose(1, 2), outer, self.gradients["encoder"])
        self.gradients["b_dec"] -= (weights @ sums[..., None])[..., 0]
