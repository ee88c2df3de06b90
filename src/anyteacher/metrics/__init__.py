"""Metrics of the tasks, with states that add up.

Every state is a sum, or all that was seen where no sum will do, so a result over a validation set
does not depend on how the set was cut into batches or spread over processes. Each metric returns
all its numbers at once, by name, and raises `DataError` instead of returning a NaN when it has seen
nothing to measure.
"""

from anyteacher.metrics.classes import (
    ClassificationMetrics,
    MultiLabelMetrics,
    SegmentationMetrics,
)
from anyteacher.metrics.depth import (
    DEPTH_NAMES,
    RULES,
    DepthMetrics,
    Protocol,
    Rules,
    depth_errors,
    valid_depth,
)
from anyteacher.metrics.features import FeatureMetrics
from anyteacher.metrics.surfaces import EdgeMetrics, NormalMetrics, angles
from anyteacher.metrics.translation import TranslationMetrics

__all__ = [
    "DEPTH_NAMES",
    "RULES",
    "ClassificationMetrics",
    "DepthMetrics",
    "EdgeMetrics",
    "FeatureMetrics",
    "MultiLabelMetrics",
    "NormalMetrics",
    "Protocol",
    "Rules",
    "SegmentationMetrics",
    "TranslationMetrics",
    "angles",
    "depth_errors",
    "valid_depth",
]
