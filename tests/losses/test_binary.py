"""One sigmoid channel: label 1 is the object, label 0 the background, under every loss that takes one channel."""

import keras
import numpy as np
import pytest

from kseg import losses, metrics

SIGMOID = {"activation": "sigmoid"}
LOSSES = {
    "one_vs_all": losses.OneVsAllBinaryCrossentropy,
    "dice": lambda **o: losses.Dice(**SIGMOID, **o),
    "inverted_dice": lambda **o: losses.InvertedDice(**SIGMOID, **o),
    "sum": lambda **o: losses.WeightedSum(
        [(losses.OneVsAllBinaryCrossentropy(**o), 1.0, None), (losses.Dice(**SIGMOID, **o), 0.5, None)]
    ),
}

# Labels 1 0 255, p = 3/4 1/4 1/2: the object's p is 3/4, the background's 1/4.
LABELS = np.array([[[1, 0, 255]]], np.uint8)
LOGITS = np.array([[[[np.log(3)], [-np.log(3)], [0.0]]]])


def test_the_losses_of_one_channel_worked_by_hand():
    # Binary cross entropy: -log 3/4 at both.
    np.testing.assert_allclose(losses.OneVsAllBinaryCrossentropy()(LABELS, LOGITS), np.log(4 / 3), rtol=1e-12)
    # TP = 3/4, FP = 1/4, FN = 1/4, TN = 3/4, s = 1: 1 - Dice = (1/2) / (3/2 + 1/2 + 1) = 1/6; inverted the same.
    np.testing.assert_allclose(losses.Dice(**SIGMOID)(LABELS, LOGITS), 1 / 6, rtol=1e-12)
    np.testing.assert_allclose(losses.InvertedDice(**SIGMOID)(LABELS, LOGITS), 1 / 6, rtol=1e-12)
    # Twice the background: FP = 1/2, TN = 3/2: Dice (3/4) / (3/2 + 3/4 + 1), inverted (3/4) / (3 + 3/4 + 1).
    labels, logits = np.concatenate([LABELS, LABELS[..., 1:2]], -1), np.concatenate([LOGITS, LOGITS[:, :, 1:2]], 2)
    np.testing.assert_allclose(losses.Dice(**SIGMOID)(labels, logits), (3 / 4) / (13 / 4), rtol=1e-12)
    np.testing.assert_allclose(losses.InvertedDice(**SIGMOID)(labels, logits), (3 / 4) / (19 / 4), rtol=1e-12)


def random_case(seed=0):
    random = np.random.default_rng(seed)
    return random.integers(0, 2, (2, 5, 6)), random.normal(size=(2, 5, 6, 1))


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_binary_cross_entropy_is_that_of_keras_smoothed_and_focal(smoothing, gamma):
    labels, logits = random_case()
    ours = losses.OneVsAllBinaryCrossentropy(label_smoothing=smoothing, focal_gamma=gamma)(labels, logits)
    options = {"from_logits": True, "label_smoothing": smoothing, "dtype": "float64"}
    stock = keras.losses.BinaryCrossentropy(**options)
    if gamma and smoothing:  # Keras' focal factor is of the smoothed target; ours, of the truth, is checked by hand
        signed = np.where(labels == 1, logits[..., 0], -logits[..., 0])
        q, target = 1 / (1 + np.exp(-signed)), (1 - smoothing) * labels + smoothing / 2
        z = logits[..., 0]
        expected = ((1 - q) ** gamma * (np.log1p(np.exp(z)) - target * z)).mean()
    elif gamma:
        expected = keras.losses.BinaryFocalCrossentropy(gamma=gamma, **options)(labels[..., None], logits)
    else:
        expected = stock(labels[..., None], logits)
    np.testing.assert_allclose(ours, expected, rtol=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_the_object_weighs_as_class_one_and_the_background_as_class_zero(name):
    labels, logits = random_case(1)
    weighted = LOSSES[name](class_weights={1: 3.0, 0: 0.5})(labels, logits)
    by_pixel = LOSSES[name]()(labels, logits, np.where(labels == 1, 3.0, 0.5))
    np.testing.assert_allclose(weighted, by_pixel, rtol=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_void_beside_the_object_is_background_by_its_weight(name):
    labels, logits = random_case(2)
    with_void = labels.copy()
    with_void[0, :2] = 2
    background = np.where(with_void == 2, 0, with_void)
    weights = np.where(with_void == 2, 0.25, 1.0)
    value = LOSSES[name](void_class=2, void_weight=0.25)(with_void, logits)
    np.testing.assert_allclose(value, LOSSES[name]()(background, logits, weights), rtol=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_where_label_one_is_void_the_channel_is_that_of_class_zero(name):
    labels, logits = random_case(3)
    value = LOSSES[name](void_class=1)(labels, logits)
    np.testing.assert_allclose(value, LOSSES[name]()(1 - labels, logits), rtol=1e-12)


def test_a_channel_of_a_sum_is_binary_whatever_the_others_are():
    labels, logits = random_case(4)
    wide = np.concatenate([np.random.default_rng(5).normal(size=(2, 5, 6, 2)), logits], -1)
    parts = [
        (losses.MaskedSparseCategoricalCrossentropy(), 1.0, (0, 2)),
        (losses.OneVsAllBinaryCrossentropy(), 2.0, (2, 3)),
    ]
    expected = sum(weight * float(loss(labels, wide[..., slice(*span)])) for loss, weight, span in parts)
    np.testing.assert_allclose(losses.WeightedSum(parts)(labels, wide), expected, rtol=1e-12)


@pytest.mark.parametrize(("name", "probabilities"), [("sum", False), ("inverted_dice", False), ("dice", True)])
def test_a_model_of_one_channel_learns_the_object_and_the_metric_says_so(name, probabilities):
    random = np.random.default_rng(6)
    truth = (random.random((8, 8, 8)) < 0.3).astype(np.int32)
    images = (truth[..., None] * 2.0 - 1 + random.normal(scale=0.1, size=(8, 8, 8, 1))).astype(np.float32)
    truth[:, 0] = 255
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(1, 1)])
    if probabilities:
        model.add(keras.layers.Activation("sigmoid"))
    options = {"from_logits": not probabilities}
    metric = metrics.ConfusionMatrix(num_classes=1, **options)
    model.compile(keras.optimizers.Adam(0.1), LOSSES[name](**options), metrics=[metric])
    model.fit(images, truth, epochs=40, batch_size=8, verbose=0)
    threshold = 0.5 if probabilities else 0.0
    right = (model.predict(images, verbose=0)[..., 0] > threshold) == (truth == 1)
    assert right[truth != 255].mean() > 0.99
    assert model.evaluate(images, truth, verbose=0, return_dict=True)["mean_iou"] > 0.95
