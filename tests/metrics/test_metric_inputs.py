"""One channel, masks, directions, labels and predictions of metrics: honoured, or refused in words."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kseg import losses, metrics

# truth       says "object"      object: 3 right, 1 missed; background: 2 called object, 3 not
TRUTH = np.array([[[1, 1, 1, 1, 0], [0, 0, 0, 0, 255]]], np.uint8)
OBJECT = np.array([[[1, 1, 1, 0, 1], [1, 0, 0, 0, 1]]], np.int32)
MATRIX = [[3, 1], [2, 3]]
LOGITS = np.where(OBJECT, 0.3, -2.0)[..., None].astype(np.float32)
BINARY = {
    "logits": (True, LOGITS),
    "probabilities": (False, 1 / (1 + np.exp(-LOGITS))),
    "probabilities, no channel": (False, 1 / (1 + np.exp(-LOGITS[..., 0]))),
    "maps": (False, OBJECT),
}


@pytest.mark.parametrize("jit", [None, False, True])
@pytest.mark.parametrize("kind", BINARY)
def test_one_channel_counts_the_object_by_hand(kind, jit):
    from_logits, predictions = BINARY[kind]
    for truth in (TRUTH, TRUTH[..., None]):
        metric = metrics.ConfusionMatrix(1, from_logits=from_logits)
        update = metric.update_state if jit is None else tf.function(metric.update_state, jit_compile=jit)
        update(tf.constant(truth), tf.constant(predictions))
        assert metric.matrix().tolist() == MATRIX
        assert float(metric.result()) == pytest.approx(3 / 6) and metric.per_class_iou().tolist() == [3 / 6]
    everything = metrics.ConfusionMatrix(1)
    everything.update_state(TRUTH, np.ones_like(LOGITS))
    assert float(everything.result()) == pytest.approx(4 / 9)
    nothing = metrics.ConfusionMatrix(1)
    nothing.update_state(TRUTH, np.full_like(LOGITS, np.nan))
    assert nothing.matrix().tolist() == [[0, 4], [0, 5]]


def test_one_class_with_an_output_for_void_is_not_right_by_calling_void_the_class():
    truth = np.array([[[0, 0, 1, 1]]])  # 1 is void
    metric = metrics.ConfusionMatrix(1)
    metric.update_state(truth, np.array([[[[1.0, 0.0]] * 4]]))
    assert metric.matrix().tolist() == [[2, 0], [2, 0]] and float(metric.result()) == 0.5


@pytest.mark.parametrize("jit", [False, True])
def test_the_result_in_a_graph_is_that_of_the_numpy_function(jit):
    matrix = np.random.default_rng(0).integers(0, 2**40, (6, 6))
    matrix[2], matrix[:, 2] = 0, 0
    metric = metrics.ConfusionMatrix(5, dtype="float64")
    metric.counts.assign(matrix)
    result = tf.function(metric.result, jit_compile=jit)()
    np.testing.assert_allclose(result, metrics.mean_iou(matrix), rtol=1e-14)


def test_iou_of_weighted_pixels_is_not_rounded():
    matrix = np.array([[3, 1, 1], [0, 4, 0], [9, 0, 2]])
    assert metrics.per_class_iou(matrix / 8).tolist() == metrics.per_class_iou(matrix).tolist() == [3 / 5, 4 / 5]
    assert metrics.per_class_iou(np.array([[0.5, 0.25], [8.0, 0.0]]), void_costs=False).tolist() == [0.5 / 0.75]
    # class 0 with void as false positives: 3 / (5 + 9)
    assert metrics.per_class_iou(matrix, void_costs=True).tolist() == [3 / 14, 4 / 5]
    rng = np.random.default_rng(0)
    frames, weights = rng.integers(0, 50, (20, 5, 5)), rng.integers(0, 4, 20)
    pooled = np.tensordot(weights / 4, frames, 1)
    assert metrics.mean_iou(pooled) == pytest.approx(metrics.mean_iou(np.repeat(frames, weights, 0).sum(0)), rel=1e-14)
    large = np.full((2, 2), 2**31, np.uint32)  # whose sums uint32 does not hold
    assert metrics.per_class_iou(large, void_costs=False).tolist() == [0.5]


def test_one_class_alone_is_not_scored_by_its_recall():
    # 4 pixels of the class, 5 of void. All called the class: 4 / (4 + 5); 3 and 1 of them: 3 / (4 + 1).
    everything, some = np.array([[4, 0], [5, 0]]), np.array([[3, 1], [1, 4]])
    assert metrics.mean_iou(np.stack([everything, some])).tolist() == [4 / 9, 3 / 5]


@pytest.mark.parametrize("mask_shape", [(2,), (2, 3, 4)])
def test_a_keras_mask_leaves_out_what_is_outside_it(mask_shape):
    random = np.random.default_rng(1)
    truth, logits = random.integers(0, 3, (2, 3, 4)), random.normal(size=(2, 3, 4, 2)).astype(np.float32)
    mask = random.random(mask_shape) < 0.5
    weights = random.random((2, 3, 4)) < 0.5
    inside = np.broadcast_to(mask.reshape(*mask_shape, *[1] * (3 - len(mask_shape))), (2, 3, 4))
    predictions = tf.constant(logits)
    predictions._keras_mask = tf.constant(mask)
    for sample_weight, keep in ((None, inside), (weights, inside & weights)):
        for metric in (metrics.ConfusionMatrix(2), metrics.ScoreHistogram(2, score=lambda z: z[..., 0])):
            metric.update_state(truth, predictions, sample_weight)
            masked = np.array(metric.counts)
            metric.reset_state()
            metric.update_state(np.where(keep, truth, 255), logits)
            assert (masked == np.array(metric.counts)).all() and masked.sum() == keep.sum()


def test_callbacks_in_mode_auto_know_that_more_is_better(tmp_path):
    random = np.random.default_rng(2)
    images, truth = random.normal(size=(4, 8, 8, 3)).astype(np.float32), random.integers(0, 3, (4, 8, 8))
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(3, 1)])
    score = metrics.ScoreHistogram(2, score=_first)
    model.compile("sgd", losses.MaskedSparseCategoricalCrossentropy(), metrics=[metrics.ConfusionMatrix(2), score])
    callbacks = [keras.callbacks.EarlyStopping(f"val_{name}") for name in ("mean_iou", "void_auroc")]
    callbacks += [keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", "val_mean_iou", save_best_only=True)]
    model.fit(images, truth, validation_data=(images, truth), epochs=1, verbose=0, callbacks=callbacks)
    for callback in callbacks:
        assert callback.monitor_op is keras.ops.greater


@keras.saving.register_keras_serializable("test_metric_inputs")
def _first(logits):
    return logits[..., 0]


@pytest.mark.parametrize("kind", [metrics.ConfusionMatrix, metrics.ScoreHistogram])
def test_truth_between_two_classes_is_refused_and_whole_floats_are_taken(kind):
    options = {"from_logits": False} if kind is metrics.ConfusionMatrix else {}
    predictions = np.array([0, 1], np.int32 if options else np.float32)
    metric = kind(2, **options)
    metric.update_state(np.array([0.0, 2.0]), predictions)
    assert np.sum(metric.counts) == 2
    with pytest.raises(ValueError, match="no integers"):
        metric.update_state(np.array([0.0, 0.5]), predictions)
    with pytest.raises(tf.errors.InvalidArgumentError, match="no integers"):
        tf.function(metric.update_state)(tf.constant([0.0, 0.5]), tf.constant(predictions))
    assert np.sum(metric.counts) == 2


def test_scores_given_for_class_indices_are_refused():
    metric = metrics.ConfusionMatrix(3, from_logits=False)
    with pytest.raises(ValueError, match="no integers"):
        metric.update_state([0, 1], [0.2, 0.9])
    metric.update_state([0, 1, 1], np.array([0, 2**32 + 1, -(2**32)]))  # neither is a class
    assert metric.matrix()[:, 3].tolist() == [0, 2, 0, 0] and metric.matrix()[0, 0] == 1


def test_a_class_of_index_255_is_not_silently_left_out():
    for call in (
        lambda ignored: metrics.confusion_matrix([255], [255], 256, ignored),
        lambda ignored: metrics.ConfusionMatrix(256, ignored, from_logits=False).update_state([255], [255]),
        lambda ignored: metrics.ScoreHistogram(256, ignore_class=ignored).update_state([255], [0.0]),
    ):
        with pytest.raises(ValueError, match="ignore_class=255 is one of the 256 classes"):
            call(255)
        call(None)
        call(-1)
    assert metrics.confusion_matrix([255], [255], 256, None).numpy()[255, 255] == 1
