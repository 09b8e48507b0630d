"""Which sites carry which attribute: every head, component and role is patched with each counterfactual.

Activation patching as in Wang et al. 2023 (arXiv 2211.00593, §3) and Makelov et al. 2024: one site a run, the value
taken from the counterfactual prompt at the same role. Nothing about the model's circuit is assumed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ioi_bench.errors import InputError
from ioi_bench.lm.patching import clean_run, patched_logits
from ioi_bench.sites import ATTRIBUTES, HEAD_COMPONENTS, CrossSection, Role, Site
from ioi_bench.task import Split, name_tokens, tokenize

if TYPE_CHECKING:
    import pandas as pd

    from ioi_bench.lm.model import LanguageModel

__all__ = ["Discovery", "discover", "find_cross_sections"]

_COMPONENTS = ("q", "k", "v", "z", "attn_out", "mlp_out")
_LOGITS_AT_ONCE = 2**25  # 128 MB


@dataclass(frozen=True)
class Discovery:
    """What patching each site alone did, means over prompts.

    Attributes:
        effect: fall of the logit difference (IO − S, the base prompt's names) over its clean mean: 0 nothing, 1 the
            preference is gone, 2 it is reversed; below 0 it grew. Relative to the clean run, not to the
            counterfactual one: a whole prompt with ``pos`` changed has the same answer.
        flipped: share of prompts whose argmax changed.
        whole_effect, whole_flipped: the same for the counterfactual prompt itself, all sites changed.
    """

    model: str
    n_prompts: int
    clean_difference: float
    attributes: tuple[str, ...]
    sites: tuple[Site, ...]
    effect: Float[Tensor, "attribute site"]
    flipped: Float[Tensor, "attribute site"]
    whole_effect: Float[Tensor, " attribute"]
    whole_flipped: Float[Tensor, " attribute"]

    def to_frame(self) -> pd.DataFrame:
        """Tidy: one row per attribute and site."""
        import pandas as pd

        rows = [
            {
                "attribute": attribute,
                "site": str(site),
                "component": site.component,
                "layer": site.layer,
                "head": site.head,
                "role": str(site.role),
                "effect": self.effect[a, i].item(),
                "flipped": self.flipped[a, i].item(),
            }
            for a, attribute in enumerate(self.attributes)
            for i, site in enumerate(self.sites)
        ]
        return pd.DataFrame(rows).astype({"head": "Int64"})


def discover(
    model: LanguageModel,
    split: Split,
    *,
    attributes: Sequence[str] = ATTRIBUTES,
    components: Sequence[str] = _COMPONENTS,
    batch_size: int = 32,
    progress: Callable[[int, int], None] | None = None,
) -> Discovery:
    """Patch every site alone with every counterfactual of a split's prompts.

    Every head of ``q k v z`` and every other component, at every layer and role: seconds for ioi-mini, minutes a prompt
    for GPT-2 small on one core (take ``split.head(n)``).

    Args:
        model: the model.
        split: prompts with their counterfactuals; half of them with either name first.
        attributes: which counterfactuals.
        components: where to patch.
        batch_size: prompts at once.
        progress: called with (groups of sites patched, in all).

    Raises:
        UnknownNameError: a component or an attribute that does not exist.
        InputError: the model gives IO and S the same logit, so that there is nothing to trace.
    """
    blocks = [Site(c, layer, None, role) for layer in range(model.n_layers) for c in components for role in Role]
    sites = tuple(member for block in blocks for member in _members(model, block))
    starts = range(0, len(split), batch_size)
    total = _Sums(*(torch.zeros(len(attributes), len(sites) + 1) for _ in range(2)))  # the last: the whole prompt
    difference = 0.0
    for index, start in enumerate(starts):
        part = _Part(model, split, attributes, blocks, slice(start, start + batch_size))
        found = [part.whole()]
        for done, block in enumerate(blocks, start=1):
            found.insert(-1, part.patched(block))
            if progress is not None:
                progress(index * len(blocks) + done, len(starts) * len(blocks))
        total = _Sums(*(a + torch.cat(b, dim=1) for a, b in zip(total, zip(*found, strict=True), strict=True)))
        difference += part.difference.sum().item()
    if difference == 0:
        raise InputError(f"{model.name} gives IO and S the same logit: there is nothing to trace")
    effect, flipped = total.fall / abs(difference), total.flips / len(split)
    return Discovery(
        model=model.name,
        n_prompts=len(split),
        clean_difference=difference / len(split),
        attributes=tuple(attributes),
        sites=sites,
        effect=effect[:, :-1],
        flipped=flipped[:, :-1],
        whole_effect=effect[:, -1],
        whole_flipped=flipped[:, -1],
    )


def find_cross_sections(found: Discovery, threshold: float = 0.1) -> dict[str, tuple[CrossSection, ...]]:
    """Per attribute, the heads' sites with ``|effect| ≥ threshold``, joined by component and role.

    Cross-sections come strongest first, by the sum of their sites' effects, and so do the sites in them.
    """
    proposed = {}
    for a, attribute in enumerate(found.attributes):
        strength = dict(zip(found.sites, found.effect[a].abs().tolist(), strict=True))
        groups: dict[str, list[Site]] = {}
        for site in sorted(strength, key=lambda site: -strength[site]):
            if site.head is not None and strength[site] >= threshold:
                groups.setdefault(f"{site.component}@{site.role}", []).append(site)
        ordered = sorted(groups, key=lambda name: -sum(strength[site] for site in groups[name]))
        proposed[attribute] = tuple(CrossSection(name, tuple(groups[name])) for name in ordered)
    return proposed


def _members(model: LanguageModel, block: Site) -> list[Site]:
    """The sites that a block of all heads holds; a component without heads is its own."""
    if block.component not in HEAD_COMPONENTS:
        return [block]
    return [replace(block, head=head) for head in range(model.n_heads)]


class _Sums(NamedTuple):
    """Sums over prompts: the fall of the logit difference, and changes of the argmax."""

    fall: Float[Tensor, "attribute site"]
    flips: Float[Tensor, "attribute site"]


class _Part:
    """Some prompts of a split: the clean run, and activations of the prompts and of their counterfactuals."""

    def __init__(
        self, model: LanguageModel, split: Split, attributes: Sequence[str], blocks: Sequence[Site], rows: slice
    ) -> None:
        spec, prompts = split.spec, split.prompts[rows]
        batch = tokenize(spec, prompts, model.tokenizer)
        self._model, self._attributes = model, len(attributes)
        self._clean = clean_run(model, batch)
        self._changed = [tokenize(spec, split.counterfactual((a,))[rows], model.tokenizer) for a in attributes]
        self._base = model.capture(batch, blocks)
        self._others = [model.capture(changed, blocks) for changed in self._changed]
        self._io, self._s = (
            name_tokens([prompt.value((name,)) for prompt in prompts], model.tokenizer).to(model.device)
            for name in ("io", "s")
        )
        logits = patched_logits(model, self._clean, [{}])
        self.difference, self._answer = self._gap(logits)[0], logits[0].argmax(-1)

    def _gap(self, logits: Float[Tensor, "edit prompt vocab"]) -> Float[Tensor, "edit prompt"]:
        every = torch.arange(logits.shape[1], device=logits.device)
        return logits[:, every, self._io] - logits[:, every, self._s]

    def _sums(self, runs: Iterable[Float[Tensor, "edit prompt vocab"]]) -> _Sums:
        """Runs in the order of attributes, then members."""
        fall, flips = [], []
        for logits in runs:
            fall.append((self.difference - self._gap(logits)).sum(1))
            flips.append((logits.argmax(-1) != self._answer).float().sum(1))
        return _Sums(*(torch.cat(x).cpu().view(self._attributes, -1) for x in (fall, flips)))

    def whole(self) -> _Sums:
        """The counterfactual prompts themselves."""
        return self._sums(self._model.logits(changed)[None] for changed in self._changed)

    def patched(self, block: Site) -> _Sums:
        """Each member of a block alone, each attribute; all are edits of the block, so that they run together."""
        width = self._model.width(_members(self._model, block)[0])
        base, edits = self._base[block], []
        for other in self._others:
            for start in range(0, base.shape[1], width):
                edited = base.clone()
                edited[:, start : start + width] = other[block][:, start : start + width]
                edits.append({block: edited})
        at_once = max(1, _LOGITS_AT_ONCE // (len(base) * self._model.d_vocab))
        starts = range(0, len(edits), at_once)
        return self._sums(patched_logits(self._model, self._clean, edits[i : i + at_once]) for i in starts)
