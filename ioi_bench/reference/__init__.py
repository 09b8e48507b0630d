"""The reference suites: what comes with ioi-bench, what the Hub has, and whether a copy is sound."""

from ioi_bench.reference.bundled import bundled_folder, bundled_manifest
from ioi_bench.reference.hub_copy import REPO
from ioi_bench.reference.manifest import Manifest, ReferenceSuite

__all__ = ["REPO", "Manifest", "ReferenceSuite", "bundled_folder", "bundled_manifest"]
