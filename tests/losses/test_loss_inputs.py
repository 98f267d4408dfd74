"""What losses are called with (class weights, shapes, labels, weights, masks) is honoured, or refused in one line."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from test_losses import ALL, K, example, value_and_gradient

from kseg import losses

CE = losses.MaskedSparseCategoricalCrossentropy


def refused(call, match):
    with pytest.raises(ValueError, match=match) as caught:
        call()
    assert "\n" not in str(caught.value)


# ---- Class weights ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [CE, losses.Dice, losses.OneVsAllBinaryCrossentropy])
def test_a_dict_of_class_weights_is_by_class_index_and_what_it_leaves_out_has_one(kind):
    labels, logits = example(seed=1)
    by_list = kind(void_class=K, class_weights=[1.0, 0.2, 3.0])
    by_dict = kind(void_class=K, class_weights={2: 3.0, np.int64(1): 0.2})
    assert by_dict(labels, logits) == by_list(labels, logits) != kind(void_class=K)(labels, logits)
    assert by_dict.get_config()["class_weights"] == [1.0, 0.2, 3.0]
    again = keras.losses.deserialize(keras.losses.serialize(by_dict))
    assert again(labels, logits) == by_list(labels, logits)
    assert kind(void_class=K, class_weights={})(labels, logits) == kind(void_class=K)(labels, logits)


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({"road": 1.0}, "class indices .* as keys; got 'road'"),
        ({-1: 1.0}, "as keys; got -1"),
        ({0.5: 1.0}, "as keys; got 0.5"),
        ({1: -2.0}, "finite number >= 0; got -2.0"),
        (3.0, "list of numbers by class index"),
        ([[1.0], [2.0]], "list of numbers by class index"),
    ],
)
def test_class_weights_that_are_none_are_refused(weights, words):
    refused(lambda: CE(class_weights=weights), words)


# ---- Shapes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ce", "dice", "sum"])
@pytest.mark.parametrize(
    ("labels", "logits", "words"),
    [
        ((2, 4, 5, K), (2, 4, 5, K), "one-hot.*argmax"),
        ((2, 20), (2, 20, K), "flat.*reshape"),
        ((2, 4, 5), (2, 4, 5), "no channels"),
        ((2, 4, 5), (2, K, 4, 5), "channels first.*transpose"),
        ((2, 4, 5), (2, 8, 10, K), r"got \(2, 4, 5\) and \(2, 8, 10, 4\)"),
        ((2, 3, 4, 5), (2, 3, 4, 5, K), r"expected y_true \[N, H, W\]"),
    ],
)
def test_shapes_that_do_not_fit_are_refused_in_words(name, labels, logits, words):
    refused(lambda: ALL[name](np.zeros(labels, np.uint8), np.zeros(logits, np.float32)), words)


def test_channels_that_a_part_of_a_sum_asks_for_and_that_are_not_there_are_refused():
    labels, logits = example(seed=2)
    refused(
        lambda: losses.WeightedSum([(losses.Dice(), 1.0, (0, K + 1))])(labels, logits), r"\(0, 5\), but y_pred has 4"
    )
    for span in ((2, 2), (-1, 2), (3, 1)):
        refused(lambda span=span: losses.WeightedSum([(CE(), 1.0, span)]), "start < stop")
    refused(lambda: losses.WeightedSum([(CE(), float("nan"), None)]), "finite")


# ---- Labels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_labels_between_two_classes_are_refused_and_whole_ones_of_any_type_are_taken(name):
    labels, logits = example(seed=3)
    for dtype in (np.float32, np.float64, np.int64, np.uint32):
        assert ALL[name](labels.astype(dtype), logits) == ALL[name](labels, logits)
    between = labels.astype(np.float32)
    between[1, 2, 3] = 1.5
    refused(lambda: ALL[name](between, logits), 'no integers.*interpolation.*"nearest"')
    with pytest.raises(tf.errors.InvalidArgumentError, match="no integers"):
        tf.function(ALL[name])(tf.constant(between), tf.constant(logits))


@pytest.mark.parametrize("stray", [np.float64("nan"), 1e300, np.int64(2**32), np.uint64(2**63)])
def test_labels_that_int32_does_not_hold_are_refused(stray):
    refused(lambda: CE()(np.array([[[stray, stray]]]), np.zeros((1, 1, 2, 3))), "no integers of 32 bits")


def test_labels_between_two_classes_make_the_loss_nan_where_xla_allows_no_error():
    labels, logits = np.array([[[0.5, 1.0]]], np.float32), np.zeros((1, 1, 2, 3), np.float32)
    assert np.isnan(tf.function(CE(), jit_compile=True)(labels, logits))
    assert np.isfinite(tf.function(CE(), jit_compile=True)(np.round(labels), logits))


def test_a_class_of_index_255_is_not_silently_ignored():
    labels = np.full((1, 1, 2), 255, np.uint8)
    logits = np.random.default_rng(0).normal(size=(1, 1, 2, 256))
    for loss in (CE(), losses.Dice(), losses.OneVsAllBinaryCrossentropy(), losses.Entropic()):
        refused(lambda loss=loss: loss(labels, logits), "ignore_class=255 is one of the 256 classes")
    for other in (None, -1, 256):
        assert CE(ignore_class=other)(labels, logits) > 0
    assert CE()(labels, logits[..., :255]) == 0  # 255 channels end at 254


def test_void_that_is_ignored_is_refused_unless_it_counts_nowhere():
    labels, logits = np.array([[[0, 255]]], np.uint8), np.zeros((1, 1, 2, 3))
    for loss in (
        losses.Dice(void_class=255),
        losses.Entropic(void_class=255),
        losses.OneVsAllBinaryCrossentropy(void_class=255),
    ):
        refused(lambda loss=loss: loss(labels, logits), "void_class and ignore_class are both 255")
    refused(lambda: losses.VoidBinaryCrossentropy(255)(labels, logits[..., :1]), "both 255")
    assert losses.VoidBinaryCrossentropy(255, ignore_class=None)(labels, logits[..., :1]) > 0
    assert CE(void_class=255)(labels, logits) == CE()(labels, logits)
    assert losses.Dice(void_class=255, void_weight=0)(labels, logits) == losses.Dice()(labels, logits)


def test_entropic_refuses_label_c_where_another_label_is_void():
    labels, logits = np.array([[[0, 3]]], np.uint8), np.zeros((1, 1, 2, 3), np.float32)
    refused(lambda: losses.Entropic(void_class=7)(labels, logits), "none of the 3 channels.*void_class=7")
    assert losses.Entropic()(labels, logits) > 0


def test_a_softmax_over_one_channel_is_refused():
    labels, logits = np.zeros((1, 2, 2), np.uint8), np.zeros((1, 2, 2, 1), np.float32)
    softmax = [CE(), CE(from_logits=False), losses.Entropic(), losses.Dice(), losses.InvertedDice()]
    for loss in [*softmax, losses.WeightedSum([(losses.Dice(), 1.0, (0, 1))])]:
        refused(lambda loss=loss: loss(labels, logits), "one channel is 1.*OneVsAllBinaryCrossentropy.*sigmoid")
    losses.Dice(from_logits=False)(labels, logits)  # probabilities are as they are


# ---- Weights and masks -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("shape", [(2,), (2, 1), (2, 5, 6), (2, 5, 6, 1)])
def test_sample_weights_of_images_and_of_pixels_are_taken_in_every_shape_keras_gives(name, shape):
    labels, logits = example(seed=4)
    weights = np.random.default_rng(5).uniform(0.1, 2, shape)
    of_pixels = np.broadcast_to(weights.reshape(2, *([1, 1] if len(shape) < 3 else [5, 6])), (2, 5, 6))
    np.testing.assert_allclose(ALL[name](labels, logits, weights), ALL[name](labels, logits, of_pixels), rtol=1e-12)


@pytest.mark.parametrize("name", ["ce", "dice", "sum"])
def test_sample_weights_below_zero_and_of_other_shapes_are_refused(name):
    labels, logits = example(seed=6)
    refused(lambda: ALL[name](labels, logits, np.array([1.0, -0.5])), "below 0")
    with pytest.raises(tf.errors.InvalidArgumentError, match="below 0"):
        tf.function(ALL[name])(labels, logits, tf.constant([1, -1]))
    assert np.isnan(tf.function(ALL[name], jit_compile=True)(labels, logits, tf.constant([1.0, -0.5])))
    refused(lambda: ALL[name](labels, logits, np.ones((2, 5))), "class_weights, not those of fit")
    refused(lambda: ALL[name](labels, logits, np.ones((3,))), r"expected sample_weight .* got \(3,\)")
    refused(lambda: ALL[name](labels, logits, np.ones((2, 6, 5))), r"got \(2, 6, 5\)")


def masked(logits, mask):
    logits = tf.convert_to_tensor(logits)
    logits._keras_mask = tf.constant(mask)
    return logits


@pytest.mark.parametrize("name", ALL)
def test_a_keras_mask_leaves_out_what_is_outside_it(name):
    labels, logits = example(seed=7)
    mask = np.random.default_rng(8).random(labels.shape) < 0.6
    dropped = np.where(mask, labels, 255)
    assert ALL[name](labels, masked(logits, mask)) == ALL[name](dropped, logits) != ALL[name](labels, logits)
    weights = np.random.default_rng(9).uniform(0.1, 2, labels.shape)
    expected = ALL[name](dropped, logits, weights)
    weights[~mask] = np.nan
    np.testing.assert_allclose(ALL[name](labels, masked(logits, mask), weights), expected, rtol=1e-12)
    images = np.array([True, False])
    of_one = np.where(images[:, None, None], labels, 255)
    assert ALL[name](labels, masked(logits, images)) == ALL[name](of_one, logits)


@keras.saving.register_keras_serializable("test_loss_inputs")
class _LeftHalf(keras.layers.Layer):
    """Hands its input on with a mask: only the left half of each image counts."""

    def call(self, inputs):
        keras.src.backend.set_keras_mask(inputs := inputs + 0, tf.broadcast_to(tf.range(8) < 4, tf.shape(inputs)[:3]))
        return inputs


def test_a_keras_mask_is_honoured_in_fit():
    random = np.random.default_rng(10)
    images, labels = random.normal(size=(4, 8, 8, 3)).astype(np.float32), random.integers(0, 3, (4, 8, 8))
    weights = []
    for layers, truth in (([_LeftHalf()], labels), ([], np.where(np.arange(8) < 4, labels, 255))):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(3, 1), *layers])
        model.compile(keras.optimizers.SGD(1.0), CE())
        model.fit(images, truth, epochs=2, verbose=0, shuffle=False)
        weights.append(model.get_weights()[0])
    np.testing.assert_allclose(weights[0], weights[1], rtol=1e-5)


def test_micro_batches_whose_predictions_have_a_mask_take_the_forward_pass_or_are_refused():
    labels, logits = example(seed=11)
    mask = np.random.default_rng(12).random(labels.shape) < 0.6
    z = tf.Variable(logits)
    parts = [(tf.constant(i), tf.constant(labels[i : i + 1])) for i in (0, 1)]
    model = lambda i: masked(z[i : i + 1], mask[int(i) : int(i) + 1])  # noqa: E731
    value, _ = losses.accumulated_gradients(ALL["ce"], model, parts, [z])
    np.testing.assert_allclose(value, ALL["ce"](labels, masked(logits, mask)), rtol=1e-12)
    refused(lambda: losses.accumulated_gradients(ALL["ce"], model, parts, [z], channels=K), "leave channels=None")


def test_micro_batches_take_labels_and_weights_in_every_shape_that_a_batch_does():
    labels, logits = example(seed=13)
    z, weights = tf.Variable(logits), np.array([1.0, 3.0])
    parts = [(tf.constant(i), labels[i : i + 1, ..., None], weights[i : i + 1]) for i in (0, 1)]
    value, (gradient,) = losses.accumulated_gradients(ALL["ce"], lambda i: z[i : i + 1], parts, [z], channels=K)
    expected, its_gradient = value_and_gradient(ALL["ce"], labels, logits, weights)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    np.testing.assert_allclose(tf.convert_to_tensor(gradient), its_gradient, rtol=1e-9, atol=1e-15)
