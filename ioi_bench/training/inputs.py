"""What the runs of a recipe learn from: activations of the train prompts, captured once for any number of runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxtyping import Float
from torch import Tensor

from ioi_bench.activations import capture_split, gradient_split
from ioi_bench.sites import Site
from ioi_bench.task import task_spec
from ioi_bench.training.programs import program
from ioi_bench.training.recipe import Recipe
from ioi_bench.training.runs import Run, create_run

if TYPE_CHECKING:
    from ioi_bench.lm.circuit import Circuit
    from ioi_bench.lm.model import LanguageModel

__all__ = ["TrainInputs", "capture_inputs"]

_BATCH = 512  # prompts captured at once


@dataclass(frozen=True, eq=False)
class TrainInputs:
    """Of the same train prompts at every site of a circuit, in the model's units.

    Attributes:
        activations: what is learnt.
        gradients: of the logit difference by them; None where no variant asks.
        provenance: JSON values: where they came from.
    """

    activations: Mapping[Site, Float[Tensor, "prompt d_in"]]
    gradients: Mapping[Site, Float[Tensor, "prompt d_in"]] | None
    provenance: Mapping[str, Any]

    def plan(self, folder: Path, recipe: Recipe, *, chunk_members: int | None = None) -> Run:
        """A run on these, begun or to begin: `create_run`, which says what it raises."""
        return create_run(
            folder,
            recipe,
            self.activations,
            gradients=self.gradients,
            provenance=self.provenance,
            chunk_members=chunk_members,
        )


def capture_inputs(
    recipe: Recipe,
    model: LanguageModel,
    circuit: Circuit,
    *,
    cache_dir: Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> TrainInputs:
    """Capture what a recipe learns.

    Args:
        recipe: says how many train prompts, and whether a variant needs gradients.
        model, circuit: whose activations, and at which sites.
        cache_dir: where captures are kept between runs; None keeps none.
        progress: called as ``progress(what, done, total)``.

    Raises:
        InputError: more train prompts than there are, or a site that the model lacks.
        TaskError: the model's tokenizer cannot carry the task.
    """
    split = task_spec(circuit.task).split("train")
    split = split if recipe.train_prompts is None else split.head(recipe.train_prompts)

    def tell(what: str) -> Callable[[int, int], None] | None:
        return None if progress is None else lambda done, total: progress(what, done, total)

    what = (model, split.spec, split.prompts, circuit.sites)
    activations = capture_split(*what, batch_size=_BATCH, cache_dir=cache_dir, progress=tell("train activations"))
    gradients = None
    if any(program(name).needs_gradient for name in recipe.variants):
        gradients = gradient_split(*what, cache_dir=cache_dir, progress=tell("gradients of the logit difference"))
    provenance = {
        "model": model.name,
        "model_sha256": model.sha256,
        "task": split.spec.name,
        "spec_sha256": split.spec.sha256,
        "train_prompts": len(split),
    }
    return TrainInputs(activations, gradients, provenance)
