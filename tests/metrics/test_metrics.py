"""Confusion matrices and the numbers read off them, by hand; score bins; the Keras metrics in compile and fit."""

import doctest

import keras
import numpy as np
import pytest
import tensorflow as tf

from kseg import histograms, metrics

# truth        prediction     K = 2: 2 is void in the truth, an abstention in the prediction; 255 is left out.
# 0 0 1        0 2 1
# 1 2 2        0 1 2
# 2 255 0      0 1 0
TRUTH = np.array([[0, 0, 1], [1, 2, 2], [2, 255, 0]], np.uint8)
PREDICTION = np.array([[0, 2, 1], [0, 1, 2], [0, 1, 0]], np.uint8)
#           predicted 0, 1, abstain
MATRIX = np.array(
    [
        [2, 0, 1],  # true 0
        [1, 1, 0],  # true 1
        [1, 1, 1],  # void
    ]
)


def test_confusion_matrix_of_a_three_by_three_map_by_hand():
    matrix = metrics.confusion_matrix(TRUTH, PREDICTION, num_classes=2)
    assert matrix.dtype == tf.int64
    assert matrix.numpy().tolist() == MATRIX.tolist()


def test_numbers_read_off_the_matrix_by_hand():
    # class 0: tp 2, fn 1 (the abstention), fp 1 (true 1); void called 0 costs nothing: 2/4. Class 1: tp 1, fn 1: 1/2.
    assert metrics.per_class_iou(MATRIX).tolist() == [2 / 4, 1 / 2]
    assert metrics.mean_iou(MATRIX) == 1 / 2
    # with background, void pixels count as false positives: 2/5, 1/3; void: tp 1, fn 2, fp 1: 1/4.
    assert metrics.mean_iou_with_background(MATRIX) == pytest.approx((2 / 5 + 1 / 3 + 1 / 4) / 3, abs=1e-15)
    assert metrics.abstain_rate(MATRIX) == 1 / 5
    assert metrics.leak(MATRIX[2]) == 2 / 3
    assert metrics.claimed_as(MATRIX[2]).tolist() == [1 / 3, 1 / 3]


def test_correct_pixels_lost_to_abstaining_are_the_forced_hits_that_are_gone():
    # forced: the abstention on true 0 would have been right, the other one wrong.
    forced = np.array([[3, 1, 0], [1, 1, 0], [2, 1, 0]])
    native = np.array([[2, 0, 2], [1, 1, 0], [1, 1, 1]])
    assert metrics.abstain_rate(native) == 2 / 6
    assert metrics.abstain_rate_correct(native, forced) == 1 / 6


def test_absent_classes_leave_the_mean_but_a_predicted_one_counts_as_zero():
    matrix = np.array([[3, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 5, 0, 0]])
    # class 1 is only predicted on void: absent. Class 2 is predicted on a labelled pixel: 0.
    iou = metrics.per_class_iou(matrix)
    assert iou[0] == 3 / 4 and np.isnan(iou[1]) and iou[2] == 0
    assert metrics.mean_iou(matrix) == 3 / 8


def test_nothing_to_divide_by_gives_nan_and_no_warning():
    empty = np.zeros((3, 3), np.int64)
    with np.errstate(all="raise"):
        values = [metrics.mean_iou(empty), metrics.mean_iou_with_background(empty), metrics.abstain_rate(empty)]
        values += [metrics.abstain_rate_correct(empty, empty), metrics.leak(empty[2]), *metrics.claimed_as(empty[2])]
    assert np.isnan(values).all()


def test_leading_axes_give_the_numbers_of_each_matrix():
    matrices = np.stack([MATRIX, MATRIX * 3, np.eye(3, dtype=np.int64)])[:, None]
    assert metrics.mean_iou(matrices).tolist() == [[0.5], [0.5], [1.0]]
    assert metrics.leak(matrices[..., 2, :]).tolist() == [[2 / 3], [2 / 3], [0.0]]


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("channels", [2, 3])
def test_logits_that_are_not_numbers_decide_nothing_and_infinite_ones_do(jit, channels):
    logits = np.zeros((5, channels), np.float32)
    logits[0], logits[1, 1], logits[2, 0] = np.nan, np.nan, np.nan
    logits[3, 1], logits[4, 0] = np.inf, -np.inf
    metric = metrics.ConfusionMatrix(2)
    tf.function(metric.update_state, jit_compile=jit)(tf.zeros(5, tf.int32), tf.constant(logits))
    assert metric.matrix()[0].tolist() == [0, 2, 3]


def test_an_abstention_is_a_miss_where_keras_mean_iou_drops_it():
    truth, prediction = [0, 1], [0, 2]
    stock = keras.metrics.MeanIoU(num_classes=2, ignore_class=255)
    stock.update_state(truth, prediction)
    ours = metrics.ConfusionMatrix(num_classes=2, from_logits=False)
    ours.update_state(truth, prediction)
    assert float(stock.result()) == pytest.approx(1.0, abs=1e-6)
    assert float(ours.result()) == 0.5


@pytest.mark.parametrize("stray", [-1, 3, 200, 255])
def test_any_prediction_that_is_no_class_is_an_abstention(stray):
    assert metrics.confusion_matrix([0, 1], [0, stray], 2).numpy().tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0]]


@pytest.mark.parametrize("stray", [-1, 3, 254])
def test_a_truth_that_means_nothing_is_refused(stray):
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"values other than 0\.\.2"):
        metrics.confusion_matrix([0, stray], [0, 0], 2)
    metric = metrics.ScoreHistogram(2)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"values other than 0\.\.2"):
        metric.update_state([0, stray], [0.0, 0.0])
    assert metric.histogram()[0].sum() == 0


@pytest.mark.parametrize("ignore_class", [255, -1, 0, None])
def test_the_left_out_value_is_counted_nowhere(ignore_class):
    truth = np.array([0, 1, 2, 1, 0])
    matrix = metrics.confusion_matrix(truth, [0, 1, 1, 0, 2], 2, ignore_class=ignore_class).numpy()
    assert matrix.sum() == 5 - (truth == ignore_class).sum()
    assert matrix[0].sum() == (0 if ignore_class == 0 else 2)


def test_leaving_out_equals_deleting():
    rng = np.random.default_rng(0)
    truth, prediction = rng.integers(0, 6, 1000), rng.integers(0, 6, 1000)
    keep = rng.random(1000) < 0.5
    deleted = metrics.confusion_matrix(truth[keep], prediction[keep], 5).numpy()
    ignored = metrics.confusion_matrix(np.where(keep, truth, 255), prediction, 5).numpy()
    masked = metrics.confusion_matrix(truth, prediction, 5, mask=keep).numpy()
    assert (ignored == deleted).all() and (masked == deleted).all()


def test_counts_stay_exact_beyond_two_to_the_24():
    metric = metrics.ConfusionMatrix(num_classes=2, from_logits=False)
    metric.counts.assign(np.full((3, 3), 2**24))
    metric.update_state([0, 1, 2], [1, 1, 0])
    assert (metric.matrix() - 2**24).tolist() == [[0, 1, 0], [0, 1, 0], [1, 0, 0]]
    metric.counts.assign(np.full((3, 3), 2**40))
    metric.update_state([0], [0])
    assert metric.matrix()[0, 0] == 2**40 + 1


def test_result_equals_the_numpy_function_and_is_zero_before_anything_was_counted():
    rng = np.random.default_rng(1)
    metric = metrics.ConfusionMatrix(num_classes=5)
    assert float(metric.result()) == 0.0
    logits = rng.normal(size=(2, 8, 9, 6)).astype(np.float32)
    truth = rng.integers(0, 6, (2, 8, 9)).astype(np.uint8)
    metric.update_state(truth, logits)
    expected = metrics.confusion_matrix(truth, logits.argmax(-1), 5).numpy()
    assert (metric.matrix() == expected).all()
    assert float(metric.result()) == np.float32(metrics.mean_iou(expected))
    assert metric.abstain_rate() == metrics.abstain_rate(expected)
    assert metric.leak() == metrics.leak(expected[5])
    metric.reset_state()
    assert metric.matrix().sum() == 0


@pytest.mark.parametrize("shape", [(2,), (2, 3), (2, 3, 4), (2, 3, 4, 1)])
def test_sample_weight_is_a_mask_that_is_broadcast_from_the_first_axes(shape):
    rng = np.random.default_rng(2)
    truth, prediction = rng.integers(0, 3, (2, 3, 4)), rng.integers(0, 3, (2, 3, 4))
    weight = rng.choice([0.0, 0.5, 2.0], shape)
    expanded = weight[..., 0] if weight.ndim == 4 else weight.reshape(weight.shape + (1,) * (3 - weight.ndim))
    keep = np.broadcast_to(expanded != 0, truth.shape)
    metric = metrics.ConfusionMatrix(2, from_logits=False)
    metric.update_state(truth[..., None], prediction, sample_weight=weight)
    assert (metric.matrix() == metrics.confusion_matrix(truth[keep], prediction[keep], 2).numpy()).all()


def test_wrong_shapes_are_refused_in_words():
    metric = metrics.ConfusionMatrix(2)
    with pytest.raises(ValueError, match="expected logits of 2 or 3 channels"):
        metric.update_state(np.zeros((1, 4, 4)), np.zeros((1, 4, 4)))
    with pytest.raises(ValueError, match="truth and prediction of one shape"):
        metric.update_state(np.zeros((1, 4, 4)), np.zeros((1, 2, 2, 3)))


def test_metrics_work_in_fit_evaluate_and_under_xla_and_survive_saving(tmp_path):
    rng = np.random.default_rng(3)
    images = rng.normal(size=(6, 8, 8, 3)).astype(np.float32)
    truth = rng.integers(0, 4, (6, 8, 8)).astype(np.int32)
    truth[:, 0] = 255
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 1)])
    for jit in (False, True):
        model.compile(
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255),
            metrics=[metrics.ConfusionMatrix(3), metrics.ScoreHistogram(3, score=_last_channel)],
            jit_compile=jit,
        )
        model.fit(images, truth, batch_size=4, verbose=0)
        logged = model.evaluate(images, truth, batch_size=4, verbose=0, return_dict=True)
        logits = model.predict(images, verbose=0)
        matrix = metrics.confusion_matrix(truth, logits.argmax(-1), 3).numpy()
        assert logged["mean_iou"] == np.float32(metrics.mean_iou(matrix))
        score = metrics.ScoreHistogram(3)
        score.update_state(truth, logits[..., 3])
        assert logged["void_auroc"] == np.float32(score.statistics()["auroc"])
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.evaluate(images, truth, batch_size=4, verbose=0, return_dict=True) == logged


@keras.saving.register_keras_serializable("test_metrics")
def _last_channel(logits):
    return logits[..., -1]


def test_config_round_trip():
    metric = metrics.ConfusionMatrix(7, ignore_class=None, from_logits=False, name="x")
    assert metrics.ConfusionMatrix.from_config(metric.get_config()).get_config() == metric.get_config()
    score = metrics.ScoreHistogram(7, score=_last_channel, ignore_class=9)
    again = metrics.ScoreHistogram.from_config(score.get_config())
    assert again.get_config() == score.get_config() and again.score is _last_channel


def test_the_docstring_example_is_true():
    names = {"ConfusionMatrix": metrics.ConfusionMatrix}
    finder = doctest.DocTestFinder(recurse=False)
    (example,) = finder.find(metrics.ConfusionMatrix, "ConfusionMatrix", globs=names)
    assert example.examples and doctest.DocTestRunner().run(example).failed == 0


# Score bins. ----------------------------------------------------------------------------------------------------------

EDGES = np.array(
    [-np.inf, -1e30, -1e4, -17.0, -1.0, -1e-3, -(2.0**-18), -1e-30, -0.0, 0.0, 1e-30, 2.0**-18, 1e-3, 1, 17, 1e4, 1e30]
    + [np.inf],
    np.float32,
)


def test_bins_keep_the_order_and_a_bin_is_narrower_than_a_thousandth():
    rng = np.random.default_rng(4)
    scores = np.concatenate([EDGES, rng.choice([-1, 1], 10**5) * np.exp(rng.uniform(-20, 9.7, 10**5))])
    scores = np.sort(scores.astype(np.float32))
    bins = metrics.score_bins(scores).numpy()
    assert (np.diff(bins) >= 0).all() and bins.min() >= 1 and bins.max() == histograms.NUM_BINS - 1
    inner = (np.abs(scores) > 2.0**-18) & (np.abs(scores) < 16000)
    same = inner[1:] & inner[:-1] & (np.diff(bins) == 0)
    assert same.sum() > 1000
    assert (np.diff(scores.astype(np.float64))[same] < np.abs(scores[1:][same]) / 1024 * 1.001).all()


def test_zero_minus_zero_and_tiny_scores_share_the_middle_bin_and_nan_has_its_own():
    bins = metrics.score_bins([0.0, -0.0, 3e-6, -3e-6, np.nan, -np.nan]).numpy()
    assert bins.tolist() == [histograms.MIDDLE] * 4 + [0, 0]
    halves = metrics.score_bins(tf.constant([1.5, -2.0], tf.bfloat16)).numpy()
    assert halves.tolist() == metrics.score_bins([1.5, -2.0]).numpy().tolist()


def test_a_threshold_says_exactly_which_bins_are_above_it():
    thresholds = histograms.thresholds()
    assert thresholds.dtype == np.float32 and np.isfinite(thresholds).all() and (np.diff(thresholds) >= 0).all()
    near = np.concatenate([thresholds, np.nextafter(thresholds[:-1], np.float32(np.inf)), EDGES[1:-1]])
    bins = metrics.score_bins(near).numpy()
    for index in [1, 2, 3, 1000, histograms.MIDDLE - 1, histograms.MIDDLE, histograms.MIDDLE + 1, 50000, 65535, 65536]:
        assert ((near > thresholds[index]) == (bins >= index))[near > -np.finfo(np.float32).max].all(), index


def test_eager_graph_and_xla_bins_agree():
    scores = np.concatenate([EDGES, [np.nan]])
    eager = metrics.score_bins(scores).numpy()
    for jit in (False, True):
        assert (tf.function(metrics.score_bins, jit_compile=jit)(scores).numpy() == eager).all()
