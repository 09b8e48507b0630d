"""The metrics of METHOD §6, one a file: tensors in, a small frozen result out.

Each keeps its values per prompt where an interval is drawn by bootstrap; ratios are taken of means, after the draw.
"""

from ioi_bench.metrics.codes import CodeStatistics, code_statistics
from ioi_bench.metrics.divergence import Divergence, divergence
from ioi_bench.metrics.edit_accuracy import EditAccuracy, edit_accuracy
from ioi_bench.metrics.edit_distance import EditDistance, edit_distance
from ioi_bench.metrics.edit_weight import (
    Contributions,
    EditWeight,
    FeatureWeights,
    contributions,
    edit_weight,
    feature_weights,
    moved,
    moved_aside,
)
from ioi_bench.metrics.effect import effect
from ioi_bench.metrics.geometry import Geometry, geometry
from ioi_bench.metrics.interpretability import (
    ActivityCounts,
    Explanations,
    activity_counts,
    explanations,
    keep_explained,
    remove_explained,
)
from ioi_bench.metrics.ld_recovered import LogitDifferenceRecovered, ld_recovered
from ioi_bench.metrics.logit_difference import LogitDifferenceGap, logit_difference, logit_difference_gap
from ioi_bench.metrics.necessity import Necessity, necessity, without_reconstruction
from ioi_bench.metrics.rank_correlation import (
    MeanCorrelation,
    RankCorrelation,
    SweepPoints,
    mean_correlation,
    rank_correlation,
    rank_correlations,
)
from ioi_bench.metrics.sufficiency import Sufficiency, sufficiency

__all__ = [
    "ActivityCounts",
    "CodeStatistics",
    "Contributions",
    "Divergence",
    "EditAccuracy",
    "EditDistance",
    "EditWeight",
    "Explanations",
    "FeatureWeights",
    "Geometry",
    "LogitDifferenceGap",
    "LogitDifferenceRecovered",
    "MeanCorrelation",
    "Necessity",
    "RankCorrelation",
    "Sufficiency",
    "SweepPoints",
    "activity_counts",
    "code_statistics",
    "contributions",
    "divergence",
    "edit_accuracy",
    "edit_distance",
    "edit_weight",
    "effect",
    "explanations",
    "feature_weights",
    "geometry",
    "keep_explained",
    "ld_recovered",
    "logit_difference",
    "logit_difference_gap",
    "mean_correlation",
    "moved",
    "moved_aside",
    "necessity",
    "rank_correlation",
    "rank_correlations",
    "remove_explained",
    "sufficiency",
    "without_reconstruction",
]
