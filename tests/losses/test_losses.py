"""The losses on one device: by hand, as laws, at the limits of their arithmetic. Replicas: test_losses_replicas.py."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kseg import losses
from kseg.losses import terms as pixel_losses

K = 4  # channels of the random cases; label 4 is "no class" there


def spread(**options):
    """Every kind of loss with the common arguments `options`, by a name for the test's report."""
    return {
        "ce": losses.MaskedSparseCategoricalCrossentropy(**options),
        "ce_smooth_focal": losses.MaskedSparseCategoricalCrossentropy(label_smoothing=0.2, focal_gamma=1.5, **options),
        "ce_top_k": losses.MaskedSparseCategoricalCrossentropy(top_k=0.4, **options),
        "entropic": losses.Entropic(label_smoothing=0.1, **options),
        "one_vs_all": losses.OneVsAllBinaryCrossentropy(label_smoothing=0.2, **options),
        "one_vs_all_focal": losses.OneVsAllBinaryCrossentropy(focal_gamma=2.0, **options),
        "dice": losses.Dice(**options),
        "dice_sigmoid": losses.Dice(activation="sigmoid", **options),
        "dice_per_image": losses.Dice(per_image=True, **options),
        "tversky": losses.Dice(alpha=0.3, beta=0.9, smooth=0.0, **options),
        "inverted": losses.InvertedDice(**options),
        "inverted_sigmoid": losses.InvertedDice(activation="sigmoid", alpha=0.2, beta=0.6, **options),
    }


def together(**options):
    """A weighted sum whose parts share terms, with a void logit as the last channel."""
    return losses.WeightedSum(
        [
            (losses.MaskedSparseCategoricalCrossentropy(void_class=K, **options), 1.0, (0, K - 1)),
            (losses.Dice(void_class=K, **options), 0.5, (0, K - 1)),
            (losses.InvertedDice(void_class=K, **options), 2.0, (0, K - 1)),
            (losses.VoidBinaryCrossentropy(K, label_smoothing=0.1, focal_gamma=0.5), 0.7, (K - 1, K)),
        ]
    )


ALL = {**spread(void_class=K, void_weight=0.6), "sum": together()}
WEIGHTED = spread(void_class=K, void_weight=0.6, class_weights=[1.0, 0.2, 3.0, 0.5])


def example(seed=0, shape=(2, 5, 6), dtype=np.float64, ignored=0.3, scale=2.0):
    """Labels in 0..K-2, some K ("no class"), some 255; logits. (K - 1 is the void logit of `together`.)"""
    random = np.random.default_rng(seed)
    labels = random.integers(0, K - 1, shape).astype(np.uint8)
    labels[random.random(shape) < 0.2] = K
    labels[random.random(shape) < ignored] = 255
    return labels, random.normal(scale=scale, size=(*shape, K)).astype(dtype)


def value_and_gradient(loss, labels, logits, sample_weight=None):
    logits = tf.convert_to_tensor(logits)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = loss(labels, logits, sample_weight)
    return value.numpy(), tape.gradient(value, logits).numpy()


def logits_of(probabilities):
    return np.log(np.asarray(probabilities, np.float64))


# ---- By hand: 2 x 3 pixels, 2 channels. 255 is "·" in the drawings. --------------------------------------------------

#   labels  0 0 1      p_1  1/4 1/2 1/2       q: the probability of the pixel's own label
#           1 · 1           3/4 (9/10) 1/4    q = 3/4 1/2 1/2 | 3/4 · 1/4
LABELS = np.array([[[0, 0, 1], [1, 255, 1]]], np.uint8)
P1 = np.array([[[1 / 4, 1 / 2, 1 / 2], [3 / 4, 9 / 10, 1 / 4]]])
LOGITS = logits_of(np.stack([1 - P1, P1], -1))


def test_cross_entropy_of_the_drawn_case():
    # -(log 3/4 + log 1/2 + log 1/2 + log 3/4 + log 1/4) / 5 = (2 log 4/3 + 2 log 2 + log 4) / 5
    expected = (2 * np.log(4 / 3) + 4 * np.log(2)) / 5
    value = losses.MaskedSparseCategoricalCrossentropy()(LABELS, LOGITS)
    np.testing.assert_allclose(value, expected, rtol=1e-12)


def test_class_weights_count_in_the_sum_and_in_the_divisor():
    # weights 1 for label 0, 3 for label 1: (log 4/3 + log 2 + 3 (log 2 + log 4/3 + log 4)) / (1 + 1 + 3 + 3 + 3)
    expected = (4 * np.log(4 / 3) + 4 * np.log(2) + 6 * np.log(2)) / 11
    value = losses.MaskedSparseCategoricalCrossentropy(class_weights=[1, 3])(LABELS, LOGITS)
    np.testing.assert_allclose(value, expected, rtol=1e-12)


def test_dice_and_inverted_dice_of_the_drawn_case():
    # class 1: TP = 1/2 + 3/4 + 1/4 = 3/2, FP = 1/4 + 1/2 = 3/4, FN = 1/2 + 1/4 + 3/4 = 3/2, TN = 3/4 + 1/2 = 5/4;
    # class 0 is its complement: TP = 5/4, FP = 3/2, FN = 3/4, TN = 3/2. E = FP + FN = 9/4 for both, s = 1.
    # 1 - Dice = E / (2 TP + E + 1): class 1: (9/4) / (25/4) = 9/25; class 0: (9/4) / (23/4) = 9/23.
    np.testing.assert_allclose(losses.Dice()(LABELS, LOGITS), (9 / 25 + 9 / 23) / 2, rtol=1e-12)
    # The inverted terms have TN for TP: with two channels of a softmax they are the same two numbers, swapped.
    np.testing.assert_allclose(losses.InvertedDice()(LABELS, LOGITS), (9 / 23 + 9 / 25) / 2, rtol=1e-12)


def test_tversky_weighs_false_positives_with_alpha_and_false_negatives_with_beta():
    # alpha = 1, beta = 0: 2 FP / (2 TP + 2 FP + 1)
    # class 1: (3/2) / (3 + 3/2 + 1) = 3/11; class 0: 3 / (5/2 + 3 + 1) = 6/13
    value = losses.Dice(alpha=1.0, beta=0.0)(LABELS, LOGITS)
    np.testing.assert_allclose(value, (3 / 11 + 6 / 13) / 2, rtol=1e-12)


def test_a_class_absent_from_the_batch_leaves_the_dice_sum_but_not_its_divisor_nor_the_inverted_term():
    labels = np.array([[[0, 0, 255]]], np.uint8)
    logits = logits_of([[[[1 / 2, 1 / 2], [3 / 4, 1 / 4], [1 / 2, 1 / 2]]]])
    # class 0: TP = 5/4, FP = 0, FN = 3/4: 1 - Dice = (3/4) / (5/2 + 3/4 + 1) = 3/17. Class 1 is absent. Divisor 2.
    np.testing.assert_allclose(losses.Dice()(labels, logits), (3 / 17) / 2, rtol=1e-12)
    # Inverted, class 0: TN = 0: (3/4) / (0 + 3/4 + 1) = 3/7.
    # Class 1: TN = 5/4, FP = 3/4: (3/4) / (5/2 + 3/4 + 1) = 3/17.
    np.testing.assert_allclose(losses.InvertedDice()(labels, logits), (3 / 7 + 3 / 17) / 2, rtol=1e-12)


def test_an_absent_class_gets_no_gradient_from_dice_and_some_from_inverted_dice():
    labels, logits = np.zeros((1, 2, 3), np.uint8), np.zeros((1, 2, 3, 2))
    sigmoid = {"activation": "sigmoid"}
    assert np.all(value_and_gradient(losses.Dice(**sigmoid), labels, logits)[1][..., 1] == 0)
    assert np.all(value_and_gradient(losses.InvertedDice(**sigmoid), labels, logits)[1][..., 1] > 0)


def test_dice_per_image_is_the_mean_over_the_images_that_have_a_valid_pixel():
    labels, logits = example()
    labels[1] = 255
    first = losses.Dice()(labels[:1], logits[:1])
    np.testing.assert_allclose(losses.Dice(per_image=True)(labels, logits), first, rtol=1e-12)


def test_one_vs_all_sums_the_binary_cross_entropies_of_the_channels_and_takes_label_c_as_none_of_them():
    labels = np.array([[[0, 2, 255]]], np.uint8)
    logits = np.array([[[[0.0, np.log(3)], [np.log(3), 0.0], [5.0, 5.0]]]])  # p = (1/2, 3/4), (3/4, 1/2)
    # pixel 1: -log 1/2 - log(1 - 3/4) = 3 log 2; pixel 2, none: -log(1 - 3/4) - log(1 - 1/2) = 3 log 2
    np.testing.assert_allclose(losses.OneVsAllBinaryCrossentropy()(labels, logits), 3 * np.log(2), rtol=1e-12)


def test_entropic_asks_for_a_uniform_answer_at_void():
    labels = np.array([[[1, 2]]], np.uint8)
    logits = logits_of([[[[3 / 4, 1 / 4], [3 / 4, 1 / 4]]]])
    # class 1: log 4; void: -(log 3/4 + log 1/4) / 2; void weighs 1/2: (log 4 + 1/2 void) / (1 + 1/2)
    expected = (np.log(4) - 0.5 * (np.log(3 / 4) + np.log(1 / 4)) / 2) / 1.5
    value = losses.Entropic(void_class=2, void_weight=0.5)(labels, logits)
    np.testing.assert_allclose(value, expected, rtol=1e-12)


def test_entropic_without_a_void_class_weighs_label_c_as_void():
    labels, logits = example(ignored=0.1)
    assert losses.Entropic(void_weight=0.3)(labels, logits) == losses.Entropic(void_class=K, void_weight=0.3)(
        labels, logits
    )


def test_the_void_logit_is_trained_on_every_pixel_but_the_ignored():
    labels = np.array([[[0, 7, 255]]], np.uint8)
    logits = np.array([[[[np.log(3)], [np.log(3)], [0.0]]]])  # p(void) = 3/4
    # class: -log 1/4, void: -log 3/4 with weight 2; divisor 1 + 2
    expected = (np.log(4) + 2 * np.log(4 / 3)) / 3
    np.testing.assert_allclose(losses.VoidBinaryCrossentropy(7, void_weight=2.0)(labels, logits), expected, rtol=1e-12)


@pytest.mark.parametrize("void", [0, 1, 2])
def test_the_void_logit_is_of_the_label_that_means_void_whichever_that_is(void):
    labels = np.roll([0, 1, 2], -void).astype(np.uint8).reshape(1, 1, 3)  # the first pixel is void
    logits = np.array([[[[np.log(3)], [0.0], [0.0]]]])
    # void: -log 3/4; the others: -log 1/2 each
    value = losses.VoidBinaryCrossentropy(void)(labels, logits)
    np.testing.assert_allclose(value, (np.log(4 / 3) + 2 * np.log(2)) / 3, rtol=1e-12)


def test_label_smoothing_mixes_the_target_with_the_uniform_one():
    # e = 1/2, C = 2: (1/2) CE + (1/2) * mean over pixels of -(log p_0 + log p_1) / 2
    p = np.stack([1 - P1, P1], -1)[LABELS != 255]
    cross_entropy = (2 * np.log(4 / 3) + 4 * np.log(2)) / 5
    expected = 0.5 * cross_entropy + 0.5 * np.mean(-np.log(p).mean(-1))
    value = losses.MaskedSparseCategoricalCrossentropy(label_smoothing=0.5)(LABELS, LOGITS)
    np.testing.assert_allclose(value, expected, rtol=1e-12)


def test_the_focal_factor_scales_each_pixel_by_its_error():
    # gamma = 1: q (1 - q) pairs: (3/4: 1/4 log 4/3) x 2, (1/2: 1/2 log 2) x 2, (1/4: 3/4 log 4), over 5
    expected = (2 * 0.25 * np.log(4 / 3) + 2 * 0.5 * np.log(2) + 0.75 * np.log(4)) / 5
    value = losses.MaskedSparseCategoricalCrossentropy(focal_gamma=1.0)(LABELS, LOGITS)
    np.testing.assert_allclose(value, expected, rtol=1e-12)


def test_top_k_keeps_the_hardest_share_of_each_images_valid_pixels():
    # 5 valid pixels, share 0.3: ceil 1.5 = 2 hardest: log 4 and log 2; two pixels tie at log 2, both stay: 3 kept
    value = losses.MaskedSparseCategoricalCrossentropy(top_k=0.3)(LABELS, LOGITS)
    np.testing.assert_allclose(value, (np.log(4) + 2 * np.log(2)) / 3, rtol=1e-12)


def test_top_k_counts_per_image_and_divides_by_what_all_images_keep():
    # -log p_0 of the pixels. Image 1: 4 valid, 2 kept; image 2: 1 valid, 1 kept although all of image 1 is harder.
    nats = np.array([[[1.0, 2.0, 3.0, 4.0]], [[0.5, 8.0, 8.0, 8.0]]])
    labels = np.array([[[0, 0, 0, 0]], [[0, 255, 255, 255]]], np.uint8)
    logits = np.stack([-nats, np.log(1 - np.exp(-nats))], -1)
    loss = losses.MaskedSparseCategoricalCrossentropy(top_k=0.5)
    np.testing.assert_allclose(loss(labels, logits), (4.0 + 3.0 + 0.5) / 3, rtol=1e-12)


@pytest.mark.parametrize(("share", "kept"), [(0.1, 3), (0.10001, 4), (0.5, 15), (1 / 30, 1), (0.999, 30)])
def test_top_k_rounds_the_number_of_kept_pixels_up(share, kept):
    loss_map = tf.constant(np.random.default_rng(0).permutation(30).reshape(1, 5, 6), tf.float32)
    keep = pixel_losses.hardest(loss_map, tf.ones([1, 5, 6], tf.bool), share)
    assert np.sum(keep) == kept
    assert set(loss_map.numpy()[keep.numpy()]) == set(range(30 - kept, 30))


# ---- Laws ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_the_closed_form_gradient_is_that_of_finite_differences(name):
    labels, logits = example(seed=3)
    loss = ALL[name]
    _, gradient = value_and_gradient(loss, labels, logits)
    random = np.random.default_rng(0)
    for _ in range(6):
        direction = random.normal(size=logits.shape)
        ahead, behind = (float(loss(labels, logits + step * direction)) for step in (1e-6, -1e-6))
        np.testing.assert_allclose((gradient * direction).sum(), (ahead - behind) / 2e-6, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", WEIGHTED)
def test_ignoring_a_pixel_equals_deleting_it(name):
    loss = WEIGHTED[name]
    labels, logits = example(seed=4, shape=(1, 1, 40))
    value, gradient = value_and_gradient(loss, labels, logits)
    kept = labels != 255
    short_value, short_gradient = value_and_gradient(loss, labels[:, :, kept[0, 0]], logits[:, :, kept[0, 0]])
    np.testing.assert_allclose(value, short_value, rtol=1e-12)
    np.testing.assert_allclose(gradient[kept], short_gradient[0, 0], rtol=1e-9, atol=1e-15)
    assert np.all(gradient[~kept] == 0)


@pytest.mark.parametrize("name", [name for name in ALL if name != "sum"])
def test_permuting_the_classes_permutes_the_gradient(name):
    labels, logits = example(seed=5)
    order = np.array([2, 0, 3, 1])
    inverse = np.argsort(order)
    permuted = np.concatenate([inverse, np.arange(K, 256)]).astype(np.uint8)[labels]
    value, gradient = value_and_gradient(ALL[name], labels, logits)
    other_value, other_gradient = value_and_gradient(ALL[name], permuted, logits[..., order])
    np.testing.assert_allclose(value, other_value, rtol=1e-12)
    np.testing.assert_allclose(gradient[..., order], other_gradient, rtol=1e-9, atol=1e-15)


def test_inverted_dice_of_p_is_dice_of_one_minus_p():
    """1 - y has several ones a pixel, so channel by channel: label 0 on one channel is "it", 1 is "not it"."""
    random = np.random.default_rng(6)
    labels = random.integers(0, 2, (2, 4, 5)).astype(np.uint8)
    labels[0, 0] = 255
    logits = random.normal(size=(2, 4, 5, 1))
    swapped = np.where(labels == 255, 255, 1 - labels)
    for alpha, beta in ((0.5, 0.5), (0.2, 0.9)):
        inverted = losses.InvertedDice(activation="sigmoid", alpha=alpha, beta=beta)
        # What is a false positive of the class is a false negative of its complement.
        plain = losses.Dice(activation="sigmoid", alpha=beta, beta=alpha)
        value, gradient = value_and_gradient(inverted, labels, logits)
        other_value, other_gradient = value_and_gradient(plain, swapped, -logits)
        np.testing.assert_allclose(value, other_value, rtol=1e-12)
        np.testing.assert_allclose(gradient, -other_gradient, rtol=1e-9, atol=1e-15)


def test_gamma_zero_smoothing_zero_and_top_k_one_are_plain_cross_entropy_and_tversky_of_halves_is_dice():
    labels, logits = example(seed=7)
    labels[labels == K] = 255
    plain = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255, dtype="float64")
    np.testing.assert_allclose(
        losses.MaskedSparseCategoricalCrossentropy()(labels, logits), plain(labels, logits), rtol=1e-7
    )
    almost = losses.MaskedSparseCategoricalCrossentropy(focal_gamma=1e-9, label_smoothing=1e-9, top_k=1 - 1e-12)
    np.testing.assert_allclose(almost(labels, logits), plain(labels, logits), rtol=1e-6)


def test_a_void_weight_of_zero_is_ignoring_void_and_one_is_a_class_like_any_other():
    labels, logits = example(seed=8)
    for name, loss in spread(void_class=K, void_weight=0.0).items():
        ignored = np.where(labels == K, 255, labels)
        np.testing.assert_allclose(loss(labels, logits), spread()[name](ignored, logits), rtol=1e-12)
    wide = np.concatenate([logits, logits[..., :1]], -1)
    with_void = losses.MaskedSparseCategoricalCrossentropy(void_class=K)(labels, wide)
    np.testing.assert_allclose(with_void, losses.MaskedSparseCategoricalCrossentropy()(labels, wide), rtol=1e-12)


@pytest.mark.parametrize("name", ALL)
def test_sums_of_two_halves_add_up_to_the_sums_of_the_whole(name):
    labels, logits = example(seed=9, shape=(4, 5, 6))
    halves = [ALL[name].sums(labels[part], logits[part]) for part in (slice(0, 1), slice(1, 4))]
    whole = ALL[name].sums(labels, logits)
    np.testing.assert_allclose(halves[0] + halves[1], whole, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(ALL[name].value(whole), ALL[name](labels, logits), rtol=1e-12)


@pytest.mark.parametrize("name", ["ce_smooth_focal", "ce_top_k", "one_vs_all", "dice_per_image", "sum"])
def test_eager_graph_and_xla_agree(name):
    labels, logits = example(seed=10, shape=(2, 7, 5))
    value, gradient = value_and_gradient(ALL[name], labels, logits)
    config = keras.losses.serialize(ALL[name])
    compiled = keras.losses.deserialize({**config, "config": {**config["config"], "jit_compile": True}})
    assert compiled.jit_compile is True
    for loss in (ALL[name], compiled):

        @tf.function
        def graph(logits, loss=loss):
            with tf.GradientTape() as tape:
                tape.watch(logits)
                value = loss(labels, logits)
            return value, tape.gradient(value, logits)

        other_value, other_gradient = graph(tf.constant(logits))
        np.testing.assert_allclose(value, other_value, rtol=1e-12)
        np.testing.assert_allclose(gradient, other_gradient, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("name", ["dice", "dice_sigmoid", "inverted", "tversky"])
def test_soft_counts_are_the_sums_of_their_definition(name):
    """An independent formula, w p y and so on over one-hot labels, in NumPy."""
    labels, logits = example(seed=11)
    loss = WEIGHTED[name]
    weights = np.select([labels == 255, labels == K], [0.0, 0.6], np.array([1.0, 0.2, 3.0, 0.5])[labels % K])
    y = labels[..., None] == np.arange(K)
    p = 1 / (1 + np.exp(-logits)) if "sigmoid" in name else np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    a, b = (1 - p, ~y) if name == "inverted" else (p, y)
    true = (weights[..., None] * a * b).sum((0, 1, 2))
    fp, fn = ((weights[..., None] * part).sum((0, 1, 2)) for part in (p * ~y, (1 - p) * y))
    present = (weights[..., None] * y).sum((0, 1, 2)) > 0
    wrong = 2 * (loss.alpha * fp + loss.beta * fn)
    terms = wrong / (2 * true + wrong + loss.smooth)
    expected = (terms if name == "inverted" else terms * present).sum() / K
    np.testing.assert_allclose(loss(labels, logits), expected, rtol=1e-12)


def test_probabilities_and_logits_give_the_same_losses():
    labels, logits = example(seed=12, scale=1.0)
    softmax = tf.nn.softmax(logits)
    sigmoid = tf.nn.sigmoid(logits)
    for name, loss in spread(void_class=K, from_logits=False).items():
        probabilities = (
            sigmoid if name in ("one_vs_all", "one_vs_all_focal", "dice_sigmoid", "inverted_sigmoid") else softmax
        )
        np.testing.assert_allclose(
            loss(labels, probabilities), spread(void_class=K)[name](labels, logits), rtol=1e-6, err_msg=name
        )


def test_sample_weights_multiply_the_pixels_weights():
    labels, logits = example(seed=13)
    loss = losses.MaskedSparseCategoricalCrossentropy(void_class=K)
    sums = np.stack([loss.sums(labels[i : i + 1], logits[i : i + 1]) for i in range(2)])
    expected = (sums[0, 0] + 3 * sums[1, 0]) / (sums[0, 1] + 3 * sums[1, 1])
    np.testing.assert_allclose(loss(labels, logits, np.array([1.0, 3.0])), expected, rtol=1e-12)
    by_pixel = np.where(labels == 1, 0.0, 1.0)
    dropped = np.where(labels == 1, 255, labels)
    np.testing.assert_allclose(loss(labels, logits, by_pixel), loss(dropped, logits), rtol=1e-12)


@pytest.mark.parametrize("name", ALL)
def test_accumulated_parts_have_the_value_and_gradient_of_the_whole_batch(name):
    labels, _ = example(seed=14, shape=(4, 3, 4))
    labels[0] = 255
    images = np.random.default_rng(1).normal(size=(4, 3, 4, 3))
    kernel = tf.Variable(np.random.default_rng(2).normal(size=(3, K)))
    loss = ALL[name]

    def model(images):
        return tf.tensordot(images, kernel, 1)

    with tf.GradientTape() as tape:
        value = loss(labels, model(tf.constant(images)))
    gradient = tape.gradient(value, kernel)
    parts = [(tf.constant(images[i : i + 2]), tf.constant(labels[i : i + 2])) for i in (0, 2)]
    for channels in (None, K):  # with channels, cross entropies skip the forward-only pass
        total, (summed,) = losses.accumulated_gradients(loss, model, parts, [kernel], channels=channels)
        np.testing.assert_allclose(total, value, rtol=1e-12)
        np.testing.assert_allclose(summed, gradient, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("channels", [None, K])
def test_accumulated_gradients_of_a_scaled_loss_are_scaled_and_the_value_is_not(channels):
    labels, logits = example(seed=16, shape=(2, 3, 4))
    z = tf.Variable(logits)
    loss = losses.MaskedSparseCategoricalCrossentropy(void_class=K)
    parts = [(tf.constant(i), tf.constant(labels[i : i + 1])) for i in (0, 1)]
    arguments = (loss, lambda image: z[image : image + 1], parts, [z])
    value, (gradient,) = losses.accumulated_gradients(*arguments, channels=channels)
    same, (scaled,) = losses.accumulated_gradients(*arguments, lambda x: 1024.0 * x, channels=channels)
    assert float(same) == float(value)
    np.testing.assert_array_equal(tf.convert_to_tensor(scaled), 1024.0 * tf.convert_to_tensor(gradient))


def test_the_mean_of_half_batch_dice_gradients_is_far_from_the_whole_batchs():
    labels, logits = example(seed=15, shape=(2, 8, 8))
    labels[0, :, 1:] = 255
    _, whole = value_and_gradient(losses.Dice(), labels, logits)
    halves = [value_and_gradient(losses.Dice(), labels[i : i + 1], logits[i : i + 1])[1] / 2 for i in range(2)]
    assert np.abs(np.concatenate(halves) - whole).max() > 0.2 * np.abs(whole).max()


def test_cross_entropy_needs_no_forward_pass_to_accumulate_and_dice_does():
    calls = []
    kernel = tf.Variable(np.ones((3, K)))

    def model(images):
        calls.append(1)
        return tf.tensordot(images, kernel, 1)

    parts = [(tf.ones([1, 2, 2, 3], tf.float64), tf.zeros([1, 2, 2], tf.uint8))] * 3
    losses.accumulated_gradients(ALL["ce"], model, parts, [kernel], channels=K)
    assert len(calls) == 3
    losses.accumulated_gradients(ALL["dice"], model, parts, [kernel], channels=K)
    assert len(calls) == 3 + 6


# ---- Failures that users met elsewhere, and the limits of the arithmetic ---------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_an_all_ignored_batch_has_loss_zero_and_gradient_exactly_zero(name):
    _, logits = example(seed=16, dtype=np.float32)
    value, gradient = value_and_gradient(ALL[name], np.full(logits.shape[:3], 255, np.uint8), logits)
    assert value == 0 and np.all(gradient == 0)


@pytest.mark.parametrize("name", ALL)
def test_adding_ignored_pixels_changes_no_normaliser(name):
    labels, logits = example(seed=17)
    more_labels = np.concatenate([labels, np.full_like(labels, 255)], 2)
    value = ALL[name](more_labels, np.concatenate([logits, logits], 2))
    np.testing.assert_allclose(value, ALL[name](labels, logits), rtol=1e-12)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_predicted_at_ignored_pixels_changes_nothing_even_if_it_is_not_finite(name, bad):
    labels, logits = example(seed=18, dtype=np.float32)
    value, gradient = value_and_gradient(ALL[name], labels, logits)
    logits[labels == 255] = bad
    other_value, other_gradient = value_and_gradient(ALL[name], labels, logits)
    assert value == other_value
    np.testing.assert_array_equal(gradient, other_gradient)


@pytest.mark.parametrize("name", ["one_vs_all", "dice_sigmoid", "inverted_sigmoid", "dice", "inverted", "entropic"])
def test_padding_is_never_trained_as_void_and_void_is(name):
    """one_hot(255, K) and one_hot(K, K) are both all zero: the two must not be the same thing."""
    labels, logits = np.zeros((1, 1, 3), np.uint8), np.full((1, 1, 3, K), 0.3)
    logits[..., 0] = 0.7
    labels[0, 0] = [0, 255, K]
    _, gradient = value_and_gradient(ALL[name], labels, logits)
    assert np.all(gradient[0, 0, 1] == 0)
    assert np.any(gradient[0, 0, 2] != 0)


def test_padding_of_zeros_as_class_zero_would_change_the_loss():
    labels, logits = example(seed=19)
    padded = np.where(labels == 255, 0, labels)
    for name, loss in ALL.items():
        assert abs(float(loss(padded, logits)) - float(loss(labels, logits))) > 1e-4, name


def test_an_ignored_label_with_a_channel_masks_its_pixels_while_its_channel_still_competes():
    labels, logits = example(seed=20)
    loss = losses.MaskedSparseCategoricalCrossentropy(ignore_class=1, void_class=K)
    labels[labels == 255] = 0
    _, gradient = value_and_gradient(loss, labels, logits)
    assert np.all(gradient[labels == 1] == 0)
    assert np.all(gradient[labels == 0][:, 1] > 0)


def test_a_solved_pixel_stays_in_the_divisor():
    """A loss that underflows to 0 must not leave the mean, as it does where the non-zero losses are counted."""
    labels = np.zeros((1, 1, 2), np.uint8)
    logits = np.array([[[[200.0, 0.0], [0.0, 0.0]]]], np.float32)
    value = losses.MaskedSparseCategoricalCrossentropy()(labels, logits)
    np.testing.assert_allclose(value, np.log(2) / 2, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_logits_are_summed_in_float32(dtype):
    """260 x 260 pixels: more than 65504, the largest float16."""
    random = np.random.default_rng(21)
    labels = random.integers(0, K - 1, (1, 260, 260)).astype(np.uint8)
    logits = tf.cast(random.normal(size=(1, 260, 260, K)), dtype)
    for name in ("ce_smooth_focal", "dice_sigmoid", "sum"):
        loss = ALL[name]
        half, half_gradient = value_and_gradient(loss, labels, logits)
        full, _ = value_and_gradient(loss, labels, tf.cast(logits, tf.float64))
        np.testing.assert_allclose(half, full, rtol=2e-6, err_msg=name)
        assert half.dtype == np.float32 and half_gradient.dtype == logits.dtype
        assert np.all(np.isfinite(half_gradient.astype(np.float32)))


def test_sums_stay_exact_and_finite_at_a_full_cityscapes_image_of_twenty_channels():
    labels = tf.concat([tf.zeros([1, 1024, 1024], tf.uint8), tf.fill([1, 1024, 1024], tf.constant(255, tf.uint8))], 2)
    logits = tf.zeros([1, 1024, 2048, 20], tf.float16)
    for jit_compile in (True, False):
        loss = losses.WeightedSum(
            [
                (losses.MaskedSparseCategoricalCrossentropy(), 1.0, None),
                (losses.Dice(), 1.0, None),
                (losses.InvertedDice(), 1.0, None),
            ],
            jit_compile=jit_compile,
        )
        pixels = 1024 * 1024
        cross_entropy, dice, inverted = loss.values(loss.sums(labels, logits))
        np.testing.assert_allclose(cross_entropy, np.log(20), rtol=1e-6)
        # Class 0: TP = n/20, FN = 19n/20; absent classes are out. Sum over 20 channels.
        np.testing.assert_allclose(dice, (19 / 20) / (2 / 20 + 19 / 20 + 1 / pixels) / 20, rtol=1e-6)
        # Class 0: TN = 0, FN = 19n/20; the others: TN = 19n/20, FP = n/20.
        zero = (19 / 20) / (19 / 20 + 1 / pixels)
        others = 19 * (1 / 20) / (2 * 19 / 20 + 1 / 20 + 1 / pixels)
        np.testing.assert_allclose(inverted, (zero + others) / 20, rtol=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_logits_of_ten_thousand_give_finite_losses_and_gradients(name):
    labels, logits = example(seed=22, dtype=np.float32)
    value, gradient = value_and_gradient(ALL[name], labels, np.where(logits > 0, 1e4, -1e4).astype(np.float32))
    assert np.isfinite(value) and np.all(np.isfinite(gradient))
    exact = ALL[name](labels, np.where(logits > 0, 1e4, -1e4))
    np.testing.assert_allclose(value, exact, rtol=1e-5)


def test_a_confident_class_over_a_whole_image_keeps_the_inverted_denominator_positive():
    """TN as a difference of sums would be rounding noise here, of either sign."""
    labels = np.zeros((1, 512, 512), np.uint8)
    logits = np.zeros((1, 512, 512, 2), np.float32)
    logits[..., 0] = 12.0
    value = losses.InvertedDice()(labels, logits)
    # Class 0: TN = 0, FN = n p_1; class 1: TN = n (1 - p_1), FP = n p_1.
    wrong = 512 * 512 / (1 + np.exp(12.0))
    expected = (wrong / (wrong + 1) + wrong / (2 * (512 * 512 - wrong) + wrong + 1)) / 2
    np.testing.assert_allclose(value, expected, rtol=1e-5)


# ---- Contracts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_a_loss_survives_serialization_with_all_its_arguments(name):
    labels, logits = example(seed=23)
    loss = (WEIGHTED | ALL)[name]
    copy = keras.losses.deserialize(keras.losses.serialize(loss))
    assert copy.get_config() == loss.get_config()
    assert copy(labels, logits) == loss(labels, logits)


def test_label_types_and_a_last_axis_of_one_make_no_difference():
    labels, logits = example(seed=24)
    expected = ALL["ce"](labels, logits)
    for other in (labels.astype(np.int64), tf.constant(labels, tf.float32), labels[..., None], tf.constant(labels)):
        assert ALL["ce"](other, logits) == expected


def test_a_label_that_means_nothing_is_refused_eagerly_and_in_a_graph():
    logits = np.zeros((1, 1, 2, 3), np.float32)
    for loss, label in ((losses.MaskedSparseCategoricalCrossentropy(), 3), (losses.Dice(), 4), (losses.Entropic(), 7)):
        labels = np.array([[[0, label]]], np.uint8)
        with pytest.raises(ValueError, match="none of the 3 channels, nor ignore_class=255"):
            loss(labels, logits)
        with pytest.raises(tf.errors.InvalidArgumentError, match="none of the 3 channels"):
            tf.function(loss)(tf.constant(labels), logits)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: losses.Dice(activation="tanh"), 'activation must be "softmax" or "sigmoid"; got \'tanh\''),
        (lambda: losses.MaskedSparseCategoricalCrossentropy(top_k=0), "top_k must be above 0"),
        (lambda: losses.MaskedSparseCategoricalCrossentropy(label_smoothing=1.5), "label_smoothing must be between"),
        (lambda: losses.Dice(class_weights=[1, -1]), "class_weights must be a finite number >= 0; got -1"),
        (lambda: losses.Dice(void_weight=float("nan")), "void_weight must be a finite number"),
        (lambda: losses.VoidBinaryCrossentropy(None), "needs void_class"),
        (lambda: losses.WeightedSum([]), "needs at least one"),
        (lambda: losses.WeightedSum([(keras.losses.Dice(), 1, None)]), "adds losses of kseg.losses"),
        (lambda: losses.VoidBinaryCrossentropy(3)(np.zeros((1, 2, 2)), np.zeros((1, 2, 2, 2))), "must have 1 channel"),
        (lambda: losses.Dice()(np.zeros((1, 2, 3)), np.zeros((1, 3, 2, 2))), r"got \(1, 2, 3\) and \(1, 3, 2, 2\)"),
    ],
)
def test_a_wrong_argument_is_told_in_one_line(make, message):
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
