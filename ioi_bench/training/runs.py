"""A training run: one folder, of which every member and every checkpoint can be read.

A *member* is one SAE: a variant at a site with one sparsity and one seed. Members of one variant and width are trained
together, in *chunks* as large as memory likes; a chunk is a unit of work (`ioi_bench.training.chunk.train_chunk`).

::

    run.json                     the recipe, the chunks and their members, hashes of what went in
    data.safetensors             train activations by site, in the model's units (and gradients, where a variant asks)
    chunks/000/state.safetensors the last state of the chunk: weights, Adam's moments, the curves
    chunks/000/epoch-00064.safetensors   a checkpoint: the weights of all of its members
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import torch
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from ioi_bench.atomic import storage_errors, write_file
from ioi_bench.bounded import bounded_bytes, json_value, require_small, stays_inside
from ioi_bench.dictionaries.architectures import Architecture
from ioi_bench.dictionaries.source import MAX_TENSOR_BYTES
from ioi_bench.errors import InputError
from ioi_bench.sites import Site
from ioi_bench.training.programs import program
from ioi_bench.training.recipe import Recipe, make_recipe

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

__all__ = ["CURVES", "Chunk", "Member", "Run", "create_run", "input_scale"]

CURVES = ("loss", "error", "l0", "dead")
"""Figures of an epoch, means over its prompts, in the SAE's units: everything that is minimised, ``‖x − x̂‖²`` alone,
active features a prompt, the share of features that no prompt activated."""

_VERSION = 1
_MAX_PLAN_BYTES = 64 << 20
_CACHE = 1 << 22  # bytes of all features of a batch, of which a step reads and writes some ten times


@dataclass(frozen=True)
class Member:
    """One SAE of a run."""

    variant: str
    site: Site
    sparsity: float
    seed: int

    def __str__(self) -> str:
        kind = program(self.variant).sparsity_is
        return f"{self.variant} ({'k' if kind == 'k' else 'λ'} {self.sparsity:g}, seed {self.seed}) at {self.site}"


@dataclass(frozen=True)
class Chunk:
    """Members of one variant and width, trained together."""

    index: int
    variant: str
    d_in: int
    members: tuple[Member, ...]


class _ChunkPlan(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    variant: str
    d_in: int = Field(gt=0)
    members: tuple[tuple[str, float, int], ...]


class _Plan(BaseModel):
    """``run.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int
    identity: str
    recipe: dict[str, Any]
    provenance: dict[str, Any]
    scales: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]]
    chunks: tuple[_ChunkPlan, ...]


@dataclass(frozen=True)
class Run:
    """A run's folder.

    Raises:
        InputError: it is none.
        StorageError: it cannot be read.
    """

    folder: Path

    @cached_property
    def _plan(self) -> _Plan:
        path = self.folder / "run.json"
        if not path.is_file():
            raise InputError(f"{str(self.folder)!r} is no training run: there is no run.json in it")
        self.require_readable(path)
        data = bounded_bytes(path, _MAX_PLAN_BYTES)
        try:
            content = json_value(data)
            if isinstance(content, dict) and content.get("version", _VERSION) != _VERSION:
                raise InputError(f"{str(path)!r} was written by another version of ioi-bench: train anew")
            return _Plan.model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the whole"
            raise InputError(f"{str(path)!r} is damaged ({where}: {first['msg']}): train anew") from error
        except ValueError as error:
            raise InputError(f"{str(path)!r} is damaged ({error}): train anew") from error

    @cached_property
    def recipe(self) -> Recipe:
        """What it was told."""
        return make_recipe(self._plan.recipe, str(self.folder / "run.json"))

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Where the activations came from: hashes of model and spec, number of train prompts."""
        return self._plan.provenance

    @property
    def identity(self) -> str:
        """Hash of everything that decides the weights."""
        return self._plan.identity

    @cached_property
    def chunks(self) -> tuple[Chunk, ...]:
        """The units of work."""
        chunks = []
        for index, one in enumerate(self._plan.chunks):
            members = tuple(Member(one.variant, Site.parse(s), sparsity, seed) for s, sparsity, seed in one.members)
            chunks.append(Chunk(index, one.variant, one.d_in, members))
        return tuple(chunks)

    @property
    def members(self) -> tuple[Member, ...]:
        """All SAEs."""
        return tuple(member for chunk in self.chunks for member in chunk.members)

    @property
    def checkpoints(self) -> tuple[int, ...]:
        """Finished epochs at which every member can be read."""
        return self.recipe.kept

    @property
    def unfinished(self) -> tuple[Chunk, ...]:
        """Chunks whose last checkpoint is not there."""
        last = self.checkpoints[-1]
        return tuple(chunk for chunk in self.chunks if not self.checkpoint_path(chunk, last).is_file())

    def epochs_done(self, chunk: Chunk) -> int:
        """Epochs that a resumed chunk would not train again; 0 where its state cannot be read."""
        from safetensors import SafetensorError, safe_open

        path = self.state_path(chunk)
        if not path.is_file():
            return 0
        try:
            with storage_errors("read", path), safe_open(path, framework="pt") as file:
                return int(file.get_slice("curves").get_shape()[0])
        except SafetensorError:
            return 0

    def require_finished(self) -> None:
        """Stop where there is still something to train.

        Raises:
            InputError: there is.
        """
        left = self.unfinished
        if left:
            raise InputError(
                f"the run {str(self.folder)!r} is unfinished: {len(left)} of {len(self.chunks)} chunks are not trained "
                f"to the end; go on with `ioi-bench train RECIPE --out {self.folder} --resume`"
            )

    def require_readable(self, path: Path) -> None:
        """Refuse a file of the run that is a link to elsewhere, a pipe or too large.

        Raises:
            InputError: it is.
        """
        if not stays_inside(path, self.folder):
            raise InputError(f"{str(path)!r} is a link that leaves the run: put the file itself there")
        require_small(path, MAX_TENSOR_BYTES)

    def state_path(self, chunk: Chunk) -> Path:
        """Where a chunk keeps its state."""
        return self.folder / "chunks" / f"{chunk.index:03}" / "state.safetensors"

    def checkpoint_path(self, chunk: Chunk, epoch: int) -> Path:
        """Where a chunk keeps a checkpoint."""
        return self.folder / "chunks" / f"{chunk.index:03}" / f"epoch-{epoch:05}.safetensors"

    def data(self, site: Site, kind: str = "activations") -> Float[Tensor, "prompt d_in"]:
        """Train activations of a site, in the model's units; or their gradients."""
        from safetensors import SafetensorError, safe_open

        path = self.folder / "data.safetensors"
        try:
            self.require_readable(path)
            with storage_errors("read", path), safe_open(path, framework="pt") as file:
                return file.get_tensor(f"{kind}/{site}")
        except SafetensorError as error:
            raise InputError(f"{str(path)!r} is damaged or lacks {kind} of {site} ({error}): train anew") from error

    def scale(self, site: Site) -> float:
        """What a site's activations are multiplied by.

        Raises:
            InputError: the run has no such site.
        """
        if str(site) not in self._plan.scales:
            raise InputError(f"the run {str(self.folder)!r} has no site {site}: it is damaged, train anew")
        return self._plan.scales[str(site)]

    def dictionary(self, member: Member, epoch: int) -> Architecture:
        """One SAE at one checkpoint, frozen.

        Raises:
            InputError: no such member or checkpoint, or the run has not got there.
        """
        from safetensors import SafetensorError, safe_open

        if member not in self._places or epoch not in self.checkpoints:
            raise InputError(f"the run {str(self.folder)!r} has no {member} after {epoch} epochs")
        chunk, place = self._places[member]
        path = self.checkpoint_path(chunk, epoch)
        if not path.is_file():
            raise InputError(f"{member} has not been trained for {epoch} epochs yet: go on with `--resume`")
        self.require_readable(path)
        try:
            with storage_errors("read", path), safe_open(path, framework="pt") as file:
                weights = {name: file.get_slice(name)[place : place + 1][0] for name in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise InputError(f"{str(path)!r} is damaged ({error}): delete it and train again with --resume") from error
        return program(member.variant).export(weights, member.sparsity, self.scale(member.site))

    @cached_property
    def _places(self) -> dict[Member, tuple[Chunk, int]]:
        return {member: (chunk, i) for chunk in self.chunks for i, member in enumerate(chunk.members)}

    @property
    def curves(self) -> pd.DataFrame:
        """A row a member and finished epoch: variant, site, sparsity, seed, epoch and `CURVES`."""
        import pandas as pd

        parts = []
        for chunk in self.chunks:
            if not self.state_path(chunk).is_file():
                continue
            values = self._curves(chunk)
            for i, member in enumerate(chunk.members):
                rows = pd.DataFrame(values[:, :, i], columns=list(CURVES))
                rows.insert(0, "epoch", range(1, len(rows) + 1))
                for name in ("seed", "sparsity", "site", "variant"):
                    value = getattr(member, name)
                    rows.insert(0, name, str(value) if name == "site" else value)
                parts.append(rows)
        if not parts:
            raise InputError(f"nothing of the run {str(self.folder)!r} has been trained yet")
        return pd.concat(parts, ignore_index=True)

    def _curves(self, chunk: Chunk) -> Float[np.ndarray, "epoch figure member"]:
        from safetensors import SafetensorError, safe_open

        path = self.state_path(chunk)
        self.require_readable(path)
        try:
            with storage_errors("read", path), safe_open(path, framework="np") as file:
                values = file.get_tensor("curves")
        except SafetensorError as error:
            raise InputError(f"{str(path)!r} is damaged ({error}): delete it to train that chunk anew") from error
        if values.ndim != 3 or values.shape[1:] != (len(CURVES), len(chunk.members)):
            raise InputError(
                f"{str(path)!r} has curves of the shape {list(values.shape)}, expected {len(CURVES)} figures of "
                f"{len(chunk.members)} members: delete it to train that chunk anew"
            )
        return values


def input_scale(site: Site, activations: Float[Tensor, "prompt d_in"]) -> float:
    """What to multiply activations by so that their mean norm is √d_in.

    Raises:
        InputError: all are zero, or some are not finite.
    """
    norm = float(activations.double().norm(dim=1).mean())
    if not (math.isfinite(norm) and norm > 0):
        raise InputError(f"{site}: the mean norm of the train activations is {norm}, expected a positive number")
    return math.sqrt(activations.shape[1]) / norm


def create_run(
    folder: Path,
    recipe: Recipe,
    activations: Mapping[Site, Float[Tensor, "prompt d_in"]],
    *,
    gradients: Mapping[Site, Float[Tensor, "prompt d_in"]] | None = None,
    provenance: Mapping[str, Any] | None = None,
    chunk_members: int | None = None,
) -> Run:
    """Plan a run and write down all that it needs; where the same run was begun before, go on with that.

    Args:
        folder: where everything goes.
        recipe: the settings.
        activations: of the same train prompts at every site, in the model's units.
        gradients: of the logit difference by these activations, for variants that ask for them.
        provenance: JSON values: where the activations came from.
        chunk_members: at most so many members learn together; by default as many as a processor's cache
            likes. It changes memory and speed, and results within float tolerance; a run that was begun keeps its
            chunks.

    Raises:
        InputError: no or unusable activations, no gradients where some are needed, or another run lies there.
        StorageError: the folder cannot be written.
    """
    _check_data(recipe, activations, gradients)
    sites = sorted(activations, key=str)
    scales = {str(s): input_scale(s, activations[s]) if recipe.tactics.input_scale else 1.0 for s in sites}
    most = chunk_members or max(1, _CACHE // (recipe.batch_size * recipe.d_sae * 4))
    chunks = _chunks(recipe, {site: activations[site].shape[1] for site in sites}, most)
    data = {f"activations/{site}": activations[site].float().contiguous() for site in sites}
    data |= {f"gradients/{site}": gradients[site].float().contiguous() for site in sites if gradients is not None}
    digest = hashlib.sha256(recipe.sha256.encode())
    for key in sorted(data):
        digest.update(key.encode() + hashlib.sha256(data[key].view(torch.uint8).numpy().data).digest())
    plan = {
        "version": _VERSION,
        "identity": digest.hexdigest(),
        "recipe": recipe.model_dump(mode="json"),
        "provenance": dict(provenance or {}),
        "scales": scales,
        "chunks": chunks,
    }
    run = Run(folder)
    if (folder / "run.json").exists():
        if run.identity != plan["identity"]:
            raise InputError(
                f"{str(folder)!r} holds another run (its recipe or its activations differ): delete it to start afresh, "
                "or choose another folder"
            )
        return run
    from safetensors.torch import save

    write_file(folder / "data.safetensors", save(data))
    write_file(folder / "run.json", json.dumps(plan, indent=1, ensure_ascii=False).encode())  # last: now it is a run
    return run


def _check_data(recipe: Recipe, activations: Mapping[Site, Tensor], gradients: Mapping[Site, Tensor] | None) -> None:
    if not activations:
        raise InputError("no activations were given: nothing to train")
    lengths = {len(a) for a in activations.values()}
    if len(lengths) > 1 or 0 in lengths:
        raise InputError(f"every site needs the same train prompts, at least one; got {sorted(lengths)} activations")
    asking = [name for name in recipe.variants if program(name).needs_gradient]
    if asking and (gradients is None or any(site not in gradients for site in activations)):
        raise InputError(f"{', '.join(asking)} need gradients of the logit difference at every site")
    for site, gradient in (gradients or {}).items():
        if site in activations and (gradient.shape != activations[site].shape or not gradient.isfinite().all()):
            raise InputError(f"{site}: gradients must be finite and shaped like the activations")


def _chunks(recipe: Recipe, widths: Mapping[Site, int], most: int) -> list[dict[str, Any]]:
    """Members in a fixed order, cut into chunks of about equal sizes."""
    chunks = []
    for variant, values in recipe.variants.items():
        for d_in in sorted(set(widths.values())):
            sites = [str(site) for site, width in widths.items() if width == d_in]
            members = [(site, value, seed) for value in values for seed in recipe.seeds for site in sites]
            count = math.ceil(len(members) / most)
            bounds = [round(i * len(members) / count) for i in range(count + 1)]
            for start, stop in pairwise(bounds):
                chunks.append({"variant": variant, "d_in": d_in, "members": members[start:stop]})
    return chunks
