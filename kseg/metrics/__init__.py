"""Counting pixels exactly: confusion matrices that keep abstentions, and void-score statistics in fixed memory.

For any Keras 3 model on TensorFlow: how good the K classes are, and how much is lost to abstaining (answering "no
class"). Where void goes, and how well a score tells void from labelled pixels. Takes numbers (num_classes,
ignore_class), never label tables, configs or files. Does not weight pixels, average per-image scores or plot.

Tensor functions count (`confusion_matrix`, `score_bins`). Keras metrics accumulate counts (`ConfusionMatrix`,
`ScoreHistogram`). NumPy functions turn counts into numbers: those of kseg/iou.py, offered here, for confusion matrices,
and those of kseg/histograms.py for histograms. Index K, one past the last class, is void in the truth and an abstention
in the prediction.
"""

from kseg.iou import (
    abstain_rate,
    abstain_rate_correct,
    claimed_as,
    leak,
    mean_iou,
    mean_iou_with_background,
    per_class_iou,
)
from kseg.metrics.confusion_matrices import ConfusionMatrix, confusion_matrix
from kseg.metrics.score_histogram import ScoreHistogram, score_bins

__all__ = [
    "ConfusionMatrix",
    "ScoreHistogram",
    "abstain_rate",
    "abstain_rate_correct",
    "claimed_as",
    "confusion_matrix",
    "leak",
    "mean_iou",
    "mean_iou_with_background",
    "per_class_iou",
    "score_bins",
]
