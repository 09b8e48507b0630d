"""Training reference SAEs (METHOD §8): all sites of a model in one program."""

from __future__ import annotations

from ioi_bench.training.config import TrainConfig
from ioi_bench.training.trainer import EpochReport, train_suite

__all__ = ["EpochReport", "TrainConfig", "train_suite"]
