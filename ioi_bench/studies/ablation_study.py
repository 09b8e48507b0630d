"""The study of tactics: a recipe trained with each of them removed, and what each was worth.

::

    DIR/full/           the run of the recipe (`ioi_bench.training.runs`), with its judged candidates in selection/
    DIR/<tactic>/       the same without the tactic; none where the weights are the same (`same_weights`)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ioi_bench.evaluation.bootstrap import DRAWS
from ioi_bench.evaluation.data import Progress, silent
from ioi_bench.evaluation.selection import candidates_table, select
from ioi_bench.studies.ablation import FULL, TACTICS, Effect, Final, effect, final, reading, same_weights, without
from ioi_bench.training import EpochReport, Recipe, Run, TrainInputs, train_run
from ioi_bench.training.runs import input_scale

if TYPE_CHECKING:
    import pandas as pd

    from ioi_bench.lm.circuit import Circuit
    from ioi_bench.lm.model import LanguageModel

__all__ = ["CHUNK_MEMBERS", "METHODS", "AblationRow", "AblationStudy", "recipes_to_train", "study_ablation"]

METHODS = ("exchange", "aware")
CHUNK_MEMBERS = 16  # small: with one chunk a variant, a core would wait for the last


@dataclass(frozen=True)
class AblationRow:
    """One variant trained without one tactic; or, as ``full``, with all.

    Attributes:
        tactic: what was removed.
        variant: what was trained.
        same_weights: why the weights of the full run serve; empty where it was trained.
        effects: by edit method.
        final: of the last checkpoints.
    """

    tactic: str
    variant: str
    same_weights: str
    effects: Mapping[str, Effect]
    final: Final

    @property
    def unmeasured(self) -> bool:
        """Nothing could differ: the same weights, and as many checkpoints to select among."""
        return bool(self.same_weights) and self.tactic != "dense_checkpoints"

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        effects = {
            method: _plain(asdict(found)) | {"reading": reading(found.difference)}
            for method, found in self.effects.items()
        }
        same = {"same_weights": self.same_weights} if self.same_weights else {}
        return {
            "tactic": self.tactic,
            "variant": self.variant,
            **same,
            "effects": effects,
            "final": _plain(asdict(self.final)),
        }


@dataclass(frozen=True)
class AblationStudy:
    """All variants with all tactics, then without each, and what made them."""

    model: str
    provenance: Mapping[str, Any]
    recipe: Recipe
    n_prompts: int
    budget: int
    seed: int
    full: tuple[AblationRow, ...]
    removed: tuple[AblationRow, ...]

    @property
    def variants(self) -> tuple[str, ...]:
        """In the recipe's order."""
        return tuple(self.recipe.variants)

    def rows(self, variant: str) -> tuple[AblationRow, ...]:
        """Of one variant: the full recipe, then every tactic."""
        return tuple(row for row in (*self.full, *self.removed) if row.variant == variant)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "study": "ablation",
            "model": self.model,
            "provenance": dict(self.provenance),
            "recipe": self.recipe.model_dump(mode="json"),
            "split": "validation",
            "n_prompts": self.n_prompts,
            "budget": self.budget,
            "resampled": "sites",
            "draws": DRAWS,
            "seed": self.seed,
            "full": [row.to_json() for row in self.full],
            "removed": [row.to_json() for row in self.removed],
        }


def _plain(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def recipes_to_train(recipe: Recipe) -> dict[str, Recipe]:
    """The full recipe, and one without each tactic that changes the weights, by the names of their folders."""
    changed = [tactic for tactic in TACTICS if not same_weights(recipe, tactic)]
    return {FULL: recipe} | {tactic: without(recipe, tactic) for tactic in changed}


def study_ablation(
    recipe: Recipe,
    inputs: TrainInputs,
    model: LanguageModel,
    circuit: Circuit,
    folder: Path,
    *,
    prompts: int | None = None,
    device: str = "cpu",
    seed: int = 0,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
) -> AblationStudy:
    """Train, judge and compare; what is in the folder already is not done again.

    Args:
        recipe: the full one. Candidates are judged on as many train prompts as it learns from.
        inputs: what all runs learn from, of this model at this circuit's sites.
        model, circuit: what the edits are judged on.
        folder: one folder a run goes here.
        prompts: only the first so many of validation.
        device: where SAEs are trained.
        seed: of the bootstrap.
        cache_dir: where captures are kept; None keeps none.
        progress: called as ``progress(what, done, total)``.

    Raises:
        InputError: the folder holds runs of another recipe or other activations; numbers of prompts that make no sense.
        IoiBenchError: training diverged.
        StorageError: the folder cannot be written.
    """
    tell, tables = progress or silent, {}
    recipes = recipes_to_train(recipe)
    for i, (name, one) in enumerate(recipes.items(), 1):
        what = f"{i}/{len(recipes)} {name if name == FULL else f'without {name}'}"
        run = inputs.plan(folder / name, one, chunk_members=CHUNK_MEMBERS)
        train_run(run.folder, device=device, progress=_teller(tell, run, f"{what}: epochs of SAEs"))
        tables[name] = candidates_table(
            run,
            model,
            circuit,
            methods=METHODS,
            prompts=prompts,
            train_prompts=recipe.train_prompts,
            ld_prompts=0,
            cache_dir=cache_dir,
            keep=run.folder / "selection",
            progress=_prefixed(tell, what),
        )
    for tactic in TACTICS:
        if tactic not in tables:
            kept = without(recipe, tactic).kept
            tables[tactic] = tables[FULL][tables[FULL]["epoch"].isin(kept)]
    first = tables[FULL].iloc[0]
    return AblationStudy(
        model=model.name,
        provenance=inputs.provenance,
        recipe=recipe,
        n_prompts=int(first["prompts"]),
        budget=int(first["budget"]),
        seed=seed,
        full=tuple(_rows(FULL, recipe, tables, inputs, seed)),
        removed=tuple(row for tactic in TACTICS for row in _rows(tactic, recipe, tables, inputs, seed)),
    )


def _rows(
    tactic: str, recipe: Recipe, tables: Mapping[str, pd.DataFrame], inputs: TrainInputs, seed: int
) -> list[AblationRow]:
    """A row a variant."""
    full, removed = select(tables[FULL]), select(tables[tactic])
    scaled = (recipe if tactic == FULL else without(recipe, tactic)).tactics.input_scale
    units = {str(site): 1.0 if scaled else input_scale(site, x) ** 2 for site, x in inputs.activations.items()}
    made = []
    for variant in recipe.variants:
        one, two = (choices[choices["variant"] == variant] for choices in (full, removed))
        effects = {
            method: effect(one[one["method"] == method], two[two["method"] == method], seed=seed) for method in METHODS
        }
        table = tables[tactic][tables[tactic]["variant"] == variant]
        last = final(table, units)
        made.append(AblationRow(tactic, variant, "" if tactic == FULL else same_weights(recipe, tactic), effects, last))
    return made


def _teller(tell: Progress, run: Run, what: str) -> Callable[[EpochReport], None]:
    """Progress of one run over all of its chunks."""
    done = {chunk.index: run.epochs_done(chunk) * len(chunk.members) for chunk in run.chunks}

    def report(epoch: EpochReport) -> None:
        done[epoch.chunk.index] = epoch.epoch * len(epoch.chunk.members)
        tell(what, sum(done.values()), run.recipe.epochs * len(run.members))

    return report


def _prefixed(tell: Progress, what: str) -> Progress:
    return lambda name, done, total: tell(f"{what}: {name}", done, total)
