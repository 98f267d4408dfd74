"""Counting pixels exactly: confusion matrices that keep abstentions, and void-score statistics in fixed memory.

Answers, for any Keras 3 model on TensorFlow: how good are the K classes, how much is lost to abstaining, where does
void go, and how well does a score tell void from labelled pixels. Takes numbers (num_classes, ignore_class), never
label tables, configs or files. Does not weight pixels, average per-image scores or plot.

Tensor functions count (`confusion_matrix`, `score_bins`), Keras metrics accumulate counts (`ConfusionMatrix`,
`ScoreHistogram`), and NumPy functions turn counts into numbers: those below for confusion matrices, those in
kseg/metrics/histograms.py for histograms. Index K, one past the last class, is void in the truth and an abstention in
the prediction.
"""

import importlib

from kseg.metrics.iou import (
    abstain_rate,
    abstain_rate_correct,
    claimed_as,
    leak,
    mean_iou,
    mean_iou_with_background,
    per_class_iou,
)

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

# What needs TensorFlow is loaded when it is asked for: comparing finished runs does without.
_WITH_TENSORFLOW = {
    "ConfusionMatrix": "confusion_matrices",
    "confusion_matrix": "confusion_matrices",
    "ScoreHistogram": "score_histogram",
    "score_bins": "score_histogram",
}


def __getattr__(name):
    if name not in _WITH_TENSORFLOW:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_WITH_TENSORFLOW[name]}"), name)


def __dir__():
    return sorted({*globals(), *_WITH_TENSORFLOW})
