"""What a training run is told (METHOD §8): a TOML file, checked when read.

::

    model = "ioi-mini"
    d_sae = 256
    epochs = 150
    seeds = [0, 1, 2]
    checkpoints = [1, 2, 4, 8, 16, 32, 64, 100, 150]

    [variants]              # λ, or k, of each member; every site and seed has one
    relu = [0.5, 1.0, 2.5, 5.0]
    topk = [3, 6, 12, 24]

    [resampling]            # dead features start again after these epochs
    after = [38, 75]
    warmup = 8

    [tactics]               # all on unless said otherwise
    decay = false
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ioi_bench.bounded import MAX_TOML_BYTES, bounded_bytes, toml_table
from ioi_bench.errors import InputError, UnknownNameError
from ioi_bench.training.programs import program

__all__ = ["Recipe", "Resampling", "Tactics", "make_recipe", "read_recipe"]


def _scaled_checkpoints(epochs: int) -> set[int]:
    """Powers of two for the first fifteenth of a run, then eighths of it from a quarter to three quarters."""
    early = {2**i for i in range(epochs.bit_length()) if 2**i <= epochs / 15}
    return early | {epochs * i // 8 for i in range(2, 7) if epochs * i // 8 > 0}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Tactics(_Frozen):
    """What can be switched off, to learn what it is worth.

    Attributes:
        resample: dead features start again.
        resample_warmup: the learning rate rises anew after that.
        decay: the learning rate falls to 0 over the last quarter.
        example_losses: inputs for dead features are drawn ∝ their own squared loss; off: all alike.
        feature_norms: a new encoder column is as long as 0.2 × the mean of alive features; off: of all features.
        adam_reset: the optimiser forgets what it knew of a dead feature.
        dense_checkpoints: checkpoints are kept in the first quarter, too.
        input_scale: inputs have the mean norm √d_in; off: the model's units.
    """

    resample: bool = True
    resample_warmup: bool = True
    decay: bool = True
    example_losses: bool = True
    feature_norms: bool = True
    adam_reset: bool = True
    dense_checkpoints: bool = True
    input_scale: bool = True


class Resampling(_Frozen):
    """When dead features start again.

    Attributes:
        after: so many epochs; by default METHOD §8's 501 and 1001 of 2,000, scaled.
        warmup: epochs in which the rate then rises from a tenth; by default METHOD §8's 100 of 2,000, scaled.
    """

    after: tuple[Annotated[int, Field(ge=1)], ...] | None = None
    warmup: Annotated[int, Field(ge=0)] | None = None


class Recipe(_Frozen):
    """Everything that decides the weights, but for the activations.

    Attributes:
        variants: by the name of the variant, the λ or k that are trained.
        model: whose activations are learnt.
        seeds: of initial weights and batch order; every member is trained once a seed.
        d_sae: features of a dictionary.
        epochs: passes over the train prompts.
        batch_size: prompts a step; what is left over at the end of an epoch waits for another epoch's order.
        learning_rate: Adam's, at its height.
        warmup_epochs: epochs in which the learning rate rises linearly from a tenth at the start.
        checkpoints: kept after so many epochs, and at the end; by default METHOD §8's of 2,000, scaled.
        train_prompts: only the first so many; all by default.
        precision: of the inputs of matrix products; weights, sums and moments are float32.
    """

    variants: dict[str, tuple[Annotated[float, Field(strict=True)], ...]] = Field(min_length=1)
    model: str = "ioi-mini"
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field((0,), min_length=1)
    d_sae: Annotated[int, Field(ge=1)] = 512
    epochs: Annotated[int, Field(ge=1)] = 2000
    batch_size: Annotated[int, Field(ge=1)] = 512
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 3e-4
    warmup_epochs: Annotated[int, Field(ge=0)] = 0
    checkpoints: tuple[Annotated[int, Field(ge=1)], ...] | None = None
    train_prompts: Annotated[int, Field(ge=1)] | None = None
    precision: Literal["float32", "bfloat16"] = "float32"
    resampling: Resampling = Resampling()
    tactics: Tactics = Tactics()

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        for name, values in self.variants.items():
            variant = program(name)
            if not values:
                raise InputError(f"{name} has no {variant.sparsity_is}: give at least one")
            if len(set(values)) < len(values):
                raise InputError(f"{name} has the same {variant.sparsity_is} twice: {list(values)}")
            for value in values:
                variant.check(value, self.d_sae)
        if len(set(self.seeds)) < len(self.seeds):
            raise InputError(f"the same seed is given twice: {list(self.seeds)}")
        late = [e for e in (*(self.checkpoints or ()), *(self.resampling.after or ())) if e > self.epochs]
        if late:
            raise InputError(f"epochs {late} of checkpoints or resampling are beyond the last, {self.epochs}")
        return self

    @property
    def kept(self) -> tuple[int, ...]:
        """The epochs after which a checkpoint is kept, increasing; the last is the end.

        >>> Recipe(variants={"topk": (3,)}, epochs=2000).kept
        (1, 2, 4, 8, 16, 32, 64, 128, 500, 750, 1000, 1250, 1500, 2000)
        """
        kept = set(self.checkpoints if self.checkpoints is not None else _scaled_checkpoints(self.epochs))
        first = 0 if self.tactics.dense_checkpoints else self.epochs / 4
        return tuple(sorted({epoch for epoch in kept if epoch >= first} | {self.epochs}))

    @property
    def resample_after(self) -> tuple[int, ...]:
        """The epochs after which dead features start again.

        >>> Recipe(variants={"topk": (3,)}, epochs=2000).resample_after
        (501, 1001)
        """
        given = self.resampling.after
        after = (self.epochs // 4 + 1, self.epochs // 2 + 1) if given is None else given
        return tuple(sorted({epoch for epoch in after if epoch < self.epochs})) if self.tactics.resample else ()

    @property
    def resample_warmup(self) -> int:
        """Epochs in which the learning rate rises after that."""
        given = self.resampling.warmup
        length = self.epochs // 20 if given is None else given
        return length if self.tactics.resample_warmup else 0

    @property
    def sha256(self) -> str:
        """Hash of everything that is set."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


def read_recipe(path: str | Path) -> Recipe:
    """Read a recipe.

    Raises:
        InputError: it is no TOML, or a setting is unknown, missing or out of range.
        StorageError: it cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no recipe {str(path)!r}: give a TOML file, such as reference_saes/recipes/*.toml")
    data = bounded_bytes(path, MAX_TOML_BYTES)
    try:
        content = toml_table(data)
    except ValueError as error:
        raise InputError(f"{str(path)!r} is no TOML: {error}") from error
    return make_recipe(content, str(path))


def make_recipe(content: Any, what: str) -> Recipe:
    """A recipe from plain values.

    Raises:
        InputError: a setting is unknown, missing or out of range.
    """
    try:
        return Recipe.model_validate(content)
    except InputError as error:
        raise InputError(f"{what}: {error}") from error
    except ValidationError as error:
        first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")  # likely a misspelt name
        where = ".".join(str(part) for part in first["loc"]) or "the recipe"
        if first["type"] == "extra_forbidden":
            tables: dict[str, type[BaseModel]] = {"tactics": Tactics, "resampling": Resampling}
            known = tables.get(where.partition(".")[0], Recipe).model_fields
            raise InputError(f"{what}: {UnknownNameError('setting', where.rpartition('.')[2], known)}") from error
        raise InputError(f"{what}: {where}: {first['msg']}") from error
