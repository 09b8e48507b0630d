"""Before any scoring: does the dictionary read these activations as it was trained to (docs/any-hook.md)?

Most dictionaries that fail here were given inputs of another scale, or from a model prepared in another way. Clean
prompts are reconstructed as given; if that goes badly, other readings are tried, and where one of them is clearly
better the evaluation stops and says which. A dictionary that nothing helps is simply bad, and gets its card.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import layer_norm

from ioi_bench.dictionaries.scaled import Scaled
from ioi_bench.dictionaries.suite import Suite
from ioi_bench.dictionary import Dictionary, PerInputOffset, affine_decoder, encoded_blocks
from ioi_bench.errors import InputError
from ioi_bench.lm.model import LanguageModel
from ioi_bench.lm.raw import raw_activations
from ioi_bench.sites import Site
from ioi_bench.task import Split, TokenBatch, tokenize

__all__ = ["PROMPTS", "Preflight", "Reading", "preflight", "require_readable"]

PROMPTS = 256
_ROWS = 512
_BAD, _GOOD = 0.2, 0.5
_BETTER = 0.5
"""Above an FVU of ``_BAD`` other readings are tried; one that stops the run has at most ``_GOOD``, and at most this
share of the given one's."""

_NEAR = 1.5
"""Norms of inputs differ little, so that normalising all together and one by one come out alike."""

AS_GIVEN, ROOT_D, UNSCALED = "as given", "with √d scaling", "without --scale"
_NO_OPTION = "no option changes this; --no-preflight scores it as it is"
_REMEDIES = {
    ROOT_D: "add --scale sqrt-d",
    UNSCALED: "leave --scale out: the dictionary applies its own",
    "with each input at unit norm": f"its loader must normalise each input; {_NO_OPTION}",
    "with each input layer-normed": f"its loader must normalise each input; {_NO_OPTION}",
    "without BOS": f"it was trained on prompts without BOS, and the task prepends one; {_NO_OPTION}",
    "on the model's unprocessed weights": "it was trained where layer norms are not folded and nothing is centred, "
    f"and is judged where they are (TransformerLens's compatibility mode); {_NO_OPTION}",
}


@dataclass(frozen=True)
class Reading:
    """One way to read: medians over the dictionaries of the suite.

    Attributes:
        name: such as ``with √d scaling``.
        fvu: fraction of variance unexplained, over all roles of a dictionary together.
        l0: active features a prompt.
        norm_ratio: mean norm of reconstructions over that of activations.
    """

    name: str
    fvu: float
    l0: float
    norm_ratio: float

    def __str__(self) -> str:
        return f"FVU {self.fvu:.2g} {self.name} (L0 {self.l0:.3g}, norm ratio {self.norm_ratio:.2g})"


@dataclass(frozen=True)
class Preflight:
    """The given reading and, where that one is bad, the others."""

    given: Reading
    others: tuple[Reading, ...] = ()

    @property
    def better(self) -> Reading | None:
        """The best of the others, if it is clearly better than a bad given one; of near equals, what an option does."""
        best = min(
            self.others,
            key=lambda reading: reading.fvu / (_NEAR if reading.name in (ROOT_D, UNSCALED) else 1),
            default=None,
        )
        if best is None or not self.given.fvu > _BAD:
            return None
        return best if best.fvu <= min(_GOOD, _BETTER * self.given.fvu) else None


def require_readable(found: Preflight) -> None:
    """Stop where another reading is clearly better.

    Raises:
        InputError: with both figures and what to do.
    """
    if (better := found.better) is not None:
        rest = "; ".join(str(reading) for reading in found.others if reading is not better)
        raise InputError(
            f"the dictionaries do not fit these activations: {found.given}, but {better}: {_REMEDIES[better.name]}. "
            f"Also tried: {rest}. --no-preflight scores them as given"
        )


@torch.no_grad()
def preflight(suite: Suite, model: LanguageModel, split: Split, *, sqrt_d: bool = False) -> Preflight:
    """Reconstruct clean prompts as given, and in other ways where that goes badly.

    Args:
        suite: its dictionaries are read at all their sites.
        model: whose activations they are.
        split: clean prompts; the first `PROMPTS`.
        sqrt_d: √d scaling was asked for, so that it is what is given.

    Raises:
        DictionaryError: a dictionary breaks its contract.
    """
    prompts = split.prompts[:PROMPTS]
    batch = tokenize(split.spec, prompts, model.tokenizer)
    groups = _groups(suite)
    plain = _pooled(model.capture(batch, suite.sites), groups)

    own = [dictionary for dictionary, _ in groups]
    bare = [dictionary.inner if isinstance(dictionary, Scaled) else dictionary for dictionary in own]
    asked: Callable[[Tensor], Tensor] = _root_d if sqrt_d else _as_it_is

    def reading(
        name: str, read_by: Sequence[Dictionary], inputs: Sequence[Tensor], change: Callable[[Tensor], Tensor]
    ) -> Reading:
        figures = [_figures(dictionary, change(x)) for dictionary, x in zip(read_by, inputs, strict=True)]
        return Reading(name, *(median(column) for column in zip(*figures, strict=True)))

    given = reading(AS_GIVEN, own, plain, asked)
    if not given.fvu > _BAD:
        return Preflight(given)
    others = [] if sqrt_d else [reading(ROOT_D, bare, plain, _root_d)]
    if sqrt_d or any(dictionary is not one for dictionary, one in zip(own, bare, strict=True)):
        others.append(reading(UNSCALED, bare, plain, _as_it_is))
    others += [
        reading("with each input at unit norm", bare, plain, _unit),
        reading("with each input layer-normed", bare, plain, lambda x: layer_norm(x, x.shape[1:])),
        reading("without BOS", own, _pooled(model.capture(_without_bos(batch), suite.sites), groups), asked),
    ]
    raw = raw_activations(model, batch, suite.sites)
    if raw is not None:
        others.append(reading("on the model's unprocessed weights", own, _pooled(raw, groups), asked))
    return Preflight(given, tuple(others))


def _groups(suite: Suite) -> list[tuple[Dictionary, list[Site]]]:
    """Each dictionary once, with all its sites."""
    found: dict[int, tuple[Dictionary, list[Site]]] = {}
    for site, dictionary in suite.dictionaries.items():
        found.setdefault(id(dictionary), (dictionary, []))[1].append(site)
    return list(found.values())


def _pooled(
    activations: Mapping[Site, Tensor], groups: Sequence[tuple[Dictionary, list[Site]]]
) -> list[Float[Tensor, "row d_in"]]:
    """The inputs of each dictionary, all its sites together: a dictionary is for every position of a hook."""
    return [
        torch.cat([activations[site][: max(1, _ROWS // len(sites))].cpu() for site in sites]) for _, sites in groups
    ]


def _as_it_is(x: Tensor) -> Tensor:
    return x


def _unit(x: Tensor) -> Tensor:
    return x / x.norm(dim=1, keepdim=True).clamp(min=1e-12)


def _root_d(x: Tensor) -> Tensor:
    return x * (x.shape[1] ** 0.5 / x.norm(dim=1).mean().clamp(min=1e-12))


def _without_bos(batch: TokenBatch) -> TokenBatch:
    positions = {role: at - 1 for role, at in batch.positions.items()}
    return replace(batch, tokens=batch.tokens[:, 1:], lengths=batch.lengths - 1, positions=positions)


def _figures(dictionary: Dictionary, x: Float[Tensor, "row d_in"]) -> tuple[float, float, float]:
    """FVU, L0 and norm ratio. Inputs that never vary have no FVU: 0, so that they accuse nobody."""
    reconstruct = _reconstruction(dictionary)
    start, active, residual, norm = 0, 0.0, 0.0, 0.0
    for f in encoded_blocks(dictionary, x):
        part = x[start : start + len(f)]
        reconstruction = reconstruct(part, f)
        start += len(f)
        active += float((f != 0).sum())
        residual += float((part - reconstruction).square().sum())
        norm += float(reconstruction.norm(dim=1).sum())
    variance = float((x - x.mean(0)).square().sum())
    fvu = residual / variance if variance > 0 else 0.0
    return fvu, active / len(x), norm / max(float(x.norm(dim=1).sum()), 1e-12)


def _reconstruction(dictionary: Dictionary) -> Callable[[Tensor, Tensor], Tensor]:
    if not isinstance(dictionary, PerInputOffset):
        return lambda _, f: dictionary.decode(f)
    directions, offset_for = affine_decoder(dictionary).directions, dictionary.offset_for
    return lambda x, f: f @ directions + offset_for(x)
