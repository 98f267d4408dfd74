"""Counting one 1024x2048 image of 19 classes: kseg's metrics against Keras' and against the bare limit, in one run.

    keras    keras.metrics.MeanIoU(ignore_class=255) on class indices, its update in a tf.function, as under fit
    limit    np.bincount of ready-made indices, which is all that counting can come down to
    kseg     kseg.metrics.ConfusionMatrix on class indices in a tf.function; ScoreHistogram likewise; and the whole
             counting of an image in an evaluation (kseg.evaluation.pixel_counts: three decisions, four
             scores, 15 void ids, edges)

Rounds in turn; a ratio is the median of the rounds' ratios. All on the cores that TensorFlow takes by itself.
"""

import statistics
import time

import keras
import numpy as np
import tensorflow as tf

import tfrecords
from kseg import histograms, metrics
from kseg.evaluation import pixel_counts

_HEIGHT, _WIDTH, _CLASSES = 1024, 2048, 19
_ROUNDS = 15


def run() -> dict[str, dict]:
    """The figures: {name: {"value", "goal", "unit", "note"}}."""
    rng = np.random.default_rng(0)
    shape = (_HEIGHT // 16, _WIDTH // 16)
    blocks = np.kron(rng.integers(0, 34, shape), np.ones((16, 16), int)).astype(
        np.uint8
    )  # ids in objects, not in noise
    table = tfrecords.labels.CITYSCAPES
    truth = tf.constant(table.encoding("ignore")[blocks][None])
    prediction = tf.constant(rng.integers(0, _CLASSES, (1, _HEIGHT, _WIDTH), np.int32))
    scores = tf.constant(rng.normal(size=truth.shape).astype(np.float32))
    void = tf.constant(table.encoding("background")[blocks][None])
    index = (np.minimum(truth.numpy(), _CLASSES).astype(np.int64) * (_CLASSES + 1) + prediction.numpy()).ravel()

    stock = keras.metrics.MeanIoU(_CLASSES, ignore_class=255)
    matrix = metrics.ConfusionMatrix(_CLASSES, from_logits=False)
    histogram = metrics.ScoreHistogram(_CLASSES)
    counted = pixel_counts.Tally(pixel_counts.Layout.of(table), ["native", "forced", "calibrated"], "abcd", 1)
    decisions = dict.fromkeys(counted.counts, prediction.numpy()[0].astype(np.uint8))
    bins = np.repeat(metrics.score_bins(scores).numpy().astype(np.uint16), 4, 0)

    parts = {
        "keras_mean_iou": _compiled(stock, truth, prediction),
        "confusion_matrix": _compiled(matrix, truth, prediction),
        "score_histogram": _compiled(histogram, void, scores),
        "bincount": lambda: np.bincount(index, minlength=(_CLASSES + 1) ** 2),
        "evaluation_counts": lambda: counted.add(0, blocks, decisions, bins),
    }
    milliseconds = {name: [] for name in parts}
    for round_number in range(_ROUNDS + 2):
        for name, part in parts.items():
            start = time.perf_counter()
            part()
            if round_number >= 2:  # the first trace and warm up
                milliseconds[name].append(1e3 * (time.perf_counter() - start))

    figures = {
        "times_faster_than_keras": _figure(_ratio(milliseconds, "keras_mean_iou", "confusion_matrix"), ">= 8", "ratio"),
        "times_bincount": _figure(_ratio(milliseconds, "confusion_matrix", "bincount"), "", "ratio"),
        "mebibytes_score_histogram": _figure(2 * histograms.NUM_BINS * 8 / 2**20, "<= 1", "MiB", "whatever the data"),
    }
    for name, values in milliseconds.items():
        figures[f"ms_{name}"] = _figure(statistics.median(values), "", "ms", "per image")
    return figures


def _compiled(metric, truth, prediction):
    update = tf.function(lambda: metric.update_state(truth, prediction))

    def run_to_the_end():
        update()
        metric.variables[0].numpy()  # the update has happened

    return run_to_the_end


def _ratio(milliseconds, of, to):
    return statistics.median(a / b for a, b in zip(milliseconds[of], milliseconds[to]))


def _figure(value, goal="", unit="", note=""):
    return {"value": round(float(value), 3), "goal": goal, "unit": unit, "note": note}
