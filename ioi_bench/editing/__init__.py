"""Edits of activations by features (METHOD §5): one file per method; all keep the dictionary's error term."""

from __future__ import annotations

from ioi_bench.editing.aware import aware
from ioi_bench.editing.base import Edit, EditInputs, EditMethod, FeatureStatistics, feature_statistics
from ioi_bench.editing.exchange import exchange
from ioi_bench.editing.split import split
from ioi_bench.editing.universal import universal

__all__ = ["EDITS", "Edit", "EditInputs", "EditMethod", "FeatureStatistics", "feature_statistics"]

EDITS: dict[str, EditMethod] = {"exchange": exchange, "split": split, "aware": aware, "universal": universal}
"""The built-in edit methods by name."""
