"""A residual-stream dictionary at the inputs of a head: its decoder through the head's own maps (docs/any-hook.md).

After the idea of SAGE (arXiv 2410.07456), which published no code; the form is ours. A head reads
``q = x̃ W_q + b_q`` (k and v likewise) with ``x̃ = C x / σ(x)``: C takes out the mean over dimensions, and
``σ(x)² = mean((C x)²) + ε``; the layer norm's own weights are folded into W. With ``x̂ = Σ f_j(x) d_j + b``::

    q̂ = Σ_j (f_j(x) / σ(x)) · (d_j C W_q)  +  (b C W_q) / σ(x) + b_q

The only nonlinear part of a layer norm is σ. It is held at the **prompt's own** value: a feature keeps its direction on
all prompts, ``d_j C W_q``, and carries 1/σ(x) in its value. So q̂ − q is exactly the projection of x̂ − x, and a perfect
dictionary of the stream gives the very q, k, v. Removing a feature does not change σ, as in direct logit attribution
(an edit of the stream itself would; a feature's share of σ is small, and this is the approximation).

Offered: q, k and v of the heads of layer L, from a dictionary at ``resid_pre`` of L, at the same role. Not offered: z,
which mixes the values of all positions by an attention pattern; that would need a dictionary's features at every
position and the pattern held fixed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from ioi_bench.dictionaries.codes import SupervisedCodes
from ioi_bench.dictionaries.suite_content import Suite
from ioi_bench.dictionary import AffineDecoder, Dictionary, PerInputOffset, affine_decoder
from ioi_bench.errors import InputError, SuiteError
from ioi_bench.lm.forward import GPT2Weights
from ioi_bench.sites import Site

__all__ = ["CrossSite", "HeadInput", "head_input", "project_codes", "project_suite", "source_of"]

_READ = ("q", "k", "v")


@dataclass(frozen=True, eq=False)
class HeadInput:
    """The affine map from a normalised stream to q, k or v of a head."""

    weight: Float[Tensor, "d_model d_head"]
    bias: Float[Tensor, " d_head"]
    eps: float

    def scale(self, x: Float[Tensor, "prompt d_model"]) -> Float[Tensor, "prompt 1"]:
        """The layer norm's σ of each prompt."""
        return (x.var(1, unbiased=False, keepdim=True) + self.eps).sqrt()

    def project(self, rows: Float[Tensor, "row d_model"]) -> Float[Tensor, "row d_head"]:
        """``rows C W``: without scale and bias."""
        return (rows - rows.mean(1, keepdim=True)) @ self.weight


def head_input(weights: GPT2Weights, site: Site) -> HeadInput:
    """The map into a site that is q, k or v of one head.

    Raises:
        InputError: the site is something else.
    """
    if site.component not in _READ or site.head is None:
        raise InputError(f"{site} is not q, k or v of one head: only these are linear in the normalised stream")
    layer, width = weights.layers[site.layer], weights.d_head
    start = site.head * width + (layer.w_q.shape[1] if site.component == "v" else 0)
    weight, bias = (layer.w_q, layer.b_q) if site.component == "q" else (layer.w_kv, layer.b_kv)
    part = slice(start, start + width)
    return HeadInput(weight[:, part].cpu(), bias[part].cpu(), weights.eps)


@dataclass(frozen=True, eq=False)
class CrossSite:
    """The projected dictionary: it reads the stream (``d_read`` wide) and writes q, k or v (``d_in`` wide).

    Attributes:
        inner: the dictionary of the stream.
        inner_offset: its offset.
        head: the map.
        directions: ``d_j C W``.
    """

    inner: Dictionary
    inner_offset: Float[Tensor, " d_model"]
    head: HeadInput
    directions: Float[Tensor, "d_sae d_head"]

    @property
    def d_read(self) -> int:
        """Width of the stream."""
        return self.inner.d_in

    @property
    def d_in(self) -> int:
        """Width of the head."""
        return self.directions.shape[1]

    @property
    def d_sae(self) -> int:
        """Number of features."""
        return self.inner.d_sae

    @property
    def offset(self) -> Float[Tensor, " d_head"]:
        """The head's bias: what is left of the offset without any input."""
        return self.head.bias

    def encode(self, x: Float[Tensor, "prompt d_model"]) -> Float[Tensor, "prompt d_sae"]:
        """``f(x) / σ(x)``."""
        return self.inner.encode(x) / self.head.scale(x)

    def decode(self, f: Float[Tensor, "prompt d_sae"]) -> Float[Tensor, "prompt d_head"]:
        """``f @ directions`` and the head's bias; what depends on the input is in `offset_for`."""
        return f @ self.directions + self.head.bias

    def offset_for(self, x: Float[Tensor, "prompt d_model"]) -> Float[Tensor, "prompt d_head"]:
        """``(b C W) / σ(x)`` and the head's bias."""
        inner = self.inner
        offset = inner.offset_for(x) if isinstance(inner, PerInputOffset) else self.inner_offset[None]
        return self.head.project(offset) / self.head.scale(x) + self.head.bias


def source_of(site: Site, sites: Iterable[Site]) -> Site | None:
    """Which of some sites is the stream that a head's q, k or v is computed from: ``resid_pre`` of its layer.

    The end of the layer below is the same vector.

    >>> source_of(Site.parse("q.9.6@end"), [Site.parse("resid_post.8@end")])
    Site(component='resid_post', layer=8, head=None, role=<Role.END: 'end'>)
    """
    if site.component not in _READ or site.head is None:
        return None
    have = set(sites)
    same = (Site("resid_pre", site.layer, None, site.role), Site("resid_post", site.layer - 1, None, site.role))
    return next((place for place in same if place in have), None)


@torch.no_grad()
def project_suite(suite: Suite, weights: GPT2Weights, sites: Iterable[Site]) -> tuple[Suite, dict[Site, Site]]:
    """The suite's stream dictionaries at all of these sites that they can be projected to, and where each reads.

    Raises:
        SuiteError: at none.
    """
    sources: dict[Site, Site] = {}
    for site in sites:
        source = source_of(site, suite.sites)
        if source is not None:
            sources[site] = source
    if not sources:
        raise SuiteError(
            f"suite {suite.name!r} has no dictionary of the stream before a layer whose heads' q, k or v are in the "
            "circuit: --cross-site needs resid_pre of such a layer (or resid_post of the one below), and nothing else "
            "is projected"
        )
    decoders: dict[int, AffineDecoder] = {}
    made: dict[Site, Dictionary] = {}
    for site, source in sources.items():
        inner = suite.dictionaries[source]
        if id(inner) not in decoders:
            decoders[id(inner)] = affine_decoder(inner)
        decoder = decoders[id(inner)]
        head = head_input(weights, site)
        made[site] = CrossSite(inner, decoder.offset, head, head.project(decoder.directions))
    return replace(suite, dictionaries=made), sources


def project_codes(
    codes: Mapping[Site, SupervisedCodes],
    weights: GPT2Weights,
    at: Mapping[Site, SupervisedCodes],
    stream: Mapping[Site, Float[Tensor, "prompt d_model"]],
) -> dict[Site, SupervisedCodes]:
    """Supervised codes of the stream, projected to q, k and v: the check of the method on the skyline itself.

    An oracle's features are 1 on every prompt, so that σ cannot go into them: its train mean stands in,
    ``u C W · E[1/σ]``.

    Args:
        codes: fitted at the stream.
        weights: the model's.
        at: fitted at the heads' sites; their means stay. Sites without a source are left out.
        stream: train activations of the stream.
    """
    made = {}
    for site, own in at.items():
        source = source_of(site, codes)
        if source is not None:
            head = head_input(weights, site)
            inverse = (1 / head.scale(stream[source])).mean()
            made[site] = replace(own, codes=head.project(codes[source].codes) * inverse)
    return made
