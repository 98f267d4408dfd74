"""Counting pixels by truth and prediction, with abstentions kept: a tensor function and a Keras metric."""

import keras
import numpy as np
import tensorflow as tf
from tensorflow.experimental import numpy as tensors

from kseg import inputs, iou


def confusion_matrix(truth, prediction, num_classes, ignore_class=255, mask=None):
    """Counts of (truth, prediction) pairs, abstentions included; no labelled pixel is ever dropped.

    Args:
      truth: integer tensor of any shape: 0..K-1, K = void, or `ignore_class`, which is counted nowhere.
      prediction: integer tensor of the same shape; 0..K-1. Every other value is an abstention and is counted as K,
        so that it stays a miss (keras.metrics.MeanIoU drops such pixels, which raises its score).
      num_classes: K.
      ignore_class: the truth value to leave out; None = none.
      mask: bool tensor of the same shape; False leaves a pixel out. None = all count.

    Returns:
      int64 [K + 1, K + 1], [true, predicted]. Exact below 2^31 pixels a call.

    Raises:
      ValueError: ignore_class=255 is a class itself; eagerly also truth or predictions that are no integers.
      tf.errors.InvalidArgumentError: a truth value outside 0..K that is not `ignore_class` (not checked under XLA).
    """
    size = num_classes + 1
    rows, limit = truth_rows(tf.convert_to_tensor(truth), num_classes, ignore_class, mask)
    columns = _at_most(_integers("prediction", tf.convert_to_tensor(prediction)), num_classes)
    counts = tf.reshape(bincount(rows * size + columns, (limit + 2) * size), [limit + 2, size])
    with tf.control_dependencies([only_known(tf.reduce_sum(counts, 1), num_classes, ignore_class, limit)]):
        return tf.cast(counts[:size], tf.int64)


@keras.saving.register_keras_serializable("kseg")
class ConfusionMatrix(keras.metrics.Metric):
    """Confusion matrix with an abstain row and column; its scalar result is the mean IoU by Cityscapes' rule.

    Counts are int64: exact beyond 2^24 pixels, where float32 stops, and summed over replicas. Works in `compile`:

    >>> metric = ConfusionMatrix(num_classes=2, from_logits=False)
    >>> metric.update_state([[0, 0, 1, 2, 255]], [[0, 2, 1, 1, 0]])   # the second pixel is an abstention
    >>> metric.matrix().tolist()
    [[1, 0, 1], [0, 1, 0], [0, 1, 0]]
    >>> float(metric.result())   # class 0: 1/2, class 1: 1/1; what void is called costs nothing
    0.75

    With num_classes=1 and one channel it is binary: truth 1 is the object, 0 the background. `matrix()` is then
    [[tp, fn], [fp, tn]] and the result the object's IoU, tp / (tp + fn + fp). (One class of label 0 with an output for
    void has two channels. Void that is called the class is a false positive there as well: else every pixel could be.)

    Args:
      num_classes: K.
      ignore_class: truth value counted nowhere; None = none.
      from_logits: True: predictions are [..., K] or [..., K + 1] and the largest channel decides. Channel K is "no
        class". A pixel with a NaN in any channel abstains (kseg.evaluation refuses a score of NaN). Of a single
        channel, a logit above 0 says "object". False: predictions are class indices of the truth's shape, K = abstain.
        For num_classes=1 they are 1 for the object, or probabilities, of which those above 1/2 say so.
      name: what logs call the result.
      dtype: of the result; counts stay int64.
    """

    def __init__(self, num_classes, ignore_class=255, from_logits=True, name="mean_iou", dtype=None):
        super().__init__(name=name, dtype=dtype)
        self._direction = "up"  # callbacks of Keras in mode "auto" ask for it
        self.num_classes = num_classes
        self.ignore_class = ignore_class
        self.from_logits = from_logits
        shape = (num_classes + 1, num_classes + 1)
        self.counts = self.add_variable(shape, "zeros", dtype="int64", name="counts")

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Counts a batch: y_true int [...] or [..., 1], y_pred as `from_logits` says.

        `sample_weight`, broadcast from the first axes, is a mask: 0 leaves a pixel out, anything else counts it once.
        A mask that Keras layers left on y_pred counts, too.
        """
        outside = inputs.keras_mask(y_pred)
        y_true, y_pred, ignore_class = tf.convert_to_tensor(y_true), tf.convert_to_tensor(y_pred), self.ignore_class
        if self.num_classes == 1 and (not self.from_logits or y_pred.shape[-1] == 1):
            y_pred = _background(y_pred, self.from_logits)
            y_true, ignore_class = _object_first(y_true, ignore_class)
        elif self.from_logits:
            y_pred = self._largest(y_pred)
        truth, mask = like(y_pred, y_true, sample_weight, outside)
        self.counts.assign_add(confusion_matrix(truth, y_pred, self.num_classes, ignore_class, mask))

    def _largest(self, logits):
        channels = logits.shape[-1]
        if channels not in (None, self.num_classes, self.num_classes + 1):
            raise ValueError(
                f"{self.name}: expected logits of {self.num_classes} or {self.num_classes + 1} channels, got shape "
                f"{logits.shape}; pass from_logits=False for class indices."
            )
        decision = tf.argmax(logits, -1, output_type=tf.int32)
        if logits.dtype.is_floating:  # argmax calls a pixel of NaN class 0
            undecided = tf.reduce_any(tf.math.is_nan(logits), -1)
            decision = tf.where(undecided, self.num_classes, decision)
        return decision

    def result(self):
        """Mean IoU over the classes in truth or prediction; 0 while there is none, for callbacks compare it."""
        counts = tf.convert_to_tensor(self.counts)
        hits, union = iou.hits_and_union(counts if self.num_classes == 1 else counts[:-1], tensors)
        hits, union = hits[: self.num_classes], union[: self.num_classes]
        of_class = tf.math.divide_no_nan(tf.cast(hits, tf.float64), tf.cast(union, tf.float64))
        present = tf.reduce_sum(tf.cast(union > 0, tf.float64))
        return tf.cast(tf.math.divide_no_nan(tf.reduce_sum(of_class), present), self.dtype)

    def matrix(self):
        """int64 NumPy [K + 1, K + 1], [true, predicted], summed over replicas; for the functions below."""
        return np.array(keras.ops.convert_to_numpy(self.counts), np.int64)

    def per_class_iou(self):
        """float64 [K]; see `iou.per_class_iou`."""
        return iou.per_class_iou(self.matrix())

    def abstain_rate(self):
        """Share of labelled pixels lost to abstaining; see `iou.abstain_rate`."""
        return float(iou.abstain_rate(self.matrix()))

    def leak(self):
        """Share of void claimed as a class; see `iou.leak`."""
        return float(iou.leak(self.matrix()[-1]))

    def get_config(self):
        return super().get_config() | {
            "num_classes": self.num_classes,
            "ignore_class": self.ignore_class,
            "from_logits": self.from_logits,
        }


def truth_rows(truth, num_classes, ignore_class, mask=None):
    """(int32 [pixels], limit): values below the limit as given, all others the limit; limit + 1 for pixels left out.

    Where `ignore_class` is a small number above K, it keeps a row of its own below the limit, which is cheaper than
    replacing it: the usual truth takes one operation.
    """
    if num_classes > 255 and ignore_class == 255:
        raise ValueError(
            f"ignore_class=255 is one of the {num_classes} classes; set it to None, or to a value that is none (-1)."
        )
    truth = tf.reshape(_integers("truth", truth), [-1])
    own_row = _has_own_row(num_classes, ignore_class)
    limit = ignore_class + 1 if own_row else num_classes + 1
    whole_range = truth.dtype == tf.uint8 and limit == 256
    rows = tf.cast(truth, tf.int32) if whole_range else _at_most(truth, limit)
    if ignore_class is not None and not own_row:
        rows = tf.where(tf.cast(truth, tf.int64) == ignore_class, limit + 1, rows)
    if mask is not None:
        rows = tf.where(tf.reshape(mask, [-1]), rows, limit + 1)
    return rows, limit


def _has_own_row(num_classes, ignore_class):
    return ignore_class is not None and num_classes < ignore_class < 1024


def only_known(per_row, num_classes, ignore_class, limit):
    """An assertion on int [limit + 2], pixels per row of `truth_rows`: none above K, but ignored or left out."""
    unknown = per_row[num_classes + 1 : limit + 1]
    if _has_own_row(num_classes, ignore_class):
        unknown = tf.concat([unknown[: ignore_class - num_classes - 1], unknown[ignore_class - num_classes :]], 0)
    return tf.debugging.assert_equal(
        tf.reduce_sum(unknown),
        0,
        f"The truth has values other than 0..{num_classes} (classes, void) and {ignore_class} (left out).",
    )


def _integers(name, values):
    """`values` as they are if their type is of integers; as int32 if they are floats that are integers."""
    return values if values.dtype.is_integer or values.dtype == tf.bool else inputs.integers(name, values)[0]


def _at_most(values, limit):
    """int32 [pixels]: values above the limit, and negative ones, become the limit."""
    if values.dtype.size > 4:  # a cast would leave the lower half of them
        values = tf.where((values < 0) | (values > limit), tf.cast(limit, values.dtype), values)
    values = tf.cast(tf.reshape(values, [-1]), tf.int32)
    return tf.bitcast(tf.minimum(tf.bitcast(values, tf.uint32), limit), tf.int32)


def _background(prediction, from_logits):
    """int32: 0 where one channel, or a map, says "object", and 1 where it does not, or is NaN."""
    if prediction.dtype.is_floating:
        if prediction.shape.rank > 1 and prediction.shape[-1] == 1:
            prediction = tf.squeeze(prediction, -1)
        is_object = prediction > (0.0 if from_logits else 0.5)
    else:
        is_object = tf.equal(prediction, 1)
    return 1 - tf.cast(is_object, tf.int32)


def _object_first(truth, ignore_class):
    """Truth and ignore_class in which the object, 1, is 0 and the background, 0, is 1."""
    truth = tf.cast(_integers("truth", truth), tf.int64)
    return tf.where((truth == 0) | (truth == 1), 1 - truth, truth), {0: 1, 1: 0}.get(ignore_class, ignore_class)


def bincount(index, size):
    """int32 [size], values from `size` on not counted; tf.math.bincount's size is no constant, which XLA refuses."""
    return tf.raw_ops.DenseBincount(input=index, size=size, weights=tf.zeros([0], tf.int32), binary_output=False)


def like(prediction, truth, sample_weight, keras_mask=None):
    """Truth and mask (or None) in the shape of the prediction: [..., 1] loses its last axis, weights gain axes."""
    truth = tf.convert_to_tensor(truth)
    rank = prediction.shape.rank
    if truth.shape.rank == rank + 1 and truth.shape[-1] == 1:
        truth = tf.squeeze(truth, -1)
    if not truth.shape.is_compatible_with(prediction.shape):
        raise ValueError(f"Expected truth and prediction of one shape, got {truth.shape} and {prediction.shape}.")
    mask = None
    for counted in (sample_weight, keras_mask):
        if counted is None:
            continue
        counted = tf.convert_to_tensor(counted)
        counted = counted if counted.dtype == tf.bool else counted != 0
        if counted.shape.rank == rank + 1:
            counted = tf.squeeze(counted, -1)
        counted = tf.reshape(counted, tf.concat([tf.shape(counted), tf.ones([rank - counted.shape.rank], tf.int32)], 0))
        counted = tf.broadcast_to(counted, tf.shape(prediction))
        mask = counted if mask is None else mask & counted
    return truth, mask
