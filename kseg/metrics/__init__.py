"""Counting pixels exactly; see confusion_matrix."""

from kseg.metrics.confusion_matrix import (  # noqa: F401
    ConfusionMatrix,
    ScoreHistogram,
    abstain_rate,
    abstain_rate_correct,
    claimed_as,
    confusion_matrix,
    leak,
    mean_iou,
    mean_iou_with_background,
    per_class_iou,
    score_bins,
)
