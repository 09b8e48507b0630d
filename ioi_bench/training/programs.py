"""Loss and gradients of each architecture, for all sites at once, written out by hand.

Everything lies in buffers that are allocated once. All parameters are views of one flat vector, so that the optimiser
is one operation whatever there is to train, and so are their gradients. ``encoder`` is ``W_enc`` with the bias as a
last row, to match the inputs ``[x − b_dec, 1]``: one product gives pre-activations, one the gradients of both.

The losses are those of `ioi_bench.dictionaries.architectures`. For one batch ``x`` of B prompts in the SAE's units,
with ``e = x̂ − x``, per site::

    ∂/∂x̂     = 2 e / B
    ∂/∂W_dec = fᵀ ∂/∂x̂
    ∂/∂f     = ∂/∂x̂ W_decᵀ + λ / B          where f > 0, otherwise 0
    ∂/∂W_enc = [x − b_dec, 1]ᵀ ∂/∂f
    ∂/∂b_dec = Σ_prompts ∂/∂x̂ − W_enc · Σ_prompts ∂/∂f

This is several times faster than autograd on a processor, and a test holds it equal to autograd.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ioi_bench.dictionaries.architectures import Architecture, architecture

__all__ = ["Figures", "GatedProgram", "Program", "ReluProgram", "TopKProgram", "program"]

# `grad` where `x` > `threshold`, otherwise 0: one pass, where a mask takes several
_where_above = torch.ops.aten.threshold_backward.grad_input


@dataclass(frozen=True)
class Figures:
    """Of one batch, per site: mean loss, mean squared error, number of active features, sum of each feature."""

    loss: Float[Tensor, " site"]
    error: Float[Tensor, " site"]
    active: Float[Tensor, " site"]
    feature_sums: Float[Tensor, "site d_sae"]


class Program:
    """Parameters, gradients and buffers of S dictionaries of one size; subclasses know the architecture."""

    extra: tuple[str, ...] = ()  # parameters [site, d_sae] beside encoder, decoder and b_dec
    dense_start: bool = True  # about half of the features are active at first
    bias: str = "b_enc"  # what the architecture calls the encoder's last row
    name: str

    def __init__(self, n_sites: int, d_in: int, d_sae: int, batch: int, lam: Float[Tensor, " site"]) -> None:
        shapes = {"encoder": (d_in + 1, d_sae), "decoder": (d_sae, d_in), "b_dec": (d_in,)}
        shapes |= dict.fromkeys(self.extra, (d_sae,))
        sizes = [n_sites * prod(shape) for shape in shapes.values()]
        self.flat, self.flat_gradient = torch.zeros(sum(sizes)), torch.zeros(sum(sizes))
        self.parameters, self.gradients = (
            {n: part.view(n_sites, *s) for (n, s), part in zip(shapes.items(), vector.split(sizes), strict=True)}
            for vector in (self.flat, self.flat_gradient)
        )
        self.batch, self.lam, self.d_in = batch, lam, d_in
        self._inputs = torch.ones(n_sites, batch, d_in + 1)
        self._f, self._g = torch.empty(n_sites, batch, d_sae), torch.empty(n_sites, batch, d_sae)
        self._e = torch.empty(n_sites, batch, d_in)

    def initialise(self, site: int, mean: Float[Tensor, " d_in"], generator: torch.Generator) -> None:
        """Random unit decoder rows, the encoder their transpose times a gain, ``b_dec`` the mean input, all else 0.

        Where half of the features are active at first, the gain ``2 d_in / d_sae`` (at most 1) makes ``x̂ ≈ x``: with 1,
        the reconstruction would overshoot by the inverse, and Adam's even steps would take long to undo that.
        """
        rows = torch.randn(self.parameters["decoder"].shape[1:], generator=generator)
        rows /= rows.norm(dim=1, keepdim=True)
        self.parameters["decoder"][site] = rows
        gain = min(1.0, 2 * self.d_in / len(rows)) if self.dense_start else 1.0
        self.parameters["encoder"][site, : self.d_in] = gain * rows.T
        self.parameters["b_dec"][site] = mean

    def backward(self, x: Float[Tensor, "site prompt d_in"]) -> Figures:
        """Fill `gradients` with those of this batch."""
        raise NotImplementedError

    def remove_parallel_gradient(self) -> None:
        """Drop the decoder gradient's part along each row, which the next `normalise` would undo."""
        rows, gradient = self.parameters["decoder"], self.gradients["decoder"]
        gradient -= (gradient * rows).sum(2, keepdim=True) * rows

    def normalise(self) -> None:
        """Make decoder rows unit norm."""
        rows = self.parameters["decoder"]
        rows /= rows.norm(dim=2, keepdim=True).clamp(min=1e-12)

    def export(self, site: int, scale: float) -> Architecture:
        """One site's weights, copied and frozen."""
        own = {name: tensor[site].clone() for name, tensor in self.parameters.items()}
        encoder = own.pop("encoder")
        tensors = {"W_enc": encoder[: self.d_in].clone(), self.bias: encoder[self.d_in].clone()}
        return architecture(self.name)(
            **tensors, W_dec=own.pop("decoder"), b_dec=own.pop("b_dec"), **own, scale=scale, **self._settings()
        )

    def _settings(self) -> dict[str, Any]:
        return {}

    def _centre(self, x: Float[Tensor, "site prompt d_in"]) -> Float[Tensor, "site prompt d_in"]:
        return torch.sub(x, self.parameters["b_dec"][:, None], out=self._inputs[..., : self.d_in])

    def _decode(self, centred: Float[Tensor, "site prompt d_in"]) -> tuple[Tensor, Tensor]:
        """``x̂ − x`` into the error buffer; its mean square, and the number of active features (which spends `_g`)."""
        torch.baddbmm(centred, self._f, self.parameters["decoder"], beta=-1, out=self._e)
        active = torch.sign(self._f, out=self._g).sum((1, 2))
        return self._e.square().sum((1, 2)) / self.batch, active

    def _decoder_gradient(self) -> None:
        """``∂/∂x̂`` in place of the error, ``∂/∂W_dec``, and the decoder's share of ``∂/∂b_dec``."""
        self._e *= 2 / self.batch
        torch.bmm(self._f.transpose(1, 2), self._e, out=self.gradients["decoder"])
        torch.sum(self._e, 1, out=self.gradients["b_dec"])

    def _encoder_gradient(self, outer: Float[Tensor, "site prompt d_sae"]) -> None:
        """From the gradient of pre-activations: ``∂/∂encoder``, and the encoder's share of ``∂/∂b_dec``."""
        torch.bmm(self._inputs.transpose(1, 2), outer, out=self.gradients["encoder"])
        weights, sums = self.parameters["encoder"][:, : self.d_in], self.gradients["encoder"][:, self.d_in]
        self.gradients["b_dec"] -= (weights @ sums[..., None])[..., 0]


class ReluProgram(Program):
    """The vanilla SAE."""

    name = "relu"

    def _activate(self) -> None:
        self._f.relu_()

    def backward(self, x: Float[Tensor, "site prompt d_in"]) -> Figures:
        """``‖x − x̂‖² + λ Σ f``."""
        centred = self._centre(x)
        torch.bmm(self._inputs, self.parameters["encoder"], out=self._f)
        self._activate()
        error, active = self._decode(centred)
        sums = self._f.sum(1)
        self._decoder_gradient()
        penalty = (self.lam / self.batch)[:, None, None]
        torch.baddbmm(penalty, self._e, self.parameters["decoder"].transpose(1, 2), out=self._g)
        _where_above(self._g, self._f, 0, grad_input=self._g)
        self._encoder_gradient(self._g)
        return Figures(error + self.lam * sums.sum(1) / self.batch, error, active, sums)


class TopKProgram(ReluProgram):
    """The vanilla SAE with only the k largest features kept (values equal to the k-th, hence rare, all stay); λ = 0."""

    name = "topk"
    dense_start = False

    def __init__(self, n_sites: int, d_in: int, d_sae: int, batch: int, lam: Float[Tensor, " site"], k: int) -> None:
        super().__init__(n_sites, d_in, d_sae, batch, lam)
        self.k = k

    def _settings(self) -> dict[str, Any]:
        return {"k": self.k}

    def _activate(self) -> None:
        self._f.relu_()
        place = self._f.shape[2] - self.k
        # NumPy's selection is vectorised; torch.topk costs five times as much from k = 6 on
        kth = torch.from_numpy(np.partition(self._f.numpy(), place, axis=2)[..., place : place + 1])
        torch.sub(self._f, kth, out=self._g)
        _where_above(self._f, self._g, -1e-30, grad_input=self._f)


class GatedProgram(Program):
    """The gated SAE.

    With ``π = u + b_gate`` (the one matrix product) and ``ρ = exp(r_mag)``, the magnitude before its ReLU is
    ``ρ u + b_mag = ρ π + (b_mag − ρ b_gate)``. The gate's step passes no gradient; π learns from the penalty and the
    auxiliary term, whose error is ``e' = ReLU(π) W_dec + b_dec − x`` with the decoder held fixed::

        ∂/∂π = (2 e' / B W_decᵀ + λ / B)  where π > 0        ∂/∂m = (2 e / B W_decᵀ)  where f > 0
        ∂/∂u = ∂/∂π + ρ ∂/∂m        ∂/∂r_mag = ρ Σ u ∂/∂m       ∂/∂b_mag = Σ ∂/∂m       ∂/∂b_gate = Σ ∂/∂π
    """

    name, bias = "gated", "b_gate"
    extra = ("r_mag", "b_mag")

    def __init__(self, n_sites: int, d_in: int, d_sae: int, batch: int, lam: Float[Tensor, " site"]) -> None:
        super().__init__(n_sites, d_in, d_sae, batch, lam)
        self._pi, self._g_pi = torch.empty_like(self._f), torch.empty_like(self._f)
        self._aux = torch.empty_like(self._e)

    def backward(self, x: Float[Tensor, "site prompt d_in"]) -> Figures:
        """``‖x − x̂‖² + λ Σ ReLU(π) + ‖x − ReLU(π) W_dec* − b_dec*‖²``."""
        centred, decoder = self._centre(x), self.parameters["decoder"]
        rho, b_gate = self.parameters["r_mag"].exp(), self.parameters["encoder"][:, self.d_in]
        shift = self.parameters["b_mag"] - rho * b_gate
        torch.bmm(self._inputs, self.parameters["encoder"], out=self._pi)
        torch.addcmul(shift[:, None], self._pi, rho[:, None], out=self._f)
        self._f.relu_()
        _where_above(self._f, self._pi, 0, grad_input=self._f)
        error, active = self._decode(centred)
        feature_sums = self._f.sum(1)
        self._decoder_gradient()

        torch.bmm(self._e, decoder.transpose(1, 2), out=self._g)
        _where_above(self._g, self._f, 0, grad_input=self._g)  # now ∂/∂m
        g_m = self._g.sum(1)
        self.gradients["b_mag"].copy_(g_m)
        torch.mul(self._pi, self._g, out=self._f)
        self.gradients["r_mag"].copy_(rho * (self._f.sum(1) - b_gate * g_m))

        self._pi.relu_()
        torch.baddbmm(centred, self._pi, decoder, beta=-1, out=self._aux)
        auxiliary, open_sums = self._aux.square().sum((1, 2)) / self.batch, self._pi.sum(1)
        self._aux *= 2 / self.batch
        torch.baddbmm((self.lam / self.batch)[:, None, None], self._aux, decoder.transpose(1, 2), out=self._g_pi)
        _where_above(self._g_pi, self._pi, 0, grad_input=self._g_pi)
        g_gate = self._g_pi.sum(1)
        self._g_pi.addcmul_(self._g, rho[:, None])  # now ∂/∂u
        self._encoder_gradient(self._g_pi)
        self.gradients["encoder"][:, self.d_in] = g_gate  # the bias is the gate's alone
        loss = error + self.lam * open_sums.sum(1) / self.batch + auxiliary
        return Figures(loss, error, active, feature_sums)


def program(
    name: str, n_sites: int, d_in: int, d_sae: int, batch: int, lam: Float[Tensor, " site"], k: int | None
) -> Program:
    """The program of a trainable architecture."""
    if name == "topk":
        assert k is not None
        return TopKProgram(n_sites, d_in, d_sae, batch, lam, k)
    return {"relu": ReluProgram, "gated": GatedProgram}[name](n_sites, d_in, d_sae, batch, lam)
