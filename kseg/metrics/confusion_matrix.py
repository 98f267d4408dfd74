"""Counting pixels exactly: confusion matrices that keep abstentions, and void-score statistics in fixed memory.

Answers, for any Keras 3 model on TensorFlow: how good are the K classes, how much is lost to abstaining, where does
void go, and how well does a score tell void from labelled pixels. Takes numbers (num_classes, ignore_class), never
label tables, configs or files. Does not weight pixels, average per-image scores or plot.

Three layers: tensor functions that count (`confusion_matrix`, `score_bins`), Keras metrics that accumulate counts
(`ConfusionMatrix`, `ScoreHistogram`), and NumPy functions that turn matrices into numbers (those for histograms are in
kseg/metrics/histograms.py). The NumPy functions take any number of leading axes, compute in float64 and give NaN where there is
nothing to divide by.

Index K, one past the last class, is void in the truth and an abstention in the prediction.
"""

import keras
import numpy as np
import tensorflow as tf

from kseg.metrics import histograms

# Tensor functions. ----------------------------------------------------------------------------------------------------


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
      tf.errors.InvalidArgumentError: a truth value outside 0..K that is not `ignore_class` (not checked under XLA).
    """
    size = num_classes + 1
    rows, limit = _truth_rows(tf.convert_to_tensor(truth), num_classes, ignore_class, mask)
    columns = _at_most(prediction, num_classes)
    counts = tf.reshape(_bincount(rows * size + columns, (limit + 2) * size), [limit + 2, size])
    with tf.control_dependencies([_only_known(tf.reduce_sum(counts, 1), num_classes, ignore_class, limit)]):
        return tf.cast(counts[:size], tf.int64)


def score_bins(scores):
    """The bin of each score: a non-decreasing function of it, the same on every device.

    A bin is at most 1/1024 of its scores' magnitude wide; |score| < 2^-18 share one bin (so 0.0 and -0.0 do), and from
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


# Keras metrics. -------------------------------------------------------------------------------------------------------


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

    Args:
      num_classes: K.
      ignore_class: truth value counted nowhere; None = none.
      from_logits: True: predictions are [..., K] or [..., K + 1] and the largest channel decides, channel K being
        "no class"; a pixel with a NaN in any channel abstains (kseg.evaluate refuses a score of NaN). False: they are
        class indices of the truth's shape, K = abstain.
      name: what logs call the result.
      dtype: of the result; counts stay int64.
    """

    def __init__(self, num_classes, ignore_class=255, from_logits=True, name="mean_iou", dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.num_classes = num_classes
        self.ignore_class = ignore_class
        self.from_logits = from_logits
        shape = (num_classes + 1, num_classes + 1)
        self.counts = self.add_variable(shape, "zeros", dtype="int64", name="counts")

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Counts a batch: y_true int [...] or [..., 1], y_pred as `from_logits` says.

        `sample_weight`, broadcast from the first axes, is a mask: 0 leaves a pixel out, anything else counts it once.
        """
        y_pred = tf.convert_to_tensor(y_pred)
        if self.from_logits:
            channels = y_pred.shape[-1]
            if channels not in (None, self.num_classes, self.num_classes + 1):
                raise ValueError(
                    f"{self.name}: expected logits of {self.num_classes} or {self.num_classes + 1} channels, got shape "
                    f"{y_pred.shape}; pass from_logits=False for class indices."
                )
            decision = tf.argmax(y_pred, -1, output_type=tf.int32)
            if y_pred.dtype.is_floating:  # argmax calls a pixel of NaN class 0
                undecided = tf.reduce_any(tf.math.is_nan(y_pred), -1)
                decision = tf.where(undecided, self.num_classes, decision)
            y_pred = decision
        truth, mask = _like(y_pred, y_true, sample_weight)
        self.counts.assign_add(confusion_matrix(truth, y_pred, self.num_classes, self.ignore_class, mask))

    def result(self):
        """Mean IoU over the classes in truth or prediction; 0 while there is none, for callbacks compare it."""
        labelled = tf.convert_to_tensor(self.counts)[:-1]
        hits = tf.linalg.diag_part(labelled[:, :-1])
        union = tf.reduce_sum(labelled, 1) + tf.reduce_sum(labelled[:, :-1], 0) - hits
        iou = tf.math.divide_no_nan(tf.cast(hits, tf.float64), tf.cast(union, tf.float64))
        present = tf.reduce_sum(tf.cast(union > 0, tf.float64))
        return tf.cast(tf.math.divide_no_nan(tf.reduce_sum(iou), present), self.dtype)

    def matrix(self):
        """int64 NumPy [K + 1, K + 1], [true, predicted], summed over replicas; for the functions below."""
        return np.array(keras.ops.convert_to_numpy(self.counts), np.int64)

    def per_class_iou(self):
        """float64 [K]; see `per_class_iou`."""
        return per_class_iou(self.matrix())

    def abstain_rate(self):
        """Share of labelled pixels lost to abstaining; see `abstain_rate`."""
        return float(abstain_rate(self.matrix()))

    def leak(self):
        """Share of void claimed as a class; see `leak`."""
        return float(leak(self.matrix()[-1]))

    def get_config(self):
        return super().get_config() | {
            "num_classes": self.num_classes,
            "ignore_class": self.ignore_class,
            "from_logits": self.from_logits,
        }


@keras.saving.register_keras_serializable("kseg")
class ScoreHistogram(keras.metrics.Metric):
    """How well a score separates void from labelled pixels, streamed in 1 MiB; its scalar result is the AUROC.

    The statistics are exact for scores rounded by less than 1/1024 (`score_bins`). What the unrounded scores would
    give lies within `histograms.exact_ranges` of the same counts; for the AUROC that is
    +- 1/2 sum_b labelled_b void_b / (labelled void) over bins b.

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
        self.num_classes = num_classes
        self.score = score
        self.ignore_class = ignore_class
        self.counts = self.add_variable((2, histograms.NUM_BINS), "zeros", dtype="int64", name="counts")

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Counts a batch: y_true int [...] or [..., 1], score(y_pred) [...]; sample_weight as in ConfusionMatrix."""
        scores = tf.convert_to_tensor(y_pred if self.score is None else self.score(y_pred))
        truth, mask = _like(scores, y_true, sample_weight)
        rows, limit = _truth_rows(truth, self.num_classes, self.ignore_class, mask)
        check = _only_known(_bincount(rows, limit + 2), self.num_classes, self.ignore_class, limit)
        # 0 for labelled pixels, 1 for void; all others lie beyond the last bin and are not counted.
        sides = tf.clip_by_value(rows - (self.num_classes - 1), 0, 2)
        index = sides * histograms.NUM_BINS + tf.reshape(score_bins(scores), [-1])
        counts = tf.reshape(_bincount(index, 2 * histograms.NUM_BINS), [2, histograms.NUM_BINS])
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


# From confusion matrices, int [..., K + 1, K + 1], [true, predicted]. -------------------------------------------------


def per_class_iou(matrix):
    """IoU of each class by Cityscapes' official rule: float64 [..., K], NaN where a class is in neither.

    tp / (tp + fn + fp): fn holds abstentions; fp counts labelled pixels alone, so what void is called costs nothing.

    Source: cityscapesScripts, evaluation/evalPixelLevelSemanticLabeling.py, getIouScoreForLabel.
    """
    return _iou(np.asarray(matrix)[..., :-1, :])


def mean_iou(matrix):
    """Mean of `per_class_iou` over the classes that are in truth or prediction: float64 [...]; NaN if none is."""
    return _mean(per_class_iou(matrix))


def mean_iou_with_background(matrix):
    """Mean IoU of K + 1 classes, void being one of them: float64 [...]."""
    return _mean(_iou(np.asarray(matrix)))


def abstain_rate(matrix):
    """Share of labelled pixels lost to abstaining: float64 [...]."""
    labelled = np.asarray(matrix)[..., :-1, :]
    return _ratio(labelled[..., -1].sum(-1), labelled.sum((-2, -1)))


def abstain_rate_correct(matrix, forced):
    """Share of labelled pixels lost to abstaining that the forced decision has right: float64 [...].

    Over all labelled pixels, so abstain_rate - abstain_rate_correct is the share where abstaining avoided a mistake.

    Args:
      matrix: of decisions that abstain or agree with the forced ones.
      forced: of the same pixels, abstaining not allowed.
    """
    matrix, forced = np.asarray(matrix), np.asarray(forced)
    lost = _hits(forced) - _hits(matrix)
    return _ratio(lost, matrix[..., :-1, :].sum((-2, -1)))


def leak(claims):
    """Share of void pixels claimed as some class: float64 [...].

    Args:
      claims: int [..., K + 1], what void pixels were predicted as: `matrix[K]`, or the same for one kind of void.
    """
    claims = np.asarray(claims)
    return _ratio(claims[..., :-1].sum(-1), claims.sum(-1))


def claimed_as(claims):
    """Share of void pixels claimed as each class: float64 [..., K]; they sum to `leak`. Arguments as there."""
    claims = np.asarray(claims)
    return _ratio(claims[..., :-1], claims.sum(-1, keepdims=True))


# Helpers. -------------------------------------------------------------------------------------------------------------


def _truth_rows(truth, num_classes, ignore_class, mask=None):
    """(int32 [pixels], limit): values below the limit as given, all others the limit; limit + 1 for pixels left out.

    Where `ignore_class` is a small number above K, it keeps a row of its own below the limit, which is cheaper than
    replacing it: the usual truth takes one operation.
    """
    truth = tf.reshape(truth, [-1])
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


def _only_known(per_row, num_classes, ignore_class, limit):
    """An assertion on int [limit + 2], pixels per row of `_truth_rows`: none above K, but ignored or left out."""
    unknown = per_row[num_classes + 1 : limit + 1]
    if _has_own_row(num_classes, ignore_class):
        unknown = tf.concat([unknown[: ignore_class - num_classes - 1], unknown[ignore_class - num_classes :]], 0)
    return tf.debugging.assert_equal(
        tf.reduce_sum(unknown),
        0,
        f"The truth has values other than 0..{num_classes} (classes, void) and {ignore_class} (left out).",
    )


def _at_most(values, limit):
    """int32 [pixels]: values above the limit, and negative ones, become the limit."""
    values = tf.cast(tf.reshape(values, [-1]), tf.int32)
    return tf.bitcast(tf.minimum(tf.bitcast(values, tf.uint32), limit), tf.int32)


def _bincount(index, size):
    """int32 [size], values from `size` on not counted; tf.math.bincount's size is no constant, which XLA refuses."""
    return tf.raw_ops.DenseBincount(input=index, size=size, weights=tf.zeros([0], tf.int32), binary_output=False)


def _like(prediction, truth, sample_weight):
    """Truth and mask (or None) in the shape of the prediction: [..., 1] loses its last axis, weights gain axes."""
    truth = tf.convert_to_tensor(truth)
    rank = prediction.shape.rank
    if truth.shape.rank == rank + 1 and truth.shape[-1] == 1:
        truth = tf.squeeze(truth, -1)
    if not truth.shape.is_compatible_with(prediction.shape):
        raise ValueError(f"Expected truth and prediction of one shape, got {truth.shape} and {prediction.shape}.")
    if sample_weight is None:
        return truth, None
    mask = tf.convert_to_tensor(sample_weight) != 0
    if mask.shape.rank == rank + 1:
        mask = tf.squeeze(mask, -1)
    mask = tf.reshape(mask, tf.concat([tf.shape(mask), tf.ones([rank - mask.shape.rank], tf.int32)], 0))
    return truth, tf.broadcast_to(mask, tf.shape(prediction))


def _iou(matrix):
    """[..., C] of the first C columns' classes, rows being all truth that counts."""
    matrix = matrix.astype(np.int64)
    hits = np.diagonal(matrix, axis1=-2, axis2=-1)
    classes = hits.shape[-1]
    union = matrix.sum(-1)[..., :classes] + matrix.sum(-2)[..., :classes] - hits
    return _ratio(hits, union)


def _hits(matrix):
    return np.diagonal(matrix[..., :-1, :-1], axis1=-2, axis2=-1).sum(-1)


def _mean(values):
    known = ~np.isnan(values)
    return _ratio(np.where(known, values, 0).sum(-1), known.sum(-1))


def _ratio(part, whole):
    part, whole = np.broadcast_arrays(np.asarray(part, np.float64), np.asarray(whole, np.float64))
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole != 0)[()]
