"""How well a void score tells void from labelled pixels, streamed into a histogram of fixed size."""

import keras
import numpy as np
import tensorflow as tf

from kseg import histograms, inputs
from kseg.metrics.confusion_matrices import bincount, like, only_known, truth_rows


def score_bins(scores):
    """The bin of each score: a non-decreasing function of it, the same on every device.

    A bin is at most 1/1024 of its scores' magnitude wide. All |score| < 2^-18 share one bin, so 0.0 and -0.0 do. From
    16368 on, infinities included, all share the last bin of their sign. NaN is bin 0, below everything.

    Args:
      scores: float tensor of any shape; read as float32.

    Returns:
      int32, same shape, 0..histograms.NUM_BINS-1.
    """
    bits = tf.bitcast(tf.cast(scores, tf.float32), tf.int32)
    magnitude = tf.bitwise.bitwise_and(bits, 0x7FFFFFFF)
    step = tf.bitwise.right_shift(magnitude, tf.constant(histograms.SHIFT)) - (histograms.FIRST - 1)
    step = tf.clip_by_value(step, 0, histograms.MIDDLE - 1)
    signed = tf.where(bits < 0, histograms.MIDDLE - step, histograms.MIDDLE + step)
    return tf.where(magnitude > 0x7F800000, 0, signed)


@keras.saving.register_keras_serializable("kseg")
class ScoreHistogram(keras.metrics.Metric):
    """How well a score separates void from labelled pixels, streamed in 1 MiB; its scalar result is the AUROC.

    The statistics are exact for scores rounded by less than 1/1024 (`score_bins`). The AUROC of the unrounded scores is
    within +- 1/2 sum_b labelled_b void_b / (labelled void) over bins b.

    Args:
      num_classes: K; truth K is void (positive), below it labelled (negative).
      score: f(y_pred) -> float [...], higher = more likely void; registered with Keras if the metric is to be saved.
        None: y_pred is the score.
      ignore_class: truth value counted nowhere; None = none.
      name: what logs call the result.
      dtype: of the result; counts stay int64.
    """

    def __init__(self, num_classes, score=None, ignore_class=255, name="void_auroc", dtype=None):
        super().__init__(name=name, dtype=dtype)
        self._direction = "up"  # callbacks of Keras in mode "auto" ask for it
        self.num_classes = num_classes
        self.score = score
        self.ignore_class = ignore_class
        self.counts = self.add_variable((2, histograms.NUM_BINS), "zeros", dtype="int64", name="counts")

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Counts a batch: y_true int [...] or [..., 1], score(y_pred) [...]; sample_weight as in ConfusionMatrix."""
        scores = tf.convert_to_tensor(y_pred if self.score is None else self.score(y_pred))
        truth, mask = like(scores, y_true, sample_weight, inputs.keras_mask(y_pred))
        rows, limit = truth_rows(truth, self.num_classes, self.ignore_class, mask)
        check = only_known(bincount(rows, limit + 2), self.num_classes, self.ignore_class, limit)
        # 0 for labelled pixels, 1 for void; all others lie beyond the last bin and are not counted.
        sides = tf.clip_by_value(rows - (self.num_classes - 1), 0, 2)
        index = sides * histograms.NUM_BINS + tf.reshape(score_bins(scores), [-1])
        counts = tf.reshape(bincount(index, 2 * histograms.NUM_BINS), [2, histograms.NUM_BINS])
        with tf.control_dependencies([check]):
            self.counts.assign_add(tf.cast(counts, tf.int64))

    def result(self):
        """AUROC, void positive; 0 while one side is empty."""
        counts = tf.cast(tf.convert_to_tensor(self.counts), tf.float64)
        below = tf.cumsum(counts[0]) - counts[0] / 2
        pairs = tf.reduce_prod(tf.reduce_sum(counts, 1))
        return tf.cast(tf.math.divide_no_nan(tf.reduce_sum(counts[1] * below), pairs), self.dtype)

    def histogram(self):
        """int64 NumPy (labelled, void), histograms.NUM_BINS each, summed over replicas."""
        counts = np.array(keras.ops.convert_to_numpy(self.counts), np.int64)
        return counts[0], counts[1]

    def statistics(self):
        """`histograms.statistics` of what was counted: floats, None where one side is empty."""
        return histograms.statistics(*self.histogram())

    def get_config(self):
        return super().get_config() | {
            "num_classes": self.num_classes,
            "score": keras.saving.serialize_keras_object(self.score),
            "ignore_class": self.ignore_class,
        }

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        config["score"] = keras.saving.deserialize_keras_object(config["score"])
        return cls(**config)
