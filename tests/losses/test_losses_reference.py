"""Every option of every per-pixel loss against a NumPy reference written from the definitions; what is not finite."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from test_losses import ALL, K, example, value_and_gradient

from kseg import losses
from kseg.losses import _compiled, terms


def reference(kind, labels, logits, ignore=255, void=None, void_weight=1.0, class_weights=None, sample_weight=None,
              smoothing=0.0, gamma=0.0, top_k=1.0):  # fmt: skip
    """The loss by a loop over pixels. kind: "ce", "entropic", "one_vs_all" or "void"."""
    channels = logits.shape[-1]
    total = divisor = 0.0
    for image in range(labels.shape[0]):
        pixels = []
        for row, column in np.ndindex(labels.shape[1:]):
            label, z = int(labels[image, row, column]), logits[image, row, column]
            weight = class_weights[label] if class_weights is not None and label < len(class_weights) else 1.0
            weight *= void_weight if label == void else 1.0
            weight *= 0.0 if label == ignore else 1.0
            weight *= 1.0 if sample_weight is None else sample_weight[image, row, column]
            if weight:
                pixels.append((_pixel(kind, label, z, channels, void, smoothing, gamma), weight))
        pixels.sort(key=lambda pixel: -pixel[0])
        for loss, weight in pixels[: int(np.ceil(top_k * len(pixels) - 1e-9))]:
            total += weight * loss
            divisor += weight
    return total / divisor


def _pixel(kind, label, z, channels, void, smoothing, gamma):
    if kind in ("ce", "entropic"):
        p = np.exp(z) / np.exp(z).sum()
        if kind == "entropic" and label == (channels if void is None else void):
            return -np.log(p).mean()
        target = (1 - smoothing) * np.eye(channels)[label] + smoothing / channels
        return (1 - p[label]) ** gamma * -(target * np.log(p)).sum()
    p = 1 / (1 + np.exp(-z))
    if kind == "void":
        truth, spread = np.array([float(label == void)]), 0.5
    else:
        truth, spread = np.array([float(label == c) for c in range(channels)]), 1 / channels
    target = (1 - smoothing) * truth + smoothing * spread
    given = np.where(truth == 1, p, 1 - p)
    return ((1 - given) ** gamma * -(target * np.log(p) + (1 - target) * np.log(1 - p))).sum()


CLASSES = {
    "ce": losses.MaskedSparseCategoricalCrossentropy,
    "entropic": losses.Entropic,
    "one_vs_all": losses.OneVsAllBinaryCrossentropy,
}
OPTIONS = {
    "plain": {},
    "smoothing": {"smoothing": 0.3},
    "focal": {"gamma": 1.7},
    "focal and smoothing": {"gamma": 0.8, "smoothing": 0.2},
    "class weights": {"class_weights": [1.0, 0.2, 3.0, 0.5, 0.7]},
    "void weight": {"void_weight": 0.4},
    # A void_class multiplies its own class weight, rather than taking its place.
    "void and class weights": {"void_weight": 0.4, "class_weights": [1.0, 0.2, 3.0, 0.5, 0.7]},
    # The hardest by their loss, before weights.
    "top k of weighted": {"top_k": 0.35, "class_weights": [0.1, 5.0, 1.0, 1.0, 2.0]},
    "top k, focal": {"top_k": 0.5, "gamma": 2.0},
}


def arguments(options):
    names = {"smoothing": "label_smoothing", "gamma": "focal_gamma"}
    return {names.get(name, name): value for name, value in options.items()}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("kind", CLASSES)
def test_a_loss_is_what_its_definition_says_pixel_by_pixel(kind, options):
    labels, logits = example(seed=31, shape=(2, 4, 6))
    if kind == "ce":
        labels = np.where(labels == K, K - 1, labels)
    void = {"ce": K - 1, "entropic": K, "one_vs_all": K}[kind]
    loss = CLASSES[kind](void_class=void, **arguments(options))
    expected = reference(kind, labels, logits, void=void, **options)
    np.testing.assert_allclose(loss(labels, logits), expected, rtol=1e-9)


@pytest.mark.parametrize("options", [{}, {"smoothing": 0.3}, {"gamma": 1.3}, {"void_weight": 0.3}], ids=str)
def test_the_void_logits_loss_is_what_its_definition_says(options):
    labels, logits = example(seed=32)
    loss = losses.VoidBinaryCrossentropy(K, **arguments(options))
    expected = reference("void", labels, logits[..., :1], void=K, **options)
    np.testing.assert_allclose(loss(labels, logits[..., :1]), expected, rtol=1e-9)


def test_the_plain_functions_are_the_classes():
    labels, logits = example(seed=40)
    factors = np.random.default_rng(41).uniform(0, 2, labels.shape)
    pairs = {
        losses.masked_sparse_categorical_crossentropy: losses.MaskedSparseCategoricalCrossentropy,
        losses.entropic: losses.Entropic,
        losses.one_vs_all_binary_crossentropy: losses.OneVsAllBinaryCrossentropy,
        losses.dice: losses.Dice,
        losses.inverted_dice: losses.InvertedDice,
    }
    options = {"void_class": K, "void_weight": 0.3, "class_weights": [1.0, 2.0]}
    for function, kind in pairs.items():
        assert function(labels, logits, factors, **options) == kind(**options)(labels, logits, factors)
    ours = losses.void_binary_crossentropy(labels, logits[..., :1], K, focal_gamma=1.0)
    assert ours == losses.VoidBinaryCrossentropy(K, focal_gamma=1.0)(labels, logits[..., :1])


def test_a_compiled_model_takes_weights_of_images_and_then_of_pixels():
    labels, _ = example(seed=42, shape=(4, 8, 8))
    labels = np.where(labels == K, 0, labels)
    images = np.random.default_rng(43).normal(size=(4, 8, 8, 3)).astype(np.float32)
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(K, 1)])
    model.compile("sgd", losses.Dice())
    for shape in ((4,), (4, 8, 8), (4, 8, 8, 1)):
        history = model.fit(images, labels, sample_weight=np.full(shape, 0.5, np.float32), verbose=0)
        assert np.isfinite(history.history["loss"][0])


def test_the_smoothed_focal_void_loss_scales_by_the_error_of_the_truth():
    labels, logits = np.array([[[K, 0]]], np.uint8), np.array([[[[0.4], [0.4]]]])
    p = 1 / (1 + np.exp(-0.4))
    # target 0.9 and 0.1; factors (1 - p)^2 for the void pixel, p^2 for the other
    cross = [-(0.9 * np.log(p) + 0.1 * np.log(1 - p)), -(0.1 * np.log(p) + 0.9 * np.log(1 - p))]
    expected = ((1 - p) ** 2 * cross[0] + p**2 * cross[1]) / 2
    value = losses.VoidBinaryCrossentropy(K, label_smoothing=0.2, focal_gamma=2.0)(labels, logits)
    np.testing.assert_allclose(value, expected, rtol=1e-9)


@pytest.mark.parametrize("name", ALL)
def test_the_sums_as_a_gpu_takes_them_are_the_same(name, monkeypatch):
    labels, logits = example(seed=44)
    value, gradient = value_and_gradient(ALL[name], labels, logits)
    monkeypatch.setattr(terms, "_on_gpu", lambda: True)
    other_value, other_gradient = value_and_gradient(ALL[name], labels, logits)
    np.testing.assert_allclose(other_value, value, rtol=1e-12)
    np.testing.assert_allclose(other_gradient, gradient, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("name", ["sum", "ce_smooth_focal", "entropic", "dice_per_image"])
def test_a_compiled_loss_in_many_strips_is_the_loss_of_the_whole(name, monkeypatch):
    labels, logits = example(seed=45, shape=(2, 6, 5))
    value, gradient = value_and_gradient(ALL[name], labels, logits)
    monkeypatch.setattr(_compiled, "_STRIP_PIXELS", 10)  # two rows, three strips an image
    compiled = type(ALL[name]).from_config({**ALL[name].get_config(), "jit_compile": True})
    other_value, other_gradient = value_and_gradient(compiled, labels, logits)
    np.testing.assert_allclose(other_value, value, rtol=1e-12)
    np.testing.assert_allclose(other_gradient, gradient, rtol=1e-9, atol=1e-15)


def test_sample_weights_multiply_and_one_of_an_ignored_pixel_may_be_nan():
    labels, logits = example(seed=33)
    random = np.random.default_rng(34)
    factors = random.uniform(0, 2, labels.shape)
    expected = reference("one_vs_all", labels, logits, void=K, sample_weight=factors)
    factors[labels == 255] = np.nan
    value = losses.OneVsAllBinaryCrossentropy(void_class=K)(labels, logits, factors)
    np.testing.assert_allclose(value, expected, rtol=1e-9)


# ---- What is not finite ----------------------------------------------------------------------------------------------


def step(way, loss, sample_weight=None):
    """f(labels, logits) -> (value, gradient), the way a user may come to call it."""
    if way == "own xla":
        loss = type(loss).from_config({**loss.get_config(), "jit_compile": True})

    def call(labels, logits):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = loss(labels, logits, sample_weight)
        return value, tape.gradient(value, logits)

    if way in ("graph", "xla"):
        call = tf.function(call, jit_compile=way == "xla")
    return lambda labels, logits: [tensor.numpy() for tensor in call(tf.constant(labels), tf.constant(logits))]


CASES = [("eager", name) for name in ALL] + [("graph", name) for name in ALL]
CASES += [(way, name) for way in ("xla", "own xla") for name in ("sum", "entropic", "dice_sigmoid", "one_vs_all")]


@pytest.mark.parametrize(("way", "name"), CASES)
def test_a_nan_where_a_pixel_counts_is_seen_in_the_loss_and_in_the_gradient(way, name):
    labels, logits = example(seed=35, dtype=np.float32, shape=(1, 3, 4), ignored=0.0)
    counted = tuple(np.argwhere(labels < K - 1)[0])
    call = step(way, ALL[name])
    for channel in (int(labels[counted]), (int(labels[counted]) + 1) % (K - 1), slice(None)):
        broken = logits.copy()
        broken[(*counted, channel)] = np.nan
        value, gradient = call(labels, broken)
        assert np.isnan(value), channel
        assert np.isnan(gradient[counted]).any(), channel


MASKS = {
    "ignore_class": {"ignore_class": 1},
    "void_weight": {"void_class": 1, "void_weight": 0.0},
    "class_weights": {"class_weights": [1.0, 0.0, 1.0, 1.0]},
    "sample_weight": {},
}
KINDS = {
    "ce": losses.MaskedSparseCategoricalCrossentropy,
    "entropic": losses.Entropic,
    "focal": lambda **o: losses.MaskedSparseCategoricalCrossentropy(focal_gamma=1.5, label_smoothing=0.1, **o),
    "top_k": lambda **o: losses.MaskedSparseCategoricalCrossentropy(top_k=0.5, **o),
    "one_vs_all": losses.OneVsAllBinaryCrossentropy,
    "dice": losses.Dice,
    "sigmoid": lambda **o: losses.InvertedDice(activation="sigmoid", **o),
}
CASES = [("eager", kind, mask) for kind in KINDS for mask in MASKS]
CASES += [(way, kind, "class_weights") for way in ("graph", "own xla") for kind in ("focal", "dice", "sigmoid")]


@pytest.mark.parametrize(("way", "kind", "mask"), CASES)
def test_what_is_predicted_at_a_pixel_of_weight_zero_changes_nothing_though_its_label_has_a_channel(way, kind, mask):
    labels, logits = example(seed=36, dtype=np.float32, shape=(1, 3, 4), ignored=0.0)
    labels[0, 0] = [1, 0, 1, 1]
    # The label K says "none of the classes" to the others; where another label is void, not to Entropic either.
    if kind in ("ce", "focal", "top_k") or (kind, mask) == ("entropic", "void_weight"):
        labels[labels == K] = 0
    masked = labels == 1
    factors = np.where(masked, 0.0, 1.0).astype(np.float32) if mask == "sample_weight" else None
    broken = logits.copy()
    broken[0, 0, 0], broken[0, 0, 2], broken[0, 0, 3] = np.nan, np.inf, -np.inf
    call = step(way, KINDS[kind](**MASKS[mask]), factors)
    (value, gradient), (damaged, its_gradient) = call(labels, logits), call(labels, broken)
    assert value == damaged
    np.testing.assert_array_equal(gradient, its_gradient)
    assert not its_gradient[masked].any()


def test_keras_stops_at_a_loss_that_is_not_finite():
    labels, _ = example(seed=37, shape=(4, 8, 8))
    labels = np.where(labels == K, 0, labels)
    images = np.random.default_rng(38).normal(size=(4, 8, 8, 3)).astype(np.float32)
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(K, 1)])
    model.compile(keras.optimizers.SGD(1e38), losses.MaskedSparseCategoricalCrossentropy())
    history = model.fit(images, labels, epochs=6, verbose=0, callbacks=[keras.callbacks.TerminateOnNaN()])
    assert len(history.history["loss"]) < 6 and not np.isfinite(history.history["loss"][-1])


def test_a_label_that_means_nothing_makes_the_loss_nan_where_xla_allows_no_error():
    labels, logits = example(seed=39)
    labels[0, 0, 0] = 9
    for loss in (losses.MaskedSparseCategoricalCrossentropy(void_class=K), losses.Dice()):
        assert np.isnan(tf.function(loss, jit_compile=True)(labels, logits))
