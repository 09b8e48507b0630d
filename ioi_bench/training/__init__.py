"""Training reference SAEs (METHOD §8): many variants, sites, sparsities and seeds in one program."""

from __future__ import annotations

from ioi_bench.training.chunk import EpochReport, train_chunk
from ioi_bench.training.inputs import TrainInputs, capture_inputs
from ioi_bench.training.recipe import Recipe, Resampling, Tactics, make_recipe, read_recipe
from ioi_bench.training.runs import CURVES, Member, Run, create_run
from ioi_bench.training.trainer import estimate, train_run
from ioi_bench.training.untrained import UntrainedRun

__all__ = [
    "CURVES",
    "EpochReport",
    "Member",
    "Recipe",
    "Resampling",
    "Run",
    "Tactics",
    "TrainInputs",
    "UntrainedRun",
    "capture_inputs",
    "create_run",
    "estimate",
    "make_recipe",
    "read_recipe",
    "train_chunk",
    "train_run",
]
