"""Activations of many prompts at many sites, and the logit difference's gradients by them, kept on disk by content.

What a file is, is in its key: the model's hash, the tokens and role positions, the site, the format's version. Prompts
are kept in shards of 1,000, so that work that was cut off goes on, and the head of a split is shared with the whole.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from ioi_bench.atomic import write_file
from ioi_bench.bounded import require_small, stays_inside
from ioi_bench.errors import InputError, StorageError
from ioi_bench.lm.gradients import logit_difference_gradients
from ioi_bench.sites import Site
from ioi_bench.task import Prompt, TaskSpec, TokenBatch, name_tokens, tokenize

if TYPE_CHECKING:
    from ioi_bench.lm.model import LanguageModel

__all__ = ["capture_split", "gradient_split"]

_VERSION = 1
_LARGEST = 1 << 30  # of one file: a shard of 1,000 prompts at a width of 100,000 has 0.4 GB
_SHARD = 1000
_OPENING = 3


def capture_split(
    model: LanguageModel,
    spec: TaskSpec,
    prompts: Sequence[Prompt],
    sites: Sequence[Site],
    *,
    batch_size: int = 64,
    cache_dir: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[Site, Float[Tensor, "prompt d_in"]]:
    """Activations of prompts at sites, in the model's units, on the CPU.

    Args:
        model: the model that is run.
        spec: the task that the prompts belong to.
        prompts: one row each.
        sites: where to read.
        batch_size: prompts run together; it changes nothing beyond float tolerance.
        cache_dir: where captures are kept; None keeps none. A damaged file is captured again; a folder that
            cannot be written is warned of once, and the capture goes on without it.
        progress: called with (prompts done, prompts in all).

    Raises:
        InputError: no prompts, or a site that the model lacks.
        TaskError: the model's tokenizer cannot carry the task.
    """
    if not prompts:
        raise InputError("no prompts were given")
    if batch_size < 1:
        raise InputError(f"the batch size must be 1 or more, got {batch_size}")
    found = {site: torch.empty(len(prompts), model.width(site)) for site in dict.fromkeys(sites)}
    for start in range(0, len(prompts), _SHARD):
        stop = min(start + _SHARD, len(prompts))
        tokens = tokenize(spec, prompts[start:stop], model.tokenizer)
        shard = None if cache_dir is None else _Shard(cache_dir, model.sha256, tokens)
        rows = {site: values[start:stop] for site, values in found.items()}
        missing = [site for site, values in rows.items() if shard is None or not shard.read(site, values)]
        alike = tokens.tokens[:, :_OPENING].unique(dim=0, return_inverse=True)[1].argsort(stable=True)
        for at in range(0, len(tokens) if missing else 0, batch_size):
            some = alike[at : at + batch_size]  # prompts that begin alike share that part of the run
            for site, values in model.capture(tokens.take(some), missing).items():
                rows[site][some] = values.cpu()
            if progress is not None:
                progress(start + at + len(some), len(prompts))
        if shard is not None and not _kept(shard, {site: rows[site] for site in missing}):
            cache_dir = None
        if progress is not None:
            progress(stop, len(prompts))
    return found


def gradient_split(
    model: LanguageModel,
    spec: TaskSpec,
    prompts: Sequence[Prompt],
    sites: Sequence[Site],
    *,
    cache_dir: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[Site, Float[Tensor, "prompt d_in"]]:
    """Gradients of each prompt's logit difference (IO − S, at END) by its activations at sites, on the CPU.

    Args:
        model: the model that is run, forwards and backwards.
        spec: the task that the prompts belong to.
        prompts: one row each.
        sites: of what; in logits per model's unit.
        cache_dir: where gradients are kept, as `capture_split` keeps captures; None keeps none.
        progress: called with (prompts done, prompts in all).

    Raises:
        InputError: no prompts, or a site that the model lacks.
        TaskError: the model's tokenizer cannot carry the task.
    """
    if not prompts:
        raise InputError("no prompts were given")
    found = {site: torch.empty(len(prompts), model.width(site)) for site in dict.fromkeys(sites)}
    for start in range(0, len(prompts), _SHARD):
        some = prompts[start : start + _SHARD]
        tokens = tokenize(spec, some, model.tokenizer)
        io, s = (name_tokens([prompt.value((name,)) for prompt in some], model.tokenizer) for name in ("io", "s"))
        shard = None if cache_dir is None else _Shard(cache_dir, model.sha256, tokens, difference=(io, s))
        rows = {site: values[start : start + len(some)] for site, values in found.items()}
        missing = [site for site, values in rows.items() if shard is None or not shard.read(site, values)]
        for site, values in logit_difference_gradients(model, tokens, io, s, missing).items() if missing else ():
            rows[site].copy_(values)
        if shard is not None and not _kept(shard, {site: rows[site] for site in missing}):
            cache_dir = None
        if progress is not None:
            progress(start + len(some), len(prompts))
    return found


def _kept(shard: _Shard, values: dict[Site, Tensor]) -> bool:
    try:
        for site, value in values.items():
            shard.write(site, value)
    except StorageError as error:
        warnings.warn(f"captures are not kept: {error}", stacklevel=3)
        return False
    return True


class _Shard:
    """The files of some prompts, one a site: activations, or gradients of a difference of two logits."""

    def __init__(
        self, cache_dir: Path, model: str, batch: TokenBatch, *, difference: tuple[Tensor, Tensor] | None = None
    ) -> None:
        digest = hashlib.sha256(f"{_VERSION} {model} {tuple(batch.tokens.shape)}".encode())
        for tensor in (batch.tokens, batch.lengths, *(batch.positions[role] for role in sorted(batch.positions))):
            digest.update(tensor.cpu().numpy().tobytes())
        for names in difference or ():
            digest.update(names.cpu().numpy().tobytes())
        self.key = digest.hexdigest()
        self.folder = cache_dir / ("activations" if difference is None else "gradients") / model[:16] / self.key[:32]

    def _path(self, site: Site) -> Path:
        return self.folder / f"{site}.safetensors"

    def read(self, site: Site, into: Float[Tensor, "prompt d_in"]) -> bool:
        """Fill ``into`` from disk; False where the file is absent, damaged or not what its name says."""
        from safetensors import SafetensorError, safe_open

        if not self._path(site).exists() or not stays_inside(self._path(site), self.folder):
            return False
        try:
            require_small(self._path(site), _LARGEST)
            with safe_open(self._path(site), framework="pt") as file:
                fits = list(file.get_slice("values").get_shape()) == list(into.shape)
                told = file.metadata() or {}
                if not fits:
                    return False
                values = file.get_tensor("values")
            if values.dtype != into.dtype or told.get("key") != f"{self.key} {site} {_digest(values)}":
                return False
            into.copy_(values)
        except (SafetensorError, OSError, InputError, StorageError):
            return False
        return True

    def write(self, site: Site, values: Float[Tensor, "prompt d_in"]) -> None:
        """Keep a site's values.

        Raises:
            StorageError: the folder cannot be written.
        """
        from safetensors.torch import save

        told = {"key": f"{self.key} {site} {_digest(values)}"}  # one alone: of several the order is not fixed
        write_file(self._path(site), save({"values": values.clone()}, metadata=told))


def _digest(values: Tensor) -> str:
    """A flipped bit on the disk is damage, too."""
    return hashlib.sha256(values.contiguous().view(torch.uint8).numpy().data).hexdigest()
